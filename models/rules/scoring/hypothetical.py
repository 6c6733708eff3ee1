"""Leads that exist only on a line of JSON: what they would score by a model at an instant.

Decides how such a line is read: touchpoints as ingest reads them, attributes as they stand. The scoring itself is the
kernel's. Touches no database; `warmline score --test` is the command around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from models.documents import did_you_mean, shown
from models.rules.records import GENERIC_FIELDS, RecordError, text_of
from models.rules.scoring.columns import NEVER, Activities, Chunk, Leads
from models.rules.scoring.compilation import UNIT, CompiledModel
from models.rules.scoring.kernel import Scores, score
from models.rules.scoring.labels import Labels
from models.rules.scoring.model import ScoringModel
from models.rules.timestamps import read_instant
from models.rules.touchpoints import NOWHERE, Touchpoint, facets_of, place, referrer_host
from models.rules.values import as_instant, is_missing

SUBJECTS = ("lead", "account", "deal")
FIELDS = (*SUBJECTS, "activities")
DEEPEST = 30
"""Lists and objects within each other; deeper is no attribute of anybody."""
MOST_TOUCHPOINTS = 100_000
"""Distinct touchpoints that are remembered between calls; beyond it the memory starts afresh."""
_PLACED = ("host", "path", "referrer_host")
"""Fields that ingest takes from `url` and `referrer`; a line may also give them as they are."""


class Hypothetical(NamedTuple):
    """A lead (or account, or deal) that was made up, with what it did."""

    attributes: Mapping[str, Any]
    account: Mapping[str, Any] | None
    activities: Sequence[tuple[int, Touchpoint]]
    """(microseconds, what it was about), in any order."""


def read_hypothetical(record: Any, model: ScoringModel) -> Hypothetical:
    """The subject that one line says. RecordError names the field, the value found and what is allowed."""
    if not isinstance(record, dict):
        raise RecordError(f'found {shown(record)}; allowed: an object {{"lead": {{…}}, "activities": […]}}')
    for name in record.keys() - set(FIELDS):
        if near := did_you_mean(name, FIELDS):
            raise RecordError(f"{name}: unknown field{near} (allowed: {', '.join(FIELDS)})")
    _refuse_deep(record, 0, "")
    subject = model.of if model.of in record else "lead"
    attributes = _opened(_object(record, subject))
    account: Any = attributes if model.of == "account" else attributes.get("account")
    if model.of != "account" and "account" in record:
        account = _opened(_object(record, "account"))
    activities = record.get("activities") or []
    if not isinstance(activities, list):
        raise RecordError(f"activities: found {shown(activities)}; allowed: a list of objects")
    facets = sorted(model.facets)
    read = (_activity(one, facets, f"activities[{index}]") for index, one in enumerate(activities))
    return Hypothetical(attributes, _account(attributes, account), [act for act in read if act is not None])


def _object(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RecordError(f"{name}: found {shown(value)}; allowed: an object of attributes")
    return value


def _refuse_deep(value: Any, depth: int, field: str) -> None:
    if depth > DEEPEST:
        raise RecordError(f"{field}: lists and objects {DEEPEST} deep; allowed: fewer")
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, dict | list):
                _refuse_deep(inner, depth + 1, field or key)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict | list):
                _refuse_deep(inner, depth + 1, field)


def _opened(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes, and what objects within hold by its dotted name: `{"address": {"city": …}}` → `address.city`."""
    found = dict(attributes)
    for name, value in attributes.items():
        if isinstance(value, dict):
            for inner, held in _opened(value).items():
                found.setdefault(f"{name}.{inner}", held)
    return found


def _account(attributes: Mapping[str, Any], said: Any) -> dict[str, Any] | None:
    """What `account.*` means: an object `account`, else its name, and in any case names such as `account.employees`."""
    dotted = {name.removeprefix("account."): value for name, value in attributes.items() if name.startswith("account.")}
    if isinstance(said, dict):
        return {**_opened(said), **dotted}
    if isinstance(said, str) and not is_missing(said):
        return {"name": said, **dotted}
    return dotted or None


def _activity(said: Any, facets: Sequence[str], field: str) -> tuple[int, Touchpoint] | None:
    """None for what a machine is suspected of, which no score counts."""
    if not isinstance(said, dict):
        raise RecordError(f"{field}: found {shown(said)}; allowed: an object with type and occurred_at")
    try:
        at, about = _instant(said.get("occurred_at")), _touchpoint(said, facets)
    except ValueError as error:  # RecordError among them
        raise RecordError(f"{field}.{error}") from error
    return None if said.get("machine") is True else (at, about)


