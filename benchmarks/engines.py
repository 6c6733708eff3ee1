"""Rule engines that one might pick, on the 25 rules of fit: PyPI `zen-engine` (Rust) and `rule-engine` (Python).

Decides how the model's predicates are said in each one's language. They get leads that are read already, attributes in
small letters and derived ones ready, and only say which rules hold: no history, caps or decay, which they do not have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from models.queries import columns
from models.rules.mailboxes import mailbox_kind
from models.rules.scoring.attributes import Attributes
from models.rules.scoring.columns import Chunk
from models.rules.scoring.compilation import CompiledModel
from models.workspace import Workspace

Verdicts = NDArray[np.bool_]
"""Leads × rules: whether the rule holds for the lead."""
Lead = dict[str, Any]
Say = Callable[[str, Any], str]


def fit_rules(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The predicates of the model's rules without activities, in the order of the file."""
    groups = [group for part in model["dimensions"].values() for group in part["groups"].values()]
    return [rule["if"] for group in groups for rule in group["rules"] if "on" not in rule]


def read(opened: Workspace, leads: Sequence[int]) -> tuple[CompiledModel, Chunk, list[Lead]]:
    """The leads for us, and for the others."""
    compiled = CompiledModel(opened.scoring, opened.zone)
    with opened.database.read() as connection:
        chunk = columns.read_chunk(connection, compiled, leads, compiled.wanted)
    plain: list[Lead] = []
    for attributes, email in zip(chunk.leads.attributes, chunk.leads.emails, strict=True):
        facts = {**attributes, "mailbox": mailbox_kind(email or "")}
        plain.append({name: value.casefold() if isinstance(value, str) else value for name, value in facts.items()})
    return compiled, chunk, plain


def ours(compiled: CompiledModel, chunk: Chunk, now: int) -> Verdicts:
    """What our own predicates say, nothing remembered."""
    facts = Attributes(lambda name, chunk, at: [None] * len(chunk)).at(chunk, now)
    conditions = [rule.rule.condition for rule in compiled.rules if rule.rule.on is None]
    return np.array([facts.holds(condition.root) for condition in conditions if condition is not None]).T


def zen(rules: Sequence[Mapping[str, Any]]) -> Callable[[Sequence[Lead]], Verdicts]:
    """zen-engine: each rule a compiled expression. ImportError if it is not installed."""
    from zen import compile_expression

    compiled = [compile_expression(_said(rule, _in_zen)) for rule in rules]
    return lambda leads: np.array([[rule.evaluate(lead) is True for rule in compiled] for lead in leads])


def rule_engine(rules: Sequence[Mapping[str, Any]]) -> Callable[[Sequence[Lead]], Verdicts]:
    """rule-engine: each rule a parsed expression. ImportError if it is not installed."""
    from rule_engine import Rule

    compiled = [Rule(_said(rule, _in_rule_engine)) for rule in rules]
    return lambda leads: np.array([[rule.matches(lead) for rule in compiled] for lead in leads])


def _said(condition: Mapping[str, Any], say: Say) -> str:
    return " and ".join(_test(name, wanted, say) for name, wanted in condition.items())


def _test(name: str, wanted: Any, say: Say) -> str:
    if isinstance(wanted, list):
        return f"{name} in {_literal([value.casefold() for value in wanted])}"
    if isinstance(wanted, dict) and not wanted.keys() <= {"from", "below"}:
        return say(name, wanted)
    if isinstance(wanted, dict):
        signs = {"from": ">=", "below": "<"}
        return " and ".join(f"{name} {signs[word]} {bound}" for word, bound in wanted.items())
    return f"{name} == {_literal(wanted.casefold() if isinstance(wanted, str) else wanted)}"


def _in_zen(name: str, wanted: Any) -> str:
    if "contains" in wanted:
        return f"contains({name}, {_literal(wanted['contains'])})"
    return f'matches({name}, "{wanted["matches"]}")'  # its texts know no backslash


def _in_rule_engine(name: str, wanted: Any) -> str:
    if "contains" in wanted:
        return f"{_literal(wanted['contains'])} in {name}"
    return f"{name} =~~ {_literal(wanted['matches'])}"


def _literal(value: Any) -> str:
    return orjson.dumps(value).decode()
