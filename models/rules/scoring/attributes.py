"""Predicates on whole columns of leads: each leaf is evaluated once per distinct value and then looked up.

Decides what the derived attributes are (email_domain, mailbox, first.*, days_since_created, age, account.*, stage,
owner). What depends on time is computed at the instant asked for and never kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.rules.instants import DAY
from models.rules.instants import instant as datetime_of
from models.rules.mailboxes import domain_of, mailbox_kind
from models.rules.predicates import EXACT, All, Leaf, Node, Not, Range
from models.rules.scoring.calendar import age_at
from models.rules.scoring.columns import NEVER, Chunk, Floats, Ints, Leads, Truths
from models.rules.scoring.memory import Memory, some
from models.rules.values import as_instant

TIMED = frozenset(("days_since_created", "age"))
"""Attributes whose value changes with time alone."""
FEW = 64
"""Leads that are sooner asked about than remembered."""
MOSTLY = 0.5
"""From this share of unknown leads on, all of a chunk are asked about: cutting them out would cost more."""
MOST_VALUES = 200_000
"""Distinct values of an attribute that are remembered; beyond it the memory starts afresh (peak memory stays flat)."""
_TRUE, _FALSE = np.ones(1, np.bool_), np.zeros(1, np.bool_)
"""What a leaf says of one lead: asked outright, columns would take ten times as long."""
for _answer in (_TRUE, _FALSE):
    _answer.flags.writeable = False  # they are shared
_NUMERIC, _TEXTUAL = {int, float, type(None)}, {str, type(None)}
_COMPARE: dict[str, Callable[[Any, Any], NDArray[np.bool_]]] = {
    "from": np.greater_equal,
    "to": np.less_equal,
    "above": np.greater,
    "below": np.less,
}
First = Callable[[str, Chunk, int], Sequence[Any]]
"""(touchpoint field, chunk, instant) → for each lead the value of its earliest activity that carries one, else None."""


class _Codes(dict[Any, int]):
    """Value → code, in the order of first sight; `values` lists them."""

    def __init__(self) -> None:
        super().__init__()
        self.values_seen: list[Any] = []

    def __missing__(self, key: Any) -> int:
        code = self[key] = len(self.values_seen)
        self.values_seen.append(key.value if isinstance(key, _Key) else key)
        return code


class _Key:
    """A value that cannot be a key as it is: a list or an object."""

    __slots__ = ("text", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.text = json.dumps(value, sort_keys=True)  # orjson refuses whole numbers beyond 64 bits

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.text == other.text


class Vocabulary:
    """The distinct values of one attribute, and which leaves hold for them."""

    def __init__(self) -> None:
        self._codes = _Codes()
        self._truths: dict[Leaf, NDArray[np.bool_]] = {}
        self._folded: list[str] = []
        """The values up to the first that is neither a text nor missing, trimmed and case-folded once for all."""

    def encode(self, values: Sequence[Any]) -> Ints:
        """The code of each value."""
        if len(self._codes) > MOST_VALUES:
            self.__init__()  # type: ignore[misc]
        kinds = set(map(type, values))
        if bool in kinds:  # as keys they would equal 1 and 0; to predicates they are the texts true and false
            values = ["true" if v is True else "false" if v is False else v for v in values]
        if kinds & {list, dict, tuple}:
            values = [_Key(v) if isinstance(v, list | dict | tuple) else v for v in values]
        return np.fromiter(map(self._codes.__getitem__, values), np.int64, len(values))

    def truths(self, leaf: Leaf) -> NDArray[np.bool_]:
        """For each code whether the leaf holds."""
        known = self._truths.get(leaf)
        start = 0 if known is None else len(known)
        values = self._codes.values_seen
        if known is None or start < len(values):
            new = np.fromiter(self._asked(leaf, start), np.bool_, len(values) - start)
            known = self._truths[leaf] = new if known is None else np.concatenate((known, new))
        return known

    def _asked(self, leaf: Leaf, start: int) -> Iterable[bool]:
        """Whether the leaf holds for each value from `start` on."""
        values, part = self._codes.values_seen, leaf.condition.part
        if part is None:
            return map(leaf.condition.matches, values[start:])
        fresh = values[len(self._folded) :]
        if not set(map(type, fresh)) <= _TEXTUAL:
            return map(leaf.condition.matches, values[start:])
        self._folded += ["" if value is None else value.strip().casefold() for value in fresh]
        return part.holds_in(self._folded[start:])


class Attributes:
    """The vocabularies of a model's attributes; lives as long as the compiled model."""

    def __init__(self, first: First) -> None:
        self._vocabularies: dict[str, Vocabulary] = {}
        self._memory = Memory()
        self._first = first

    def at(self, chunk: Chunk, instant: int) -> Facts:
        """The attributes of a chunk at an instant."""

        def facts(leads: Chunk) -> Facts:
            return Facts(
                self._vocabularies, lambda name: values_of(name, leads, instant, self._first), leads.leads.answers
            )

        found = facts(chunk)
        if len(chunk) > FEW and chunk.leads.prints is not None:
            found.remember(_Recall(self._memory, chunk, facts))
        return found


