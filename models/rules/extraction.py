"""A mapping, made into the function that reads records: record → Intake, or RecordError with a reason.

Decides how each kind of value is found and changed, in what order, and what a blank means. Compiled once per file; the
only memory between records is that of `first_year` dates, which follow the file's order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Mapping as Facts
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from models.documents import shown
from models.rules import records
from models.rules.instants import Micros, instant
from models.rules.mapping import (
    LINE,
    PLACEHOLDER,
    AccountSection,
    ActivitySection,
    DealSection,
    LeadSection,
    Mapping,
    Value,
)
from models.rules.records import (
    AccountFacts,
    ActivityFacts,
    DealFacts,
    Extract,
    Identity,
    Intake,
    LeadFacts,
    Ordinal,
    Record,
    RecordError,
)
from models.rules.timestamps import days_before
from models.rules.touchpoints import facets_of
from models.rules.values import as_number, is_missing

Getter = Callable[["Row"], Any]
MONTHS = {name: n for n, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)}
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_MONEY = re.compile(r"^[^\d+-]{0,4}|[^\d.]{0,4}$")


class Row(Facts[str, Any]):
    """A record as predicates and values see it: by column, by dotted path, and the computed `values`."""

    __slots__ = ("computed", "record")

    def __init__(self, record: Record, line: int) -> None:
        self.record = record
        self.computed: dict[str, Any] = {LINE: line}

    def __getitem__(self, path: str) -> Any:
        if path in self.computed:
            return self.computed[path]
        found: Any = self.record
        if path in found:
            return found[path]
        for part in path.split("."):
            if not isinstance(found, dict) or part not in found:
                raise KeyError(path)
            found = found[part]
        return found

    def get(self, path: str, default: Any = None) -> Any:
        try:
            return self[path]
        except KeyError:
            return default

    def __iter__(self) -> Iterator[str]:
        yield from self.record
        yield from self.computed

    def __len__(self) -> int:
        return len(self.record) + len(self.computed)


def compile_mapping(mapping: Mapping, facets: Sequence[str], ordinal: Ordinal) -> Extract:
    """The function that reads the records in file order. `facets`: activity properties that touchpoints keep."""
    zone: tzinfo = UTC if mapping.zone == "UTC" else ZoneInfo(mapping.zone)
    computed = [(name, _getter(value, zone)) for name, value in mapping.values.items()]
    who = _identities(mapping.lead, mapping.source, zone) if mapping.lead else None
    spoken_for = {column.split(".")[0] for column in mapping.columns()} | mapping.columns()
    lead = _lead(mapping.lead, zone, spoken_for) if mapping.lead else None
    lead_account = _getter(mapping.lead.account, zone) if mapping.lead and mapping.lead.account else None
    account = _account(mapping.account, zone, spoken_for) if mapping.account else None
    activities = [
        _activity(section, part, mapping, zone, spoken_for, sorted(facets), ordinal)
        for part, section in enumerate(mapping.activities)
    ]
    deal = _deal(mapping.deal, mapping.source, zone, spoken_for) if mapping.deal else None

    def extract(record: Record, line: int) -> Intake:
        row = Row(record, line)
        for name, value in computed:
            row.computed[name] = value(row)
        identities = who(row) if who else ()
        company = account(row) if account else None
        if company is None and lead_account is not None:
            company = _named_account(lead_account(row))
        said = lead(row, company) if lead and identities else None
        done = tuple(act for make in activities if (act := make(row, identities)) is not None)
        opportunity = deal(row) if deal else None
        if who and not identities and (done or not (company or opportunity)):
            raise RecordError("no identity: every column that could say who this is about is blank")
        if not (said or done or company or opportunity or identities):
            raise RecordError("nothing in this record is named by the mapping")
        return Intake(line, identities, done, said, company, opportunity)

    return extract


def _getter(value: Value, zone: tzinfo) -> Getter:
    """The value's function: where it comes from, then `map`, `default`, `snake_case`, `split`, `minus_days`, `when`."""
    steps: list[Callable[[Any, Row], Any]] = []
    if value.map is not None:
        meant = {key.strip().casefold(): mapped for key, mapped in value.map.items()}
        steps.append(lambda found, row: found if found is None else meant.get(_key(found), found))
    if value.default is not None:
        steps.append(lambda found, row: value.default if found is None else found)
    if value.format is not None or value.minus_days is not None:
        steps.append(_dated(value, zone))
    if value.snake_case:
        steps.append(lambda found, row: records.snake_case(found) if isinstance(found, str) else found)
    if (separator := value.split) is not None:
        steps.append(lambda found, row: _parts(found, separator))
    origin, condition = _origin(value, zone), value.when

    def get(row: Row) -> Any:
        if condition is not None and not condition.holds(row):
            return None
        found = origin(row)
        if is_missing(found):
            found = None
        for step in steps:
            found = step(found, row)
        return found

    return get if steps or condition is not None else origin


