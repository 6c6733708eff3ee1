"""The predicate language: what `if`, `where`, `must`, `exclude`, `when` and territories say about attributes.

Decides what can be said, whether it holds for given facts, and how it is told in words. Reads no file (lists come
through the validation context `read_list`) and no clock. Scoring evaluates the leaves once per distinct value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import regex
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from models.documents import did_you_mean, shown
from models.rules.values import Equals, as_instant, as_number, as_text, elements, folded, is_missing

ReadList = Callable[[str], str]
"""Relative path → text of the file; OSError or UnicodeDecodeError if it cannot be read."""
MATCH_SECONDS = 0.25
"""A pattern that needs longer on one value (catastrophic backtracking) does not match it."""
PATIENCE, IMPATIENT_SECONDS = 8, 0.01
"""After this many such values a pattern gets this long for each further one: a million hostile values take no days."""
PROBES = ("a" * 40 + "!", "0" * 40 + "!", " " * 40 + "!", "a " * 20 + "!", "a." * 20 + "@", "/a" * 20 + "!", "-_" * 20)
"""Texts on which patterns that backtrack without end are likely to show it."""
EXACT = 2.0**53
"""Up to here every whole number is a float."""
RANGES: dict[str, Callable[[Any, Any], bool]] = {
    "from": lambda x, bound: bool(x >= bound),
    "to": lambda x, bound: bool(x <= bound),
    "above": lambda x, bound: bool(x > bound),
    "below": lambda x, bound: bool(x < bound),
}
PARTS: dict[str, Callable[[str, str], bool]] = {
    "contains": str.__contains__,
    "starts": str.startswith,
    "ends": str.endswith,
}
MARK = "x-warmline-predicate"
"""Stands for a predicate in a JSON Schema until models.rules.schemas puts the definition there."""
OPERATORS = (*RANGES, *PARTS, "matches", "in_list", "is", "not")


@dataclass(frozen=True)
class Range:
    """`from`, `to`, `above` or `below` a number or an instant; values of the other kind never hold."""

    operator: str
    bound: int | float
    is_instant: bool
    written: Any

    def holds(self, element: Any) -> bool:
        value = as_instant(element) if self.is_instant else as_number(element)
        return value is not None and RANGES[self.operator](value, self.bound)

    def describe(self) -> str:
        return f"{self.operator} {self.written}"


@dataclass(frozen=True)
class Part:
    """`contains`, `starts` or `ends` with any of some texts."""

    operator: str
    texts: tuple[str, ...]

    def holds(self, element: Any) -> bool:
        text, test = element.strip().casefold() if type(element) is str else folded(element), PARTS[self.operator]
        if text is not None:
            for part in self.texts:  # a generator would cost as much as the test
                if test(text, part):
                    return True
        return False

    def holds_in(self, texts: Sequence[str]) -> list[bool]:
        """Of each text, trimmed and case-folded already; an empty one is missing."""
        if self.operator == "contains":
            return [any(part in text for part in self.texts) and bool(text) for text in texts]
        starts = self.operator == "starts"
        return [bool(text) and (text.startswith if starts else text.endswith)(self.texts) for text in texts]

    def describe(self) -> str:
        return f"{self.operator} {_either(self.texts)}"


class TimedPattern:
    """A regular expression that counts the values on which it ran out of time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.gave_up = 0
        self._compiled = regex.compile(text, regex.IGNORECASE)

    def found(self, text: str) -> bool:
        """True if it is found anywhere in time."""
        try:
            seconds = MATCH_SECONDS if self.gave_up < PATIENCE else IMPATIENT_SECONDS
            return self._compiled.search(text, timeout=seconds) is not None
        except TimeoutError:
            self.gave_up += 1
            return False

    def is_slow(self) -> bool:
        """True if it runs out of time on one of PROBES, or has done so on a value."""
        try:
            for probe in PROBES:
                self._compiled.search(probe, timeout=IMPATIENT_SECONDS)
        except TimeoutError:
            return True
        return self.gave_up > 0


@dataclass(frozen=True)
class Pattern:
    """`matches` any of some regular expressions, anywhere in the text, ignoring case."""

    patterns: tuple[TimedPattern, ...]

    def holds(self, element: Any) -> bool:
        text = as_text(element)
        return text is not None and any(pattern.found(text) for pattern in self.patterns)

    def describe(self) -> str:
        return f"matches {_either([pattern.text for pattern in self.patterns])}"