class _Recall:
    """What is remembered of a chunk's leads; the others of them are asked about, and that is remembered."""

    def __init__(self, memory: Memory, chunk: Chunk, facts: Callable[[Chunk], Facts]) -> None:
        leads = chunk.leads
        assert leads.prints is not None
        self._memory, self._chunk, self._facts = memory, chunk, facts
        self._places = memory.places(leads.ids, leads.prints)
        self._rest: tuple[Ints, Facts] | None = None

    def answers(self, leaf: Leaf, asked: Callable[[Leaf], Truths]) -> Truths:
        """For each lead whether the leaf holds; `asked` finds it out for all of them."""
        known, answers = self._memory.recall(leaf, self._places)
        if known.all():
            return answers
        unknown = np.flatnonzero(~known)
        if len(unknown) > MOSTLY * len(known):
            answers = asked(leaf)
            self._memory.keep(leaf, self._places, answers)
            return answers
        if self._rest is None or not np.array_equal(self._rest[0], unknown):
            leads = Chunk(self._chunk.leads).at(unknown)
            self._rest = unknown, self._facts(leads)
        answers[unknown] = found = self._rest[1].holds(leaf)
        self._memory.keep(leaf, some(self._places, unknown), found)
        return answers


class Facts:
    """Attributes of leads (or fields of touchpoints) as columns, made when a predicate first asks for them."""

    def __init__(
        self,
        vocabularies: dict[str, Vocabulary],
        values: Callable[[str], Sequence[Any]],
        lasting: dict[Leaf, Truths] | None = None,
    ) -> None:
        """`lasting`: answers that hold at every instant, remembered beyond this object."""
        self._vocabularies = vocabularies
        self._lasting = {} if lasting is None else lasting
        self._read = values
        self._values: dict[str, Sequence[Any]] = {}
        self._codes: dict[str, Ints] = {}
        self._numbers: dict[str, Floats | None] = {}
        self._known: dict[Leaf, Truths] = {}
        self._recall: _Recall | None = None

    def remember(self, recall: _Recall) -> None:
        """Answer what lasts from what is remembered of the leads."""
        self._recall = recall

    def values(self, name: str) -> Sequence[Any]:
        """One attribute of each of them."""
        if name not in self._values:
            self._values[name] = self._read(name)
        return self._values[name]

    def holds(self, node: Node) -> Truths:
        """For each of them whether the predicate holds."""
        if isinstance(node, Leaf):
            known = self._known if _is_timed(node.attribute) else self._lasting
            if (answers := known.get(node)) is None:
                recall = self._recall
                if recall is not None and (known is self._known or node.attribute.startswith("account.")):
                    recall = None  # the account may change, too
                answers = known[node] = self._leaf(node) if recall is None else recall.answers(node, self._leaf)
            return answers
        if isinstance(node, Not):
            return ~self.holds(node.part)
        parts = [self.holds(part) for part in node.parts]
        joined: Truths = np.logical_and.reduce(parts) if isinstance(node, All) else np.logical_or.reduce(parts)
        return joined

    def _leaf(self, leaf: Leaf) -> Truths:
        name, tests = leaf.attribute, leaf.condition.tests
        if len(values := self.values(name)) == 1:
            return _TRUE if leaf.condition.matches(values[0]) else _FALSE
        if leaf.condition.of_numbers and (numbers := self._as_numbers(name)) is not None:
            within = [_COMPARE[test.operator](numbers, test.bound) for test in tests if isinstance(test, Range)]
            return np.asarray(np.logical_and.reduce(within))
        vocabulary = self._vocabularies.get(name)
        if vocabulary is None:
            vocabulary = self._vocabularies[name] = Vocabulary()
        if name not in self._codes:
            self._codes[name] = vocabulary.encode(self.values(name))
        return vocabulary.truths(leaf)[self._codes[name]]

    def _as_numbers(self, name: str) -> Floats | None:
        """The attribute where it is nothing but numbers (missing = NaN, of which no comparison holds), else None."""
        if name not in self._numbers:
            values, self._numbers[name] = self.values(name), None
            if set(map(type, values)) <= _NUMERIC and not any(abs(value) > EXACT for value in values if value):
                self._numbers[name] = np.array(values, np.float64)
        return self._numbers[name]


