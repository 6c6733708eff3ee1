"""`warmline dkim-record`: what to publish in the DNS, so that receivers can check the signatures of the mail.

Prints public keys alone.
"""

from __future__ import annotations

from typing import Annotated

import typer

from cli import session
from models.errors import UsageError


def dkim_record(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the DNS record of each DKIM key, as a line for a zone file. Exit code 3 if a key cannot be used."""
    import orjson

    from models.rules.dkim import record

    keys = session.workspace().dkim_keys
    if not keys:
        raise UsageError('warmline.yaml has no `dkim`; see "Signed mail" in docs/delivery.md')
    records = [record(key) for key in keys]
    if as_json:
        print(
            orjson.dumps(
                {"records": [{"name": one.name, "type": "TXT", "value": one.value} for one in records]}
            ).decode()
        )
        return
    for one in records:
        print(one.line)
