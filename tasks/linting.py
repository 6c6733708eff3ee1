"""The e-mails of a workspace, looked through without any lead: what is wrong or doubtful, each with file and line.

Decides nothing about how mails are made: it reads the sources as tasks.rendering does. Called by `warmline lint` and
`warmline doctor`; one way for both.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import jinja2

from models.documents import ConfigurationError, Problem, did_you_mean
from models.rules.languages import language_tag
from models.rules.mail import harmless
from models.rules.notification import least_known
from models.workspace import Workspace
from tasks.asked_facts import Vocabulary, alert_vocabulary, nurture_vocabulary, unknown_facts
from tasks.mjml import Offsets, marked_text
from tasks.rendering import (
    BODIES,
    LINK_SCHEMES,
    SUBJECT,
    TEXT,
    Mail,
    Rendered,
    Templates,
    parted_name,
    tagged,
    templates_of,
)
from tasks.template_sources import Piece

LONG_SUBJECT, LONGEST_SUBJECT = 78, 150
"""Characters: what most mail programs show of a subject, and what none does."""
_LINKED = re.compile(
    r"""<(?:a|mj-button|mj-image|mj-navbar-link|mj-social-element|area)\b[^>]*?\shref\s*=\s*(?:"([^"]*)"|'([^']*)')""",
    re.I | re.S,
)
_IMAGE = re.compile(r"<(img|mj-image|mj-carousel-image)\b[^>]*>", re.I | re.S)
_ALT = re.compile(r"\salt\s*=", re.I)
_MARK = re.compile(r"JINJA(\d+)X")
_BUILT_IN = (
    "sales_notification",
    "sales_reminder",
    "sales_passed_on",
    "sales_recall",
    "sales_escalation",
    "sales_unassigned",
    "sales_digest",
    "appointment_changed",
    "sequence_notice",
    "opt_in_confirmation",
)


class Finding(NamedTuple):
    """A mistake, which `warmline lint` ends in exit code 1 for, or a doubt."""

    problem: Problem
    is_mistake: bool


@dataclass(frozen=True)
class _Context:
    workspace: Workspace
    templates: Templates
    sent: Mapping[str, bool]
    """Folder → whether a step sends it with an invitation: mails to leads."""
    told: frozenset[str]
    """Folders that notices to our own people use."""
    vocabulary: Vocabulary


def lint(workspace: Workspace) -> list[Finding]:
    """Everything that is to be said about emails/ and the steps that send them, in the order of files and lines."""
    context = _context(workspace)
    found = [*_sequences(workspace)]
    knows_steps = not found
    for name in _folders(workspace.emails):
        found += _mail(context, name)
    if knows_steps:
        found += _unused(context)
    if not workspace.settings.sender.postal_address.strip():
        message = (
            "sender.postal_address is empty; it stands in every nurture mail (CAN-SPAM and similar laws ask for it)"
        )
        found.append(Finding(Problem("warmline.yaml", None, "", message), False))
    unique = dict.fromkeys(found)
    return sorted(unique, key=lambda one: (one.problem.file, one.problem.line or 0, one.problem.message))


def _context(workspace: Workspace) -> _Context:
    sent: dict[str, bool] = {}
    told: set[str] = set()
    try:
        sequences = list(workspace.sequences.values())
    except ConfigurationError:
        sequences = []
    for sequence in sequences:
        for node in sequence.nodes:
            for folder in node.step.folders:
                sent[folder] = sent.get(folder, True) and node.step.invite
            if node.step.notify is not None:
                told.add(node.step.notify.template)
    with contextlib.suppress(ConfigurationError):  # `doctor` tells what is wrong there
        effects = (effect for action in workspace.lifecycle.actions for _, effect in action.effects)
        told |= {effect.notify.template for effect in effects if effect.notify is not None}
    return _Context(workspace, templates_of(workspace), sent, frozenset(told), nurture_vocabulary(workspace))


def _folders(emails: Path) -> list[str]:
    """The folders of emails/ that hold a part of an e-mail."""
    found = {path.parent.relative_to(emails).as_posix() for path in emails.rglob("*.j2") if parted_name(path.name)}
    return sorted(found - {"."})


def _sequences(workspace: Workspace) -> Iterator[Finding]:
    try:
        _ = workspace.sequences
    except ConfigurationError as error:
        yield from (Finding(problem, True) for problem in error.problems)


