"""Which facts a template asks for, and which of them no mail will ever have: found without rendering it.

Decides what is a mistake (a name or field that is never there) and what is a doubt (an attribute of the lead that no
file of the programme speaks of). Looks at every branch, also those that no lead of today reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.meta import find_undeclared_variables

from models.documents import ConfigurationError, Problem, did_you_mean
from models.rules.appointments import AppointmentTold
from models.rules.invitations import Invitation
from models.rules.notification import (
    APPOINTMENT_CHANGED,
    COMMON_ATTRIBUTES,
    SALES_DIGEST,
    SALES_ESCALATION,
    SALES_NOTIFICATION,
    SALES_PASSED_ON,
    SALES_RECALL,
    SALES_REMINDER,
    SALES_UNASSIGNED,
    AppointmentChanged,
    NurtureMail,
    SalesDigest,
    SalesEscalation,
    SalesNotification,
    SalesPassedOn,
    SalesRecall,
    SalesReminder,
    SalesUnassigned,
    SequenceNotice,
)
from models.rules.scoring.compilation import CompiledModel
from models.workspace import Workspace
from tasks.template_sources import Piece, Written

SURELY_MEANT = 0.85
"""Likeness of two names from which one is a slip of the other: frist_name, but not company_size for company."""
_LINKS = ("unsubscribe_url", "preferences_url")
_SENDER = frozenset({"name", "email", "postal_address"})
_TYPES: Mapping[str, Any] = {
    APPOINTMENT_CHANGED: AppointmentChanged,
    SALES_DIGEST: SalesDigest,
    SALES_ESCALATION: SalesEscalation,
    SALES_NOTIFICATION: SalesNotification,
    SALES_PASSED_ON: SalesPassedOn,
    SALES_RECALL: SalesRecall,
    SALES_REMINDER: SalesReminder,
    SALES_UNASSIGNED: SalesUnassigned,
}


@dataclass(frozen=True)
class Vocabulary:
    """The names that a mail knows, and of some of them the fields."""

    names: frozenset[str]
    fields: Mapping[str, frozenset[str]]
    """Name → its fields; others are a mistake."""
    spoken_of: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Name → fields that the programme speaks of; others are a doubt."""
    samples: Mapping[str, Any] = field(default_factory=dict)
    """Facts that a mail has because it asks for them, of a lead of whom nothing is known."""

    def without(self, *names: str) -> Vocabulary:
        return replace(self, names=self.names - set(names))


def nurture_vocabulary(workspace: Workspace) -> Vocabulary:
    """What mails to leads know."""
    own = frozenset(COMMON_ATTRIBUTES) | {"email", "stage"}
    empty: dict[str, Any] = {"total": 0.0, "band": None, "cell": None, "dimensions": {}}
    models = _loaded(lambda: list(workspace.models)) or []
    return Vocabulary(
        names=frozenset(NurtureMail.__annotations__) | {*_LINKS, "language", "ask"},
        fields={
            "sender": _SENDER,
            "appointment": frozenset(AppointmentTold.__annotations__),
            "invitation": frozenset(Invitation.__annotations__),
            **({"scores": frozenset(models)} if models else {}),
        },
        spoken_of={"lead": own | _attributes(workspace)},
        samples={"scores": dict.fromkeys(models, empty), "bought": [], "bought_together": []},
    )


def alert_vocabulary(name: str) -> Vocabulary | None:
    """What mails to our own people know; None for a built-in mail whose facts are its maker's business."""
    if name == "opt_in_confirmation":
        return None
    shape = _TYPES.get(name, SequenceNotice)
    return Vocabulary(frozenset(shape.__annotations__) | {"sender", "language"}, {"sender": _SENDER})


def unknown_facts(
    environment: jinja2.Environment, pieces: Sequence[Piece], vocabulary: Vocabulary
) -> Iterator[tuple[Problem, bool]]:
    """(where and what, whether it is a mistake and not a doubt) of what the template asks for and does not get."""
    written = Written.of(pieces)
    try:
        tree = environment.parse(written.text)
    except jinja2.TemplateSyntaxError:
        return  # told as a mistake of syntax
    undeclared = find_undeclared_variables(tree)
    asked_whether = {id(test.node) for test in tree.find_all(nodes.Test) if test.name in {"defined", "undefined"}}
    asked_whether |= {id(one.node) for one in tree.find_all(nodes.Filter) if one.name in {"default", "d"}}

    def problem(node: nodes.Node, message: str) -> Problem:
        file, line = written.place(node.lineno) or (pieces[0].file, None)
        return Problem(file, line, "", message)

    for node in tree.find_all(nodes.Name):
        if node.ctx == "load" and node.name in undeclared - vocabulary.names and id(node) not in asked_whether:
            near = did_you_mean(node.name, vocabulary.names)
            yield problem(node, f"{node.name!r} is undefined{near}; known: {', '.join(sorted(vocabulary.names))}"), True
    for asked in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if (path := _field(asked)) is None or path[0] not in undeclared:
            continue
        name, wanted = path
        if name in vocabulary.fields and wanted not in vocabulary.fields[name]:
            known = vocabulary.fields[name]
            message = f"{name} has no {wanted!r}{did_you_mean(wanted, known)}; known: {', '.join(sorted(known))}"
            yield problem(asked, message), True
        elif name in vocabulary.spoken_of and wanted not in vocabulary.spoken_of[name]:
            message = f"no file of the programme speaks of the attribute {name}.{wanted}"
            alike = get_close_matches(wanted, vocabulary.spoken_of[name], n=1, cutoff=SURELY_MEANT)
            yield problem(asked, f"{message} — did you mean {alike[0]!r}?" if alike else message), bool(alike)


def _field(node: nodes.Expr) -> tuple[str, str] | None:
    """(name, field) of `name.field` and `name['field']`."""
    if not isinstance(node, nodes.Getattr | nodes.Getitem) or not isinstance(node.node, nodes.Name):
        return None
    if isinstance(node, nodes.Getattr):
        return node.node.name, node.attr
    if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return node.node.name, node.arg.value
    return None


def _attributes(workspace: Workspace) -> frozenset[str]:
    """The attributes that any file of the programme speaks of, those of mappings included."""
    nothing = frozenset[str]()
    found = set[str]()
    parts: list[Callable[[], frozenset[str]]] = [
        lambda: frozenset(workspace.lifecycle.attributes()),
        lambda: frozenset(workspace.team.attributes()),
        lambda: nothing.union(*(one.attributes() for one in workspace.sequences.values())),
        lambda: nothing.union(*(CompiledModel(one, workspace.zone).wanted for one in workspace.models.values())),
        lambda: _mapped(workspace),
    ]
    for part in parts:
        found |= _loaded(part) or nothing
    return frozenset(found)


def _mapped(workspace: Workspace) -> frozenset[str]:
    leads = (workspace.mapping(path.stem).lead for path in (workspace.root / "mappings").glob("*.yaml"))
    return frozenset(name for lead in leads if lead is not None for name in lead.attributes)


def _loaded(load: Callable[[], Any]) -> Any:
    """What `load` gives; None where a file has mistakes, which are told elsewhere."""
    try:
        return load()
    except ConfigurationError:
        return None