@dataclass(frozen=True)
class AnyOf:
    """Equals one of some scalars, written out or read from `file`."""

    equals: Equals
    values: tuple[Any, ...]
    file: str | None = None

    def holds(self, element: Any) -> bool:
        return self.equals.holds(element)

    def describe(self) -> str:
        return f"is {_either(self.values)}" if self.file is None else f"is in {self.file}"


@dataclass(frozen=True)
class Condition:
    """What is asked of one attribute: one element passes all `tests`, and the attribute as a whole the rest."""

    tests: tuple[Range | Part | Pattern | AnyOf, ...] = ()
    present: bool | None = None
    negated: Condition | None = None

    def matches(self, value: Any) -> bool:
        """True if the attribute's value (None = missing) is as asked."""
        if self._is_plain and type(value) is str:  # nearly all that is asked: a third of the time
            if not value or value.isspace():
                return False
            for test in self.tests:  # noqa: SIM110 — a generator would cost as much as the test
                if not test.holds(value):
                    return False
            return True
        if self.present is not None and is_missing(value) == self.present:
            return False
        if self.negated is not None and self.negated.matches(value):
            return False
        if isinstance(value, list | tuple):
            return not self.tests or any(self._passes(one) for one in elements(value))
        return not self.tests or (not is_missing(value) and self._passes(value))

    def _passes(self, one: Any) -> bool:
        for test in self.tests:  # noqa: SIM110 — a generator would cost as much as the test
            if not test.holds(one):
                return False
        return True

    @cached_property
    def _is_plain(self) -> bool:
        return self.present is None and self.negated is None and bool(self.tests)

    @cached_property
    def part(self) -> Part | None:
        """If nothing else is asked: what a text is to begin or end with, or to contain."""
        test = self.tests[0] if self._is_plain and len(self.tests) == 1 else None
        return test if isinstance(test, Part) else None

    @cached_property
    def of_numbers(self) -> bool:
        """True if nothing is asked but ranges of numbers that a float holds exactly."""
        return self._is_plain and all(
            isinstance(t, Range) and not t.is_instant and abs(t.bound) <= EXACT for t in self.tests
        )

    def describe(self) -> str:
        words = [test.describe() for test in self.tests]
        if self.present is not None:
            words.append("is present" if self.present else "is missing")
        if self.negated is not None:
            words.append(f"not ({self.negated.describe()})")
        return " and ".join(words)


@dataclass(frozen=True, eq=False)
class Leaf:
    """A condition on one attribute."""

    attribute: str
    condition: Condition

    def holds(self, facts: Mapping[str, Any]) -> bool:
        return self.condition.matches(facts.get(self.attribute))

    def attributes(self) -> frozenset[str]:
        return frozenset((self.attribute,))

    def describe(self) -> str:
        return f"{self.attribute} {self.condition.describe()}"


@dataclass(frozen=True, eq=False)
class All:
    """Every part holds."""

    parts: tuple[Node, ...]

    def holds(self, facts: Mapping[str, Any]) -> bool:
        return all(part.holds(facts) for part in self.parts)

    def attributes(self) -> frozenset[str]:
        return frozenset().union(*(part.attributes() for part in self.parts))

    def describe(self) -> str:
        return " and ".join(part.describe() for part in self.parts)


@dataclass(frozen=True, eq=False)
class Either:
    """At least one part holds."""

    parts: tuple[Node, ...]

    def holds(self, facts: Mapping[str, Any]) -> bool:
        return any(part.holds(facts) for part in self.parts)

    def attributes(self) -> frozenset[str]:
        return frozenset().union(*(part.attributes() for part in self.parts))

    def describe(self) -> str:
        return "(" + " or ".join(part.describe() for part in self.parts) + ")"


@dataclass(frozen=True, eq=False)
class Not:
    """The part does not hold."""

    part: Node

    def holds(self, facts: Mapping[str, Any]) -> bool:
        return not self.part.holds(facts)

    def attributes(self) -> frozenset[str]:
        return self.part.attributes()

    def describe(self) -> str:
        return f"not ({self.part.describe()})"


Node = Leaf | All | Either | Not