def _key(found: Any) -> str:
    return (str(found).lower() if isinstance(found, bool) else str(found)).strip().casefold()


def _parts(found: Any, separator: str) -> Any:
    return [part.strip() for part in found.split(separator) if part.strip()] if isinstance(found, str) else found


def _origin(value: Value, zone: tzinfo) -> Getter:
    if (column := value.column) is not None:
        return lambda row: _present(row.get(column))
    if (columns := value.columns) is not None:
        return lambda row: next((v for name in columns if (v := _present(row.get(name))) is not None), None)
    if value.first is not None:
        getters = [_getter(part, zone) for part in value.first]
        return lambda row: next((v for get in getters if (v := _present(get(row))) is not None), None)
    if value.template is not None:
        return _template(value.template)
    if value.day is not None:
        return _rolling_date(value)
    return lambda row: value.constant


def _present(value: Any) -> Any:
    return None if is_missing(value) else value


def _template(template: str) -> Getter:
    names = PLACEHOLDER.findall(template)

    def fill(row: Row) -> str | None:
        found = {name: _present(row.get(name)) for name in names}
        if names and all(value is None for value in found.values()):
            return None
        return " ".join(
            PLACEHOLDER.sub(lambda m: str(found[m[1]] if found[m[1]] is not None else ""), template).split()
        )

    return fill


def _rolling_date(value: Value) -> Getter:
    """Day and month in a file that is in date order: each time the month falls back, a year has gone by."""
    day_column, month_column = value.day or "", value.month or ""
    year, last = value.first_year or 0, 0

    def date_of(row: Row) -> datetime:
        nonlocal year, last
        month, day = _month(row.get(month_column), month_column), as_number(row.get(day_column))
        next_year = year + (month < last)
        try:
            found = datetime(next_year, month, int(day) if day is not None else 0, tzinfo=UTC)
        except ValueError as error:
            raise RecordError(
                f"{day_column}: found {shown(row.get(day_column))}; allowed: a day of month {month}"
            ) from error
        year, last = next_year, month
        return found

    return date_of


def _month(value: Any, column: str) -> int:
    number = as_number(value)
    month = int(number) if number is not None else MONTHS.get(str(value).strip().lower()[:3], 0)
    if not 1 <= month <= 12:
        raise RecordError(f"{column}: found {shown(value)}; allowed: a month")
    return month


def _dated(value: Value, zone: tzinfo) -> Callable[[Any, Row], Any]:
    formats, minus = tuple(value.format or ()), value.minus_days

    def dated(found: Any, row: Row) -> Any:
        if found is None:
            return None
        name = value.column or "date"
        at = records.required_time(found, name, formats, zone)
        if minus is not None:
            days = as_number(row.get(minus))
            if days is None:
                raise RecordError(f"{minus}: found {shown(row.get(minus))}; allowed: a number of days")
            try:
                at = days_before(at, days)
            except ValueError as error:
                raise RecordError(f"{name}: {error}") from error
        return instant(at)

    return dated


