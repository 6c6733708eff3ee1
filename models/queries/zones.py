"""The time zones that leads are said to live in, as sources wrote them.

Decides nothing: models.rules.zones knows which of them exist.
"""

from __future__ import annotations

from sqlalchemy import Connection

from models.queries import staging
from models.rules.zones import ATTRIBUTE, named_zone

_SAID = "SELECT {said}, count(*) FROM leads WHERE {said} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
_SQLITE, _POSTGRESQL = f"json_extract(attributes, '$.{ATTRIBUTE}')", f"attributes::json ->> '{ATTRIBUTE}'"


def unknown(connection: Connection) -> list[tuple[str, int]]:
    """(zone that does not exist, how many leads have it), the most frequent first. Looks at every lead."""
    said = _SQLITE if staging.is_sqlite(connection) else _POSTGRESQL
    rows = staging.rows(connection, _SAID.format(said=said), ())
    return [(str(value), count) for value, count in rows if str(value).strip() and named_zone(value) is None]
