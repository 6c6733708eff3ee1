"""The mapping language: which column of a source's records is which of our fields. Data, never code.

Decides what a mapping file may say and refuses the rest with file and line. `models.rules.extraction` turns a Mapping
into the function that reads records; models.workspace finds the file by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.documents import Document, shown
from models.rules.predicates import Predicate
from models.rules.quantities import Decimal, Marks, Thousands, marks_of

LINE = "$line"
"""The column that every record has: its line in the file. An identity where a source has no other."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"found {shown(name)}; allowed: an IANA time zone, such as Europe/Berlin") from error
    return name


def _column(value: Any) -> Any:
    if isinstance(value, str):
        return {"column": value}
    return value


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Zone = Annotated[str, AfterValidator(_zone)]
Texts = Annotated[list[str], BeforeValidator(_several)]
Scalar = str | int | float | bool | None


class Value(_Part):
    """Where a value comes from (exactly one of column, columns, first, template, constant, day) and what is done to it.

    A column is a header of a CSV file or a dotted path into a JSON record. Missing and blank are the same.
    """

    column: str | None = None
    columns: list[str] | None = Field(None, description="the first of these columns that is not blank")
    first: list[Source] | None = Field(None, description="the first of these values that is not blank")
    template: str | None = Field(None, description='text with columns in braces: "{first_name} {last_name}"')
    constant: Scalar = None
    day: str | None = Field(None, description="column of the day of the month; with month and first_year")
    month: str | None = Field(None, description="column of the month: number, English name or its first three letters")
    first_year: int | None = Field(
        None, ge=1970, le=2099, description="of the first record; falls back a month = next year"
    )
    after: str | None = Field(None, min_length=1, description="only what stands behind this text; missing without it")
    until: str | None = Field(None, min_length=1, description="cut off where one of these characters stands")
    map: dict[str, Scalar] | None = Field(None, description="value found (ignoring case) → value meant; others stay")
    default: Scalar = None
    format: Texts | None = Field(None, description="strptime formats of a date")
    minus_days: str | None = Field(None, description="column with a number of days that the date lies later")
    number: bool = Field(False, description="a number, written with the mapping's `decimal` and `thousands`")
    snake_case: bool = False
    canonical: bool = Field(False, description="the name of an event, as our canonical activity type if it has one")
    split: str | None = Field(None, description="separator of a text that is a list")
    when: Predicate | None = Field(None, description="predicate on the record; the value is missing where it fails")

    @model_validator(mode="after")
    def _has_one_origin(self) -> Value:
        named = [n for n in ("column", "columns", "first", "template", "day") if getattr(self, n) is not None]
        if "constant" in self.model_fields_set:
            named.append("constant")
        if len(named) != 1:
            raise ValueError(
                f"found {' and '.join(named) or 'none'}; allowed: one of column, columns, first, template, constant, "
                "day (with month and first_year)"
            )
        if self.day is not None and (self.month is None or self.first_year is None):
            raise ValueError("day needs month and first_year beside it")
        return self

    def read_columns(self) -> set[str]:
        """The columns that this value reads."""
        read = {name for name in (self.column, self.day, self.month, self.minus_days) if name is not None}
        read |= set(self.columns or ())
        read |= set(PLACEHOLDER.findall(self.template or ""))
        for part in self.first or ():
            read |= part.read_columns()
        return read | (set(self.when.attributes()) if self.when else set())


PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
Source = Annotated[Value, BeforeValidator(_column)]
Sources = Annotated[list[Source], BeforeValidator(_several)]


class EmailValue(Value):
    """A value that is an e-mail address; `invalid: missing` takes a record without it where it is none."""

    invalid: Literal["refused", "missing"] = "refused"


Email = Annotated[EmailValue, BeforeValidator(_column)]


class _Section(_Part):
    def values(self) -> list[Value]:
        """Every value of the section, in no particular order."""
        found: list[Value] = []
        for name in type(self).model_fields:
            said = getattr(self, name)
            if isinstance(said, Value):
                found.append(said)
            elif isinstance(said, dict):
                found.extend(v for v in said.values() if isinstance(v, Value))
            elif isinstance(said, list):
                found.extend(v for v in said if isinstance(v, Value))
        return found

    def columns(self) -> set[str]:
        """The columns and paths that this section reads."""
        return {column for value in self.values() for column in value.read_columns()}


class _Attributed(_Section):
    attributes: dict[str, Source] = {}
    spread: Sources = []
    """Values that are objects: each of their keys becomes an attribute."""
    rest: bool = False
    """Every column that the mapping names nowhere else becomes an attribute, its name in snake_case."""
    at: Source | None = None
    """Since when this holds; without it, since it was read."""
    created_at: Source | None = None
    owner: Source | None = None
    when: Predicate | None = None
    """Says whether the record says anything here beyond who it is about."""


class LeadSection(_Attributed):
    """Who the record is about, and what it says about that person."""

    email: Email | None = None
    user_id: Source | None = None
    external_id: Source | None = None
    anonymous_id: Source | None = None
    account: Source | None = None
    stage: Source | None = None
    """The lifecycle stage that the source says the lead is in: a move, by the table of legal moves."""
    blank: Literal["keeps", "clears"] = "keeps"
    """What a blank column does to an attribute that has a value."""