def _time(value: Value | None, field: str, zone: tzinfo) -> Callable[[Row], Micros | None]:
    if value is None:
        return lambda row: None
    get = _getter(value, zone)
    return lambda row: records.time_of(get(row), field, (), zone)


def _text(value: Value | None, field: str, zone: tzinfo) -> Callable[[Row], str | None]:
    if value is None:
        return lambda row: None
    get = _getter(value, zone)
    return lambda row: records.text_of(get(row), field)


def _identities(section: LeadSection, source: str, zone: tzinfo) -> Callable[[Row], tuple[Identity, ...]]:
    readers: list[tuple[str, Callable[[Row], str | None]]] = []
    if section.email is not None:
        readers.append(("email", _address(section.email.invalid, _getter(section.email, zone))))
    named = {"user_id": section.user_id, "external": section.external_id, "anonymous_id": section.anonymous_id}
    for kind, value in named.items():
        if value is not None:
            readers.append((kind, _identifier(kind, source, _getter(value, zone))))

    def who(row: Row) -> tuple[Identity, ...]:
        return tuple((kind, found) for kind, read in readers if (found := read(row)) is not None)

    return who


def _address(invalid: str, get: Getter) -> Callable[[Row], str | None]:
    def read(row: Row) -> str | None:
        try:
            return records.address_of(get(row))
        except RecordError:
            if invalid == "missing":
                return None
            raise

    return read


def _identifier(kind: str, source: str, get: Getter) -> Callable[[Row], str | None]:
    def read(row: Row) -> str | None:
        found = records.identifier(get(row), kind)
        return f"{source}:{found}" if found is not None and kind == "external" else found

    return read


