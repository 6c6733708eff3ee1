"""The Jinja2 environment of e-mails: what a template may reach, and how much of everything it may use.

Decides the bounds: rounds of loops and calls, CPU time, characters written, the size of every value that an expression
makes. Endless loops and gigabyte strings end as a `TooMuchError` that holds one message. Knows nothing about files.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence, Sized
from contextvars import ContextVar
from itertools import islice
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.sandbox import SandboxedEnvironment

LONGEST_REPEATED = 100_000
"""Characters of a repetition, and the width that a filter or a format may fill up to."""
LONGEST_VALUE = 200_000
"""Characters and entries, all levels together, of any value that an expression makes."""
MOST_JOINED = 50
"""Values that one expression joins by `~`."""
MOST_ROUNDS = 50_000
"""Rounds of loops, calls and filters of one part of one mail. The largest shipped mail takes about 200."""
MOST_WRITTEN = 5_000_000
"""Characters written by one part, those into variables included."""
CPU_SECONDS = 2.0
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(
        "capitalize casefold center count endswith expandtabs find format index isalnum isalpha isascii isdecimal"
        " isdigit islower isnumeric isspace istitle isupper join ljust lower lstrip partition removeprefix removesuffix"
        " replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"
        " zfill unescape striptags".split()
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    int: frozenset(),
    float: frozenset({"is_integer"}),
}
"""The methods of plain values that templates may call: none that changes its value, none that makes what is no text."""
_OF_DICTS = frozenset(dir(dict))
_WIDE = {
    "center",
    "ljust",
    "rjust",
    "zfill",
    "expandtabs",
    "indent",
    "wordwrap",
    "batch",
    "slice",
    "round",
    "truncate",
    "tojson",
}


class TooMuchError(jinja2.TemplateRuntimeError):
    """A template wants more of something than a mail may have."""


class Meter:
    """What one part of one mail has used so far. The CPU time is that of the thread: a busy machine fails no mail."""

    __slots__ = ("_until", "rounds", "written")

    def __init__(self) -> None:
        self.rounds = self.written = 0
        self._until = time.thread_time() + CPU_SECONDS

    def tick(self, characters: int = 0) -> None:
        """One more round; `characters`: those that stand in it as they are."""
        self.rounds += 1
        if self.rounds > MOST_ROUNDS:
            raise TooMuchError(f"more than {MOST_ROUNDS:,} rounds of loops and calls")
        if self.rounds % 16 == 0 and time.thread_time() > self._until:
            raise TooMuchError(f"takes longer than {CPU_SECONDS:g} seconds")
        self.write(characters)

    def write(self, characters: int) -> None:
        self.written += characters
        if self.written > MOST_WRITTEN:
            raise TooMuchError(f"writes more than {MOST_WRITTEN:,} characters")


_meter: ContextVar[Meter | None] = ContextVar("meter", default=None)


class Sandbox(SandboxedEnvironment):
    """Jinja2's sandbox with plain values only, undefined names as mistakes, and everything counted."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        return super()._generate(_counted(source), name, filename, defer_init)

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """A plain dict: Jinja2's chain of them is walked for every part of every mail, at a third of its cost."""
        return {**self.globals, **(d or {})}

    def tick(self, characters: int = 0) -> None:
        """Called by compiled templates at the begin of each round, macro, block and file."""
        if (meter := _meter.get()) is not None:
            meter.tick(characters)

    @staticmethod
    def bounded(value: Any) -> Any:
        """Called by compiled templates with each list, dict and joined text that they make."""
        return bounded(value)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        for kind, allowed in _METHODS.items():
            if isinstance(obj, kind):
                return attr in allowed
        return super().is_safe_attribute(obj, attr, value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As in Jinja2: first the attribute, then the item; which of both a plain dict has is known beforehand."""
        if type(obj) is dict and attribute in obj and attribute not in _OF_DICTS:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call(__self, __context: jinja2.runtime.Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 as in Jinja2: a template may name an argument `self`
        __self.tick()
        method, owner = getattr(__obj, "__name__", ""), getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)
        if isinstance(owner, str):
            _check_arguments(method, owner, args, kwargs)
        return bounded(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, int | float) and isinstance(right, int | float):
            if operator == "**" and (abs(left) > 1000 or abs(right) > 16):
                raise TooMuchError(f"{left!r} ** {right!r} is too large")
        elif operator == "*":
            sequence, times = (right, left) if isinstance(left, int) else (left, right)
            if len(sequence) * times > LONGEST_REPEATED:
                raise TooMuchError(f"a repetition of more than {LONGEST_REPEATED} characters")
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
        elif operator == "+":
            size_of([left, right])
        self.tick()
        return bounded(super().call_binop(context, operator, left, right))


def metered(template: jinja2.Template, longest: int, facts: Mapping[str, Any]) -> list[str]:
    """The template rendered with `facts`, in pieces, within all bounds; what stands in the template as it is comes as
    the same pieces each time. Raises TooMuchError and what its expressions raise."""
    token = _meter.set(Meter())
    try:
        pieces = list(template.generate(facts))  # the meter has bounded them all: MOST_WRITTEN, MOST_ROUNDS
    finally:
        _meter.reset(token)
    if sum(map(len, pieces)) > longest:
        raise TooMuchError(f"longer than {longest:,} characters")
    return pieces


def sandbox(
    loader: jinja2.BaseLoader | None, *, autoescape: bool, filters: Mapping[str, Callable[..., Any]]
) -> Sandbox:
    """An environment for HTML (`autoescape`) or for subjects and plain text."""
    environment = Sandbox(
        loader=loader,
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not autoescape,
        auto_reload=False,
        cache_size=-1,
        finalize=_written,
    )
    del environment.globals["lipsum"], environment.filters["random"]  # a mail that is tried again stays the same
    environment.filters.update(filters)
    for name, function in environment.filters.items():
        environment.filters[name] = _watched(name, function)
    return environment


def size_of(value: Any) -> int:
    """Characters and entries of a value, all levels together. Raises TooMuchError beyond LONGEST_VALUE."""
    size, open_ = 0, [value]
    while open_:
        one = open_.pop()
        if isinstance(one, str | bytes):
            size += len(one)
        elif isinstance(one, list | tuple | set | frozenset):
            size += len(one)
            if size <= LONGEST_VALUE:
                open_.extend(one)
        elif isinstance(one, Mapping):
            size += len(one)
            if size <= LONGEST_VALUE:
                open_.extend(one.values())
                open_.extend(one.keys())
        elif isinstance(one, int) and one.bit_length() > 4096:
            raise TooMuchError("a number of more than 4,096 bits")
        if size > LONGEST_VALUE:
            raise TooMuchError(f"a value of more than {LONGEST_VALUE:,} characters or entries")
    return size


def bounded(value: Any) -> Any:
    """`value`, if it is of a size that a mail may hold."""
    if isinstance(value, str):
        if len(value) > LONGEST_VALUE:
            raise TooMuchError(f"a value of more than {LONGEST_VALUE:,} characters or entries")
    elif value is not None and not isinstance(value, bool | float):
        size_of(value)
    return value


def _written(value: Any) -> Any:
    if (meter := _meter.get()) is not None:
        meter.write(len(value) if isinstance(value, str) else size_of(value))
    return value


def _watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that counts as a round, and neither takes nor gives too much."""
    passed = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        if (meter := _meter.get()) is not None:
            meter.tick()
        value, further = args[passed] if len(args) > passed else None, args[passed + 1 :]
        bounded(value)
        if further or kwargs or name in _MULTIPLYING:
            _check_arguments(name, value, further, kwargs)
        return bounded(_settled(function(*args, **kwargs)))

    return watched


def _settled(value: Any) -> Any:
    """A value that can be measured: what would be made piece by piece is made now, up to the bound."""
    if isinstance(value, str) or not isinstance(value, Iterator):
        return value
    made = list(islice(value, LONGEST_VALUE + 1))
    size_of(made)
    return made


_MULTIPLYING = frozenset({"replace", "join", "format", "center"})


def _check_arguments(name: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuses beforehand what would be made at once: the result of these is far larger than what they are given."""
    given = [*args, *kwargs.values()]
    for one in given:
        bounded(one)
    if name in _WIDE and any(isinstance(one, int) and abs(one) > LONGEST_REPEATED for one in given):
        raise TooMuchError(f"{name} of more than {LONGEST_REPEATED} characters")
    texts = [str(one) for one in given if isinstance(one, str)]
    if name == "sum" and not all(isinstance(one, str | int | float) or one is None for one in given):
        raise TooMuchError("sum adds numbers alone")
    if name == "replace" and len(texts) == 2:
        old, new = texts
        made = str(value).count(old) * len(new)
        _check_made(name, made)
    elif name == "indent" and isinstance(value, str):
        width = given[0] if given else 4
        _check_made(name, (value.count("\n") + 1) * (len(width) if isinstance(width, str) else int(width)))
    elif name == "join":
        # A filter joins its value with the argument, a method joins the argument with its value.
        text, parts = (value, given[0]) if isinstance(value, str) and given else ("".join(texts), value)
        if not isinstance(parts, Sized):
            raise TooMuchError("join of what has no length: make it a list first")
        _check_made(name, len(text) * len(parts))
    elif name == "expandtabs" and isinstance(value, str):
        _check_made(name, value.count("\t") * max([one for one in given if isinstance(one, int)], default=8))
    elif name in {"format", "format_map"} and isinstance(value, str):
        _check_format(value)


_WIDE_FORMAT = re.compile(r"%(?:\([^)]*\))?[-#0 +\d.]*(?:\d{5}|\*)|\{[^{}]*:[^{}]*(?:\d{5}|\{)")


def _check_made(name: str, size: int) -> None:
    if size > LONGEST_VALUE:
        raise TooMuchError(f"{name} makes more than {LONGEST_VALUE:,} characters")


def _check_format(text: str) -> None:
    if _WIDE_FORMAT.search(text):
        raise TooMuchError("a format with a width of more than 9,999 or a width that is computed")


class _Generator(CodeGenerator):
    """Writes counting and measuring into the compiled template, where no expression of a template can reach it."""

    def visit_ExprStmt(self, node: nodes.ExprStmt, frame: Any) -> None:  # noqa: N802 Jinja2's names
        if isinstance(node.node, nodes.EnvironmentAttribute) and node.node.name.startswith("tick:"):
            self.writeline(f"environment.tick({int(node.node.name[5:])})", node)
        else:
            super().visit_ExprStmt(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:  # noqa: N802
        if len(node.nodes) > MOST_JOINED:
            self.fail(f"joins more than {MOST_JOINED} values by ~", node.lineno)
        self._measured(super().visit_Concat, node, frame)

    def visit_List(self, node: nodes.List, frame: Any) -> None:  # noqa: N802
        self._measured(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Any) -> None:  # noqa: N802
        self._measured(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Any) -> None:  # noqa: N802
        if node.ctx == "load":
            self._measured(super().visit_Tuple, node, frame)
        else:  # a target, as in {% for a, b in pairs %}
            super().visit_Tuple(node, frame)

    def _measured(self, visit: Callable[[Any, Any], None], node: nodes.Expr, frame: Any) -> None:
        self.write("environment.bounded(")
        visit(node, frame)
        self.write(")")


def _counted(tree: nodes.Template) -> nodes.Template:
    """The tree with a count at the begin of each body that can be run more than once."""
    bodies: list[Any] = [tree, *tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block))]
    for node in bodies:
        fixed = 0 if node is tree else sum(len(data.data) for data in node.find_all(nodes.TemplateData))
        mark = nodes.ExprStmt(nodes.EnvironmentAttribute(f"tick:{fixed}"), lineno=node.lineno)
        node.body.insert(0, mark)
    return tree


Sandbox.code_generator_class = _Generator