class AccountSection(_Attributed):
    """A company; `name` is what files call it by."""

    name: Source
    domain: Source | None = None


class ActivitySection(_Section):
    """An act of the lead."""

    when: Predicate | None = None
    type: Source
    occurred_at: Source
    message_id: Source | None = None
    url: Source | None = None
    name: Source | None = None
    campaign: Source | None = None
    source: Source | None = None
    medium: Source | None = None
    term: Source | None = None
    content: Source | None = None
    referrer: Source | None = None
    properties: dict[str, Source] = {}
    spread: Sources = []
    rest: bool = False


class DealSection(_Section):
    """An opportunity; `outcome` after its `map` is open, won or lost."""

    when: Predicate | None = None
    id: Source
    at: Source | None = None
    """Since when this holds; without it, since it was read."""
    outcome: Source | None = None
    name: Source | None = None
    stage: Source | None = None
    amount: Source | None = None
    currency: Source | None = None
    product: Source | None = None
    owner: Source | None = None
    opened_at: Source | None = None
    closed_at: Source | None = None
    account: Source | None = None
    attributes: dict[str, Source] = {}
    rest: bool = False


class CostSection(_Section):
    """What a day of a campaign cost. A row of the same day, source, medium, campaign and currency is told anew."""

    when: Predicate | None = None
    day: Source
    amount: Source
    currency: Source
    """Its three letters, such as EUR."""
    source: Source | None = None
    medium: Source | None = None
    campaign: Source | None = None


class Mapping(_Part):
    """A mapping file."""

    source: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]*$", description="who sends: ids and message ids are told apart by it"
    )
    format: Literal["csv", "jsonl", "json", "parquet"] | None = Field(
        None, description="of the files; without it, told by their names"
    )
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    encoding: str | None = Field(None, description="where a file is neither UTF-8 nor has a BOM")
    records: str | None = Field(
        None, description="path of the records in a JSON document, such as requests[].json.batch[]"
    )
    zone: Zone = Field("UTC", description="of times that name none")
    decimal: Decimal | None = Field(
        None, description="mark before the fraction of a number; without it, 1.000 is refused"
    )
    thousands: Thousands | None = Field(None, description="mark between thousands; without it, the other of . and ,")
    values: dict[str, Source] = Field({}, description="columns that are computed once per record, in this order")
    ignore: list[str] = Field([], description="columns that `rest` leaves out")
    key: list[str] = Field(
        [], description="columns that tell activities (without a message id) or costs of one day and campaign apart"
    )
    lead: LeadSection | None = None
    account: AccountSection | None = None
    activities: list[ActivitySection] = []
    deal: DealSection | None = None
    cost: CostSection | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Mapping:
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError as error:
                raise ValueError(
                    f"encoding: found {shown(self.encoding)}; allowed: a text encoding such as cp1250"
                ) from error
        self.marks  # noqa: B018 - raises where the two are the same
        if not (self.lead or self.account or self.deal or self.cost):
            raise ValueError(
                "a mapping needs a section `lead`, `account`, `deal` or `cost`; activities belong to a lead"
            )
        if self.activities and not self.lead:
            raise ValueError("`activities` need a section `lead` that says whose they are")
        return self

    @property
    def marks(self) -> Marks | None:
        """How its numbers are written; None if it does not say. ValueError if it contradicts itself."""
        return marks_of(self.decimal, self.thousands)

    def sections(self) -> list[_Section]:
        """The sections that the file has."""
        return [part for part in (self.lead, self.account, *self.activities, self.deal, self.cost) if part]

    def columns(self) -> set[str]:
        """Every column or path that the mapping names; those of `values` are not columns of the file."""
        named = {column for part in self.sections() for column in part.columns()}
        named |= {c for value in self.values.values() for c in value.read_columns()}
        return (named | set(self.key) | set(self.ignore)) - set(self.values) - {LINE}

    def identifying_columns(self) -> set[str]:
        """The columns of which a CSV file must have at least one: without them no record says what it is about."""
        named: list[Value | None] = []
        if self.lead:
            named += [self.lead.email, self.lead.user_id, self.lead.external_id, self.lead.anonymous_id]
        if self.account:
            named.append(self.account.name)
        if self.deal:
            named = [self.deal.id]
        if self.cost and not named:
            named = [self.cost.amount]
        read = {column for value in named if value is not None for column in value.read_columns()}
        for name, value in reversed(self.values.items()):
            if name in read:
                read = (read - {name}) | value.read_columns()
        return read


Value.model_rebuild()


def load_mapping(document: Document) -> Mapping:
    """The mapping of a parsed file; ConfigurationError with every mistake and its line."""
    return document.validate(Mapping)


def walked(node: Any, path: str) -> Iterator[Any]:
    """What stands at a path such as `requests[].json.batch[]`; nothing where it leads nowhere."""
    head, _, rest = path.partition(".")
    name = head.rstrip("[]")
    if name:
        node = node.get(name) if isinstance(node, dict) else None
    found = [node] if node is not None else []
    for _ in range(head.count("[]")):
        found = [element for group in found if isinstance(group, list) for element in group]
    for element in found:
        if rest:
            yield from walked(element, rest)
        else:
            yield element