def _storable(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _attributes(
    named: Facts[str, Value],
    spread: Sequence[Value],
    rest: bool,
    spoken_for: set[str],
    zone: tzinfo,
    blank: str = "keeps",
) -> Callable[[Row], dict[str, Any]]:
    getters = {name: _getter(value, zone) for name, value in named.items()}
    objects = [_getter(value, zone) for value in spread]

    def read(row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if rest:
            found.update((k, v) for k, v in row.record.items() if k not in spoken_for)
        for get in objects:
            if isinstance(said := get(row), dict):
                found.update(said)
        flat = records.flattened(found)
        flat.update((name, _storable(get(row))) for name, get in getters.items())
        if blank == "clears":
            return {name: _present(value) for name, value in flat.items()}
        return {name: value for name, value in flat.items() if not is_missing(value)}

    return read


def _lead(
    section: LeadSection, zone: tzinfo, spoken_for: set[str]
) -> Callable[[Row, AccountFacts | None], LeadFacts | None]:
    attributes = _attributes(section.attributes, section.spread, section.rest, spoken_for, zone, section.blank)
    at, created_at = _time(section.at, "at", zone), _time(section.created_at, "created_at", zone)
    owner, condition = _text(section.owner, "owner", zone), section.when
    speaks = bool(
        section.attributes or section.spread or section.rest or section.account or section.created_at or section.owner
    )

    def read(row: Row, company: AccountFacts | None) -> LeadFacts | None:
        if not speaks or (condition is not None and not condition.holds(row)):
            return None
        said = attributes(row)
        if company is not None:
            said.setdefault("company", company.name)
        return LeadFacts(said, at(row), created_at(row), owner(row))

    return read


def _named_account(value: Any) -> AccountFacts | None:
    name = records.text_of(value, "account")
    return AccountFacts(" ".join(name.split()).casefold(), name) if name else None


def _account(section: AccountSection, zone: tzinfo, spoken_for: set[str]) -> Callable[[Row], AccountFacts | None]:
    name, domain, owner = (_text(getattr(section, n), f"account {n}", zone) for n in ("name", "domain", "owner"))
    attributes = _attributes(section.attributes, section.spread, section.rest, spoken_for, zone)
    at, created_at, condition = (
        _time(section.at, "at", zone),
        _time(section.created_at, "created_at", zone),
        section.when,
    )

    def read(row: Row) -> AccountFacts | None:
        if condition is not None and not condition.holds(row):
            return None
        named = _named_account(name(row))
        if named is None:
            return None
        where = domain(row)
        return named._replace(
            domain=where.lower() if where else None,
            owner=owner(row),
            attributes=attributes(row),
            at=at(row),
            created_at=created_at(row),
        )

    return read


def _activity(
    section: ActivitySection,
    part: int,
    mapping: Mapping,
    zone: tzinfo,
    spoken_for: set[str],
    facets: Sequence[str],
    ordinal: Ordinal,
) -> Callable[[Row, tuple[Identity, ...]], ActivityFacts | None]:
    touched = {
        name: _getter(value, zone)
        for name in ("type", "name", "url", "referrer", "campaign", "source", "medium", "term", "content")
        if (value := getattr(section, name)) is not None
    }
    occurred_at, message = _getter(section.occurred_at, zone), section.message_id and _getter(section.message_id, zone)
    properties = _attributes(section.properties, (), False, spoken_for, zone)
    extra = _attributes({}, section.spread, section.rest, spoken_for, zone)
    condition, key, source = section.when, mapping.key, mapping.source

    def read(row: Row, who: tuple[Identity, ...]) -> ActivityFacts | None:
        if condition is not None and not condition.holds(row):
            return None
        fields = {name: get(row) for name, get in touched.items()}
        at = records.required_time(occurred_at(row), "occurred_at", (), zone)
        said = {**extra(row), **properties(row)}
        about = records.touchpoint_of(fields, facets_of(said, facets))
        dedupe = records.message_key(source, records.identifier(message(row), "message_id"), part) if message else None
        if dedupe is None and key:
            dedupe = records.key_of("key", source, part, *(row.get(column) for column in key))
        if dedupe is None:
            if not who:
                raise RecordError("no identity: every column that could say who this is about is blank")
            dedupe = records.ordinal_key(who[0], about.type, at, fields.get("url"), ordinal)
        return ActivityFacts(dedupe, at, about, records.properties_json(said))

    return read


OUTCOMES = ("open", "won", "lost")


def _deal(section: DealSection, source: str, zone: tzinfo, spoken_for: set[str]) -> Callable[[Row], DealFacts | None]:
    external_id, condition = _getter(section.id, zone), section.when
    texts = {n: _text(getattr(section, n), n, zone) for n in ("name", "stage", "currency", "product", "owner")}
    times = {n: _time(getattr(section, n), n, zone) for n in ("opened_at", "closed_at")}
    outcome = _text(section.outcome, "outcome", zone)
    amount = _getter(section.amount, zone) if section.amount else None
    account = _getter(section.account, zone) if section.account else None
    attributes = _attributes(section.attributes, (), section.rest, spoken_for, zone)

    def read(row: Row) -> DealFacts | None:
        if condition is not None and not condition.holds(row):
            return None
        named = records.identifier(external_id(row), "id")
        if named is None:
            raise RecordError("the deal's id is missing")
        fields: dict[str, Any] = {"source": source}
        fields.update((name, get(row)) for name, get in texts.items())
        fields.update((name, get(row)) for name, get in times.items())
        fields["outcome"] = (outcome(row) or "open").lower()
        if fields["outcome"] not in OUTCOMES:
            raise RecordError(
                f"outcome: found {shown(fields['outcome'])}; allowed: {', '.join(OUTCOMES)} (`map` can translate)"
            )
        fields["amount"] = _amount(amount(row)) if amount else None
        fields["attributes"] = attributes(row)
        return DealFacts(named, fields, _named_account(account(row)) if account else None)

    return read


def _amount(value: Any) -> float | None:
    if is_missing(value):
        return None
    text = _MONEY.sub("", value.strip()) if isinstance(value, str) else value
    if isinstance(text, str) and _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    number = as_number(text)
    if number is None:
        raise RecordError(f"amount: found {shown(value)}; allowed: a number such as 1200, 1200.50 or $1,200.50")
    return float(number)