@lru_cache(maxsize=1_000)
def _is_timed(name: str) -> bool:
    return name in TIMED or name.startswith("first.")


def values_of(name: str, chunk: Chunk, instant: int, first: First) -> Sequence[Any]:
    """One attribute of each lead of a chunk at an instant, derived ones included."""
    leads = chunk.leads
    if name == "stage":
        return leads.stages
    if name == "owner":
        return leads.owners
    if name.startswith("account."):
        return _of_accounts(name.removeprefix("account."), leads.accounts, len(chunk))
    if name.startswith("first."):
        return first(name.removeprefix("first."), chunk, instant)
    if name == "days_since_created":
        return _days(leads, instant)
    if name == "email_domain":
        return _derived(name, leads, domain_of)
    if name == "mailbox":
        return _derived(name, leads, mailbox_kind)
    if name == "email":
        return _derived(name, leads, str)
    own = [attributes.get(name) for attributes in leads.attributes]
    if name == "age":
        born = [attributes.get("birth_date") for attributes in leads.attributes]
        return [written if (age := _age(b, instant)) is None else age for written, b in zip(own, born, strict=True)]
    return own


def _days(leads: Leads, instant: int) -> Sequence[Any]:
    known = leads.created_at != NEVER
    days: list[Any] = ((instant - np.where(known, leads.created_at, instant)) // DAY).tolist()
    if known.all():
        return days
    own = (attributes.get("days_since_created") for attributes in leads.attributes)
    return [day if there else written for day, there, written in zip(days, known.tolist(), own, strict=True)]


def _of_accounts(name: str, accounts: Sequence[Mapping[str, Any] | None], count: int) -> Sequence[Any]:
    if not accounts:
        return [None] * count
    return [None if account is None else account.get(name) for account in accounts]


def _derived(name: str, leads: Leads, derive: Callable[[str], str | None]) -> list[Any]:
    """From the e-mail address; without one what is written."""
    return [
        attributes.get(name) if email is None else derive(email)
        for attributes, email in zip(leads.attributes, leads.emails, strict=True)
    ]


def _age(born: Any, at: int) -> int | None:
    moment = as_instant(born)
    if moment is None:
        return None
    return age_at(datetime_of(moment).date(), at)