class Predicate:
    """A predicate on named attributes: a field of any pydantic model, written as a mapping.

    `data` is the canonical form (lists read from files stand in it), so that a stored model means what it meant.
    """

    def __init__(self, root: Node, data: dict[str, Any]) -> None:
        self.root = root
        self.data = data

    @classmethod
    def parse(cls, data: Any, read_list: ReadList | None = None) -> Predicate:
        """Read plain data. Raises pydantic's ValidationError with every mistake at its place."""
        reader = _Reader(read_list)
        root, canonical = reader.predicate(data, ())
        if reader.mistakes:
            raise ValidationError.from_exception_data("predicate", reader.mistakes)
        assert root is not None
        return cls(root, canonical)

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """True if it holds for `facts` (attribute → value; an absent name is a missing attribute)."""
        return self.root.holds(facts)

    def attributes(self) -> frozenset[str]:
        """The names of the attributes that it looks at."""
        return self.root.attributes()

    def describe(self) -> str:
        """In words, for reasons and explanations."""
        return self.root.describe()

    def leaves(self) -> Iterator[Leaf]:
        """Every condition on one attribute in it."""
        yield from _leaves(self.root)

    def patterns(self) -> Iterator[TimedPattern]:
        """Every regular expression in it."""
        for leaf in self.leaves():
            yield from _patterns(leaf.condition)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Predicate) and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.describe())

    def __repr__(self) -> str:
        return f"Predicate({self.data!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validated,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda predicate: predicate.data),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {MARK: True}

    @classmethod
    def _validated(cls, data: Any, info: ValidationInfo) -> Predicate:
        return data if isinstance(data, Predicate) else cls.parse(data, (info.context or {}).get("read_list"))


def _leaves(node: Node) -> Iterator[Leaf]:
    if isinstance(node, Not):
        yield from _leaves(node.part)
    elif isinstance(node, All | Either):
        for part in node.parts:
            yield from _leaves(part)
    else:
        yield node


def _patterns(condition: Condition | None) -> Iterator[TimedPattern]:
    while condition is not None:
        for test in condition.tests:
            if isinstance(test, Pattern):
                yield from test.patterns
        condition = condition.negated


Place = tuple[str | int, ...]


