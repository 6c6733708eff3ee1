"""A mapping, made into the function that reads records: record → Intake, or RecordError with the reason.

Decides which facts each section of a mapping makes of a record, and which columns its `rest` takes. How a single value
is found: models.rules.lookups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Facts
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from models.documents import did_you_mean, shown
from models.rules import records
from models.rules.instants import Micros, instant
from models.rules.lifecycle import Stage
from models.rules.lookups import Getter, Habits, Row, getter, number, present
from models.rules.mapping import AccountSection, ActivitySection, CostSection, DealSection, LeadSection, Mapping, Value
from models.rules.records import (
    AccountFacts,
    ActivityFacts,
    CostFacts,
    DealFacts,
    Extract,
    Identity,
    Intake,
    LeadFacts,
    Ordinal,
    Record,
    RecordError,
)
from models.rules.touchpoints import facets_of
from models.rules.values import is_missing


def compile_mapping(mapping: Mapping, facets: Sequence[str], ordinal: Ordinal) -> Extract:
    """The function that reads the records in file order. `facets`: activity properties that touchpoints keep."""
    habits = Habits(UTC if mapping.zone == "UTC" else ZoneInfo(mapping.zone), mapping.marks)
    computed = [(name, getter(value, habits)) for name, value in mapping.values.items()]
    who = _identities(mapping.lead, mapping.source, habits) if mapping.lead else None
    spoken_for = {column.split(".")[0] for column in mapping.columns()} | mapping.columns()
    scope = _Scope(habits, spoken_for, set(mapping.ignore))
    lead = _lead(mapping.lead, scope) if mapping.lead else None
    lead_account = getter(mapping.lead.account, habits) if mapping.lead and mapping.lead.account else None
    account = _account(mapping.account, scope) if mapping.account else None
    activities = [
        _activity(section, part, mapping, scope, sorted(facets), ordinal)
        for part, section in enumerate(mapping.activities)
    ]
    deal = _deal(mapping.deal, mapping.source, scope) if mapping.deal else None
    cost = _cost(mapping.cost, mapping, habits, ordinal) if mapping.cost else None

    def extract(record: Record, line: int) -> Intake:
        row = Row(record, line)
        for name, value in computed:
            row.computed[name] = value(row)
        identities = who(row) if who else ()
        company = account(row) if account else None
        if company is None and lead_account is not None:
            company = records.account_named(lead_account(row))
        said = lead(row) if lead and identities else None
        done = tuple(act for make in activities if (act := make(row, identities)) is not None)
        opportunity = deal(row) if deal else None
        spent = cost(row) if cost else None
        if who and not identities and (done or not opportunity):  # a company alone would drop the person in silence
            raise RecordError("no identity: every column that could say who this is about is blank")
        if not (said or done or company or opportunity or spent or identities):
            raise RecordError("nothing in this record is named by the mapping")
        return Intake(line, identities, done, said, company, opportunity, spent)

    return extract


def _time(value: Value | None, field: str, habits: Habits) -> Callable[[Row], Micros | None]:
    if value is None:
        return lambda row: None
    get = getter(value, habits)
    return lambda row: records.time_of(get(row), field, (), habits.zone)


def _text(value: Value | None, field: str, habits: Habits) -> Callable[[Row], str | None]:
    if value is None:
        return lambda row: None
    get = getter(value, habits)
    return lambda row: records.text_of(get(row), field)


def _identities(section: LeadSection, source: str, habits: Habits) -> Callable[[Row], tuple[Identity, ...]]:
    readers: list[tuple[str, Callable[[Row], str | None]]] = []
    if section.email is not None:
        readers.append(("email", _address(section.email.invalid, getter(section.email, habits))))
    named = {"user_id": section.user_id, "external": section.external_id, "anonymous_id": section.anonymous_id}
    for kind, value in named.items():
        if value is not None:
            readers.append((kind, _identifier(kind, source, getter(value, habits))))

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
        value = get(row)
        found = records.identifier(value[0] if isinstance(value, list) and value else value, kind)
        return f"{source}:{found}" if found is not None and kind == "external" else found

    return read


def _storable(value: Any) -> Any:
    if type(value) is str:
        return value.strip()
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


@dataclass(frozen=True)
class _Scope:
    """What the sections of one mapping share: how its files are written, and the columns that are no attributes."""

    habits: Habits
    spoken_for: set[str]
    """Every column that the mapping names, and the first part of each path."""
    ignored: set[str]


def _attributes(
    scope: _Scope, named: Facts[str, Value], spread: Sequence[Value], rest: bool, own: set[str], blank: str = "keeps"
) -> Callable[[Row], dict[str, Any]]:
    """`rest` leaves out what the mapping names anywhere, `spread` what this section names itself (`own`)."""
    getters = [(name, getter(value, scope.habits)) for name, value in named.items()]
    objects = [(value.column or "", getter(value, scope.habits)) for value in spread]
    taken = own | scope.ignored

    def read(row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if rest:
            found.update((k, v) for k, v in row.record.items() if k not in scope.spoken_for)
        for path, get in objects:
            if isinstance(said := get(row), dict):
                found.update((k, v) for k, v in said.items() if f"{path}.{k}" not in taken)
        flat = records.flattened(found) if found else {}
        if blank == "clears":
            flat = {name: _storable(present(value)) for name, value in flat.items()}
            flat.update((name, _storable(get(row))) for name, get in getters)
            return flat
        if flat:
            flat = {name: _storable(value) for name, value in flat.items() if not is_missing(value)}
        flat.update((name, _storable(value)) for name, get in getters if (value := get(row)) is not None)
        return flat

    return read


def _lead(section: LeadSection, scope: _Scope) -> Callable[[Row], LeadFacts | None]:
    habits = scope.habits
    attributes = _attributes(scope, section.attributes, section.spread, section.rest, section.columns(), section.blank)
    at, created_at = _time(section.at, "at", habits), _time(section.created_at, "created_at", habits)
    owner, condition = _text(section.owner, "owner", habits), section.when
    stage = _text(section.stage, "stage", habits)
    speaks = any((section.attributes, section.spread, section.rest, section.account, section.created_at, section.owner,
                  section.stage))  # fmt: skip

    def read(row: Row) -> LeadFacts | None:
        if not speaks or (condition is not None and not condition.holds(row)):
            return None
        return LeadFacts(attributes(row), at(row), created_at(row), owner(row), _stage(stage(row)))

    return read


def _stage(said: str | None) -> str | None:
    """The stage that is meant: `Marketing Qualified` is `marketing_qualified`."""
    named = records.snake_case(said) if said is not None else None
    if named is not None and named not in list(Stage):
        near = did_you_mean(named, Stage)
        raise RecordError(f"stage: found {shown(said)}{near}; allowed: {', '.join(Stage)} (`map` can translate)")
    return named


def _account(section: AccountSection, scope: _Scope) -> Callable[[Row], AccountFacts | None]:
    habits = scope.habits
    name, domain, owner = (_text(getattr(section, n), f"account {n}", habits) for n in ("name", "domain", "owner"))
    attributes = _attributes(scope, section.attributes, section.spread, section.rest, section.columns())
    at, created_at, condition = (
        _time(section.at, "at", habits),
        _time(section.created_at, "created_at", habits),
        section.when,
    )

    def read(row: Row) -> AccountFacts | None:
        if condition is not None and not condition.holds(row):
            return None
        named = records.account_named(name(row))
        if named is None:
            return None
        where = records.key_text(domain(row), "account domain")
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
    scope: _Scope,
    facets: Sequence[str],
    ordinal: Ordinal,
) -> Callable[[Row, tuple[Identity, ...]], ActivityFacts | None]:
    habits = scope.habits
    touched = {
        name: getter(value, habits)
        for name in ("type", "name", "url", "referrer", "campaign", "source", "medium", "term", "content")
        if (value := getattr(section, name)) is not None
    }
    occurred_at, message = (
        getter(section.occurred_at, habits),
        section.message_id and getter(section.message_id, habits),
    )
    properties = _attributes(scope, section.properties, (), False, set())
    extra = _attributes(scope, {}, section.spread, section.rest, section.columns())
    condition, key, source = section.when, mapping.key, mapping.source

    def read(row: Row, who: tuple[Identity, ...]) -> ActivityFacts | None:
        if condition is not None and not condition.holds(row):
            return None
        fields = {name: get(row) for name, get in touched.items()}
        at = records.required_time(occurred_at(row), "occurred_at", (), habits.zone)
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


def _deal(section: DealSection, source: str, scope: _Scope) -> Callable[[Row], DealFacts | None]:
    habits = scope.habits
    external_id, condition = getter(section.id, habits), section.when
    texts = {n: _text(getattr(section, n), n, habits) for n in ("name", "stage", "currency", "product", "owner")}
    times = {n: _time(getattr(section, n), n, habits) for n in ("opened_at", "closed_at")}
    outcome, since = _text(section.outcome, "outcome", habits), _time(section.at, "at", habits)
    amount = getter(section.amount, habits) if section.amount else None
    account = getter(section.account, habits) if section.account else None
    attributes = _attributes(scope, section.attributes, (), section.rest, set())

    def read(row: Row) -> DealFacts | None:
        if condition is not None and not condition.holds(row):
            return None
        named = records.identifier(external_id(row), "id")
        if named is None:
            raise RecordError("the deal's id is missing")
        fields: dict[str, Any] = {"source": source}
        fields.update((name, get(row)) for name, get in texts.items())
        fields.update((name, get(row)) for name, get in times.items())
        fields["outcome"] = _outcome(outcome(row))
        fields["amount"] = _amount(amount(row), habits) if amount else None
        fields["attributes"] = attributes(row)
        company = records.account_named(account(row)) if account else None
        return DealFacts(named, fields, company, since(row))

    return read


def _outcome(said: str | None) -> str | None:
    """None where the record does not say: that leaves a deal which is known as it is."""
    if said is not None and said.lower() not in OUTCOMES:
        raise RecordError(f"outcome: found {shown(said)}; allowed: {', '.join(OUTCOMES)} (`map` can translate)")
    return said and said.lower()


_CURRENCY = re.compile(r"[A-Z]{3}")


def _cost(
    section: CostSection, mapping: Mapping, habits: Habits, ordinal: Ordinal
) -> Callable[[Row], CostFacts | None]:
    day, amount, condition = getter(section.day, habits), getter(section.amount, habits), section.when
    currency = _text(section.currency, "currency", habits)
    channel = [_text(getattr(section, name), name, habits) for name in ("source", "medium", "campaign")]

    def read(row: Row) -> CostFacts | None:
        if condition is not None and not condition.holds(row):
            return None
        at = instant(records.required_time(day(row), "day", (), habits.zone)).astimezone(habits.zone)
        spent = _amount(amount(row), habits)
        if spent is None:
            raise RecordError("amount is missing")
        money = (currency(row) or "").upper()
        if not _CURRENCY.fullmatch(money):
            raise RecordError(
                f"currency: found {shown(money or None)}; allowed: three letters such as EUR (`map`, `constant`)"
            )
        on = [read_text(row) for read_text in channel]
        said = (mapping.source, at.date().isoformat(), money, *(word or "" for word in on))
        alike = records.key_of("cost", *said, *(row.get(column) for column in mapping.key))
        return CostFacts(records.key_of(alike.hex(), ordinal(alike)), said[1], spent, money, *on)

    return read


def _amount(value: Any, habits: Habits) -> float | None:
    return None if is_missing(value) else float(number(value, "amount", habits.marks))