def _mail(context: _Context, name: str) -> Iterator[Finding]:
    templates = context.templates
    broken = templates.mistakes(name)
    yield from (Finding(problem, True) for problem in broken)
    yield from _languages(context, name)
    is_nurture = name not in context.told and name not in _BUILT_IN
    for file, language in templates.files(name):
        try:
            pieces = templates.pieces(file, language)
        except jinja2.TemplateError:
            continue  # told as a mistake of syntax
        yield from _idle_blocks(templates, file, language)
        yield from _facts(context, name, file, pieces, is_nurture)
        if not file.endswith(".txt.j2"):
            yield from _markup(templates, pieces)
        if is_nurture and "body" in Path(file).name:
            yield from _required(templates, file, pieces)
    if is_nurture:
        yield from _rendered(context, name, bool(broken))


def _idle_blocks(templates: Templates, file: str, language: str | None) -> Iterator[Finding]:
    """Blocks that the layout does not have: what stands in them is in no mail."""
    for block in templates.idle(file, language):
        near = did_you_mean(block.name, block.known)
        known = f"; it has {', '.join(block.known)}" if block.known and not near else ""
        message = (
            f"the block {block.name!r} is in no mail: the layout that it extends has none of that name{near}{known}"
        )
        yield Finding(Problem(templates.shown(block.file), block.line, "", message), True)


def _facts(context: _Context, name: str, file: str, pieces: Sequence[Piece], is_nurture: bool) -> Iterator[Finding]:
    vocabulary = context.vocabulary if is_nurture else alert_vocabulary(name)
    if vocabulary is None:
        return
    if is_nurture and not context.sent.get(name, True):
        vocabulary = vocabulary.without("appointment", "invitation")
    for problem, is_mistake in unknown_facts(context.templates.environment(file), pieces, vocabulary):
        yield Finding(replace(problem, file=context.templates.shown(problem.file)), is_mistake)


def _markup(templates: Templates, pieces: Sequence[Piece]) -> Iterator[Finding]:
    """Links and images of an HTML or MJML source."""
    text, offsets = marked_text(pieces), Offsets(pieces)

    def finding(offset: int, message: str, is_mistake: bool = True) -> Finding:
        file, line = offsets.place(offset)
        return Finding(Problem(templates.shown(file), line, "", message), is_mistake)

    for match in _LINKED.finditer(text):
        address = (match[1] if match[1] is not None else match[2]).strip()
        at = match.start(1 if match[1] is not None else 2)
        if mark := _MARK.match(address):
            piece = pieces[int(mark[1])]
            if piece.kind == "expression" and not _is_checked(piece.text):
                message = (
                    f"a link by {{{{ {piece.text.strip()} }}}}: add `| link`, which lets only {_schemes()} through"
                )
                yield finding(at, message, False)
            continue
        if address.startswith("#"):
            continue
        try:
            scheme = urlsplit(_MARK.sub("x", address)).scheme.lower()
        except ValueError:
            yield finding(at, f"found the link {address[:60]!r}; allowed: an address with {_schemes()}")
            continue
        if not scheme:
            yield finding(at, f"found the relative link {address[:60]!r}; a mail has no place that it could start from")
        elif scheme not in LINK_SCHEMES:
            yield finding(at, f"found a link with scheme {scheme!r}; allowed: {_schemes()}")
    for match in _IMAGE.finditer(text):
        if re.search(r"\ssrc\s*=", match[0]) and not _ALT.search(match[0]):
            message = (
                f'<{match[1].lower()}> without alt: who sees no images reads nothing; alt="" for what only decorates'
            )
            yield finding(match.start(), message)


def _is_checked(expression: str) -> bool:
    return bool(re.search(r"\|\s*link\b", expression)) or bool(re.match(r"\s*(?:ask|block)\(", expression))


def _schemes() -> str:
    return ", ".join(sorted(LINK_SCHEMES))


def _required(templates: Templates, file: str, pieces: Sequence[Piece]) -> Iterator[Finding]:
    words = " ".join(piece.text for piece in pieces if piece.kind != "data")
    if "unsubscribe_url" not in words:
        message = "shows no unsubscribe_url: it would not be sent; extend the layout, or place {{ unsubscribe_url }}"
        yield Finding(Problem(templates.shown(file), 1, "", message), True)
    if "sender.postal_address" not in words:
        message = "shows no sender.postal_address; extend the layout, or place {{ sender.postal_address }}"
        yield Finding(Problem(templates.shown(file), 1, "", message), True)