class _Reader:
    """One reading of one predicate: collects every mistake with its place instead of stopping at the first."""

    def __init__(self, read_list: ReadList | None) -> None:
        self.read_list = read_list
        self.mistakes: list[InitErrorDetails] = []

    def mistake(self, place: Place, message: str, found: Any) -> None:
        kind = PydanticCustomError("value_error", "{message}", {"message": message})
        self.mistakes.append(InitErrorDetails(type=kind, loc=place, input=found))

    def predicate(self, data: Any, place: Place) -> tuple[Node | None, dict[str, Any]]:
        if not isinstance(data, dict) or not data:
            self.mistake(place, f"found {shown(data)}; allowed: a mapping of attributes to what is asked of them", data)
            return None, {}
        parts: list[Node] = []
        canonical: dict[str, Any] = {}
        for name, asked in data.items():
            node, canonical[name] = self._entry(name, asked, (*place, name))
            if node is not None:
                parts.append(node)
        if len(parts) < len(data):
            return None, canonical
        return (parts[0] if len(parts) == 1 else All(tuple(parts))), canonical

    def _entry(self, name: str, asked: Any, place: Place) -> tuple[Node | None, Any]:
        if name == "not":
            inner, canonical = self.predicate(asked, place)
            return (None if inner is None else Not(inner)), canonical
        if name in ("any", "all"):
            return self._combination(name, asked, place)
        condition, data = self.condition(asked, place)
        return (None if condition is None else Leaf(name, condition)), data

    def _combination(self, name: str, asked: Any, place: Place) -> tuple[Node | None, Any]:
        if not isinstance(asked, list) or not asked:
            self.mistake(place, f"found {shown(asked)}; allowed: a list of predicates", asked)
            return None, asked
        read = [self.predicate(part, (*place, index)) for index, part in enumerate(asked)]
        parts = tuple(node for node, _ in read if node is not None)
        if len(parts) < len(read):
            return None, asked
        return (Either(parts) if name == "any" else All(parts)), [canonical for _, canonical in read]

    def condition(self, asked: Any, place: Place) -> tuple[Condition | None, Any]:
        if not isinstance(asked, dict):
            values = self._scalars(asked, place)
            return (None if values is None else Condition((AnyOf(Equals.of(values), tuple(values)),))), asked
        if not asked:
            self.mistake(place, f"found an empty mapping; allowed: {', '.join(OPERATORS)}", asked)
            return None, asked
        before = len(self.mistakes)
        tests: list[Range | Part | Pattern | AnyOf] = []
        present: bool | None = None
        negated: Condition | None = None
        canonical: dict[str, Any] = dict(asked)
        for operator, operand in asked.items():
            here = (*place, operator)
            if operator == "is":
                present = self._presence(operand, here)
            elif operator == "not":
                negated, canonical[operator] = self.condition(operand, here)
            elif operator == "in_list":
                listed = self._list(operand, here)
                if listed is not None:
                    tests.append(listed)
                    canonical[operator] = {"file": listed.file, "values": list(listed.values)}
            elif operator in OPERATORS:
                tests.extend(self._test(operator, operand, here))
            else:
                near = did_you_mean(operator, OPERATORS)
                self.mistake(here, f"unknown operator{near} (allowed: {', '.join(OPERATORS)})", operand)
        if len(self.mistakes) > before:
            return None, canonical
        return Condition(tuple(tests), present, negated), canonical

    def _test(self, operator: str, operand: Any, place: Place) -> list[Range | Part | Pattern]:
        if operator in RANGES:
            number, moment = as_number(operand), as_instant(operand)
            bound = moment if number is None else number
            if bound is None:
                self.mistake(place, f"found {shown(operand)}; allowed: a number or a date (ISO 8601)", operand)
                return []
            return [Range(operator, bound, number is None, operand)]
        values = self._scalars(operand, place)
        if values is None:
            return []
        if operator == "matches":
            patterns = [self._pattern(as_text(value) or "", place) for value in values]
            return [Pattern(tuple(pattern for pattern in patterns if pattern is not None))]
        return [Part(operator, tuple(text for value in values if (text := folded(value)) is not None))]

    def _scalars(self, asked: Any, place: Place) -> list[Any] | None:
        values = asked if isinstance(asked, list) else [asked]
        wrong = [value for value in values if not isinstance(value, str | int | float) or is_missing(value)]
        wrong += [value for value in values if isinstance(value, float) and not math.isfinite(value)]
        if values and not wrong:
            return values
        hint = "; to ask for a missing value write {is: missing}" if asked is None else ""
        found = shown(wrong[0] if wrong else asked)
        self.mistake(place, f"found {found}; allowed: a text, a number, true, false, or a list of these{hint}", asked)
        return None

    def _presence(self, operand: Any, place: Place) -> bool | None:
        if operand in ("missing", "present"):
            return bool(operand == "present")
        self.mistake(place, f"found {shown(operand)}; allowed: missing, present", operand)
        return None

    def _pattern(self, text: str, place: Place) -> TimedPattern | None:
        try:
            return TimedPattern(text)
        except (regex.error, RecursionError, OverflowError, MemoryError) as error:
            self.mistake(place, f"found {shown(text)}; not a regular expression: {error}", text)
            return None

    def _list(self, operand: Any, place: Place) -> AnyOf | None:
        if isinstance(operand, dict) and set(operand) == {"file", "values"}:  # as a stored model holds it
            return AnyOf(Equals.of(operand["values"]), tuple(operand["values"]), operand["file"])
        if not isinstance(operand, str) or not operand.strip():
            self.mistake(place, f"found {shown(operand)}; allowed: the path of a file with one value per line", operand)
            return None
        if self.read_list is None:
            self.mistake(place, "a list cannot be read here; write the values out", operand)
            return None
        try:
            text = self.read_list(operand)
        except (OSError, UnicodeDecodeError) as error:
            self.mistake(place, f"cannot read {shown(operand)}: {error}", operand)
            return None
        values = tuple(line.strip() for line in text.removeprefix("\ufeff").splitlines() if line.strip())
        return AnyOf(Equals.of(values), values, operand)


def _either(values: Any) -> str:
    words = [text for value in values if (text := as_text(value)) is not None]
    if len(words) > 6:
        words = [*words[:5], f"{len(words) - 5} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