def _instant(value: Any) -> int:
    """ISO 8601 of the years 1 to 9999, or what ingest reads."""
    at = as_instant(value)
    if at is None:
        if is_missing(value):
            raise RecordError("occurred_at is missing; allowed: ISO 8601, such as 2026-03-02T09:00:00Z")
        try:
            at = read_instant(value)
        except (ValueError, OverflowError) as error:
            raise RecordError(f"occurred_at: {error}") from error
    return at


def _touchpoint(said: Mapping[str, Any], facets: Sequence[str]) -> Touchpoint:
    """As models.rules.records.touchpoint_of makes it, the type taken as it stands: types match exactly."""
    texts = {name: text_of(said.get(name), name) for name in Touchpoint._fields if name != "facets"}
    if texts["type"] is None:
        raise RecordError("type is missing; allowed: an activity type, such as page_view")
    url, referrer = text_of(said.get("url"), "url"), text_of(said.get("referrer"), "referrer")
    where = place(url) if url else NOWHERE
    for name, value in where._asdict().items():
        texts[name] = value if name in _PLACED and value is not None else texts[name] or value
    texts["referrer_host"] = (referrer_host(referrer) if referrer else None) or texts["referrer_host"]
    properties = said.get("properties")
    if properties is not None and not isinstance(properties, dict):
        raise RecordError(f"properties: found {shown(properties)}; allowed: an object")
    others = {name: value for name, value in said.items() if name not in GENERIC_FIELDS and name not in texts}
    return Touchpoint(**texts, facets=facets_of({**others, **(properties or {})}, facets))  # type: ignore[arg-type]


class Trial:
    """A model on trial: scores made-up leads, many in one call. Not for several threads at once."""

    def __init__(self, model: ScoringModel, zone: ZoneInfo) -> None:
        self.model, self._zone = model, zone
        self._labels = Labels(model)
        self._forget()

    def _forget(self) -> None:
        self._compiled = CompiledModel(self.model, self._zone)
        self._ids: dict[Touchpoint, int] = {}

    def told(self, people: Sequence[Hypothetical], as_of: int) -> list[dict[str, Any]]:
        """For each the score as the plain data that `warmline score --json` prints."""
        if len(self._ids) > MOST_TOUCHPOINTS:
            self._forget()
        found = score(self._compiled, self._chunk(people), as_of)
        return list(_told(self._compiled, self._labels, found))

    def _chunk(self, people: Sequence[Hypothetical]) -> Chunk:
        before = len(self._ids)
        rows = [
            (position, self._ids.setdefault(about, len(self._ids) + 1), at)
            for position, person in enumerate(people)
            for at, about in person.activities
        ]
        self._compiled.learn([(number, about) for about, number in self._ids.items() if number > before])
        table = np.array(rows, np.int64).reshape(len(rows), 3)
        return Chunk(_leads(people), Activities.ordered(table[:, 0], table[:, 1], table[:, 2]))


def _leads(people: Sequence[Hypothetical]) -> Leads:
    attributes = [person.attributes for person in people]
    created = [as_instant(each.get("created_at")) for each in attributes]
    return Leads(
        ids=np.arange(1, len(people) + 1),
        attributes=attributes,
        emails=[_email(each.get("email")) for each in attributes],
        stages=[each.get("stage") for each in attributes],
        owners=[each.get("owner") for each in attributes],
        created_at=np.array([NEVER if at is None else at for at in created], np.int64),
        accounts=[person.account for person in people],
    )


def _email(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) and not is_missing(value) else None


def _told(compiled: CompiledModel, labels: Labels, found: Scores) -> Any:
    groups = [f"{dimension}.{group}" for dimension, group, _ in compiled.groups]
    columns = zip(
        found.total.tolist(),
        _named([name for name, _ in compiled.dimensions], found.dimensions),
        _named(groups, found.groups / UNIT),
        _named([rule.rule.name for rule in compiled.rules], found.rules / UNIT),
        labels.cells(found),
        labels.bands(found),
        found.must.tolist(),
        labels.exclusions(found),
        found.surge.tolist(),
        [None] * len(found.total) if found.shown is None else found.shown.tolist(),
        strict=True,
    )
    for total, dimensions, *rest in columns:
        yield dict(zip(TOLD, (total + 0.0, dimensions, *rest), strict=True))


TOLD = ("total", "dimensions", "groups", "rules", "cell", "band", "must", "exclude", "surge", "display")


def _named(names: Sequence[str], table: Any) -> list[dict[str, float]]:
    """For each column of the table name → value; + 0.0 makes 0 of −0."""
    if not names:
        return [{} for _ in range(table.shape[1])]
    return [dict(zip(names, values, strict=True)) for values in (table + 0.0).T.tolist()]