def _languages(context: _Context, name: str) -> Iterator[Finding]:
    """Parts in a language for which there is no body, and bodies without a subject of their own."""
    templates, folder = context.templates, context.workspace.emails / name
    for path in sorted(folder.glob("*.j2")):
        parted = parted_name(path.name)
        shown = templates.shown(f"{name}/{path.name}")
        if parted is None:
            parts = ", ".join((SUBJECT, *BODIES, TEXT))
            message = f"is no part of an e-mail; allowed: {parts}, each with a language as in body.pl.html.j2"
            yield Finding(Problem(shown, None, "", message), False)
            continue
        part, language = parted
        if language is not None and (tag := language_tag(language)) != language:
            message = f"found the language {language!r}; allowed: a tag such as {tag or 'pl or pt-BR'}"
            yield Finding(Problem(shown, None, "", message), True)
            continue
        bodies = [body for body in BODIES if templates.exists(f"{name}/{tagged(body, language)}")]
        if part in BODIES and not templates.exists(f"{name}/{tagged(SUBJECT, language)}"):
            if language is not None or not templates.exists(f"{name}/{tagged(SUBJECT, templates.language)}"):
                yield Finding(
                    Problem(shown, None, "", f"has no subject in its language: {tagged(SUBJECT, language)}"), True
                )
        elif part not in BODIES and not bodies:
            message = f"is never used: there is no {' or '.join(tagged(body, language) for body in BODIES)}"
            yield Finding(Problem(shown, None, "", message), True)
        if part == BODIES[1] and len(bodies) == 2:
            yield Finding(Problem(shown, None, "", f"is never used: {tagged(BODIES[0], language)} is there too"), True)


def _rendered(context: _Context, name: str, is_broken: bool) -> Iterator[Finding]:
    """The mail for a lead of whom nothing but the address is known, in each of its languages; of a broken one the
    subject, as far as there is one."""
    sender = context.workspace.settings.sender
    facts = least_known({"name": sender.name, "email": sender.email, "postal_address": sender.postal_address})
    facts |= {"ask": lambda attribute, answer: "https://example.com/", **context.vocabulary.samples}
    if not context.sent.get(name, True):
        facts.pop("appointment", None)
    templates = context.templates
    for language in templates.languages(name):
        mail, subject = templates.mail(name, language), templates.subject(name, facts, language)
        if isinstance(mail, Mail) and isinstance(subject, str):
            yield from _subject(templates.shown(mail.subject), harmless(subject))
        if is_broken:
            continue
        rendered = templates.render(name, facts, language)
        if not isinstance(rendered, Rendered):
            file, _, words = rendered.reason.partition(": ")
            file, _, line = file.rpartition(":") if re.search(r":\d+$", file) else (file, "", "")
            message = f"{words}: leads without it do not get this mail; ask first, {{% if … is defined %}}"
            yield Finding(Problem(file, int(line) if line else None, "", message), False)


def _subject(file: str, subject: str) -> Iterator[Finding]:
    if not subject:
        yield Finding(Problem(file, 1, "", "is empty for a lead of whom nothing is known"), True)
    elif len(subject) > LONGEST_SUBJECT:
        message = f"a subject of {len(subject)} characters; allowed: {LONGEST_SUBJECT}, and {LONG_SUBJECT} are shown"
        yield Finding(Problem(file, 1, "", message), True)
    elif len(subject) > LONG_SUBJECT:
        yield Finding(Problem(file, 1, "", f"a subject of {len(subject)} characters; {LONG_SUBJECT} are shown"), False)


def _unused(context: _Context) -> Iterator[Finding]:
    """Folders that no step sends, and blocks that no mail has."""
    used = {*context.sent, *context.told, *_BUILT_IN}
    names = _folders(context.workspace.emails)
    for name in names:
        if name not in used:
            near = did_you_mean(name, sorted({folder for folder in context.sent if folder not in names}))
            yield Finding(Problem(context.templates.shown(name), None, "", f"no sequence sends it{near}"), False)


def problems(findings: Iterable[Finding], mistakes: bool) -> list[Problem]:
    """The mistakes among the findings, or the doubts."""
    return [finding.problem for finding in findings if finding.is_mistake is mistakes]
