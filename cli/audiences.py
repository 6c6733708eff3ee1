"""`warmline audience` and `warmline audiences`: segments of leads for retargeting, exported to a file or an endpoint.

Decides the words; tasks.audiences looks through the leads and tells the receivers.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from models.errors import UsageError
from models.rules.counts import counted

if TYPE_CHECKING:
    from models.queries.audiences import Export
    from models.rules.audiences import Audience
    from models.workspace import Workspace
    from tasks.retargeting import Sink

WEBHOOK = "webhook:"
UNNAMED = "(--if)"


def audience(
    name: Annotated[str | None, typer.Argument(help="An audience: a file of audiences/ without its .yaml.")] = None,
    condition: Annotated[
        str | None,
        typer.Option("--if", help="Instead of a name whom to take, as under `who`: '{band: hot, stages: lead}'."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="FILE.csv, or webhook:ENDPOINT of warmline.yaml. Without it, only counts.")
    ] = None,
    changes: Annotated[
        bool, typer.Option("--changes", help="Only who came and who left since the last export to a file.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option(help="What is told of each, such as email_sha256,country; by default the file's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Who is in an audience, and who is left out; with --to, tell a file or an endpoint of it."""
    from tasks.audiences import Job, export, survey

    workspace, now = session.workspace(), time.time_ns() // 1000
    known, chosen = _chosen(workspace, name, condition, columns)
    if to is None:
        found = survey(workspace, {known: chosen}, now)[known]
    else:
        job = Job(known, chosen, _sink(workspace, known, chosen, to, now, changes, condition is not None))
        found = export(workspace, [job], now)[known]
    if as_json:
        _print_json({"audience": name, "to": to, **_told(found)})
        return
    for line in _words(known, found):
        session.out.print(line, markup=False)
    if to is not None and condition is None:
        session.out.print(f"since the last time: {found['added']:,} added, {found['removed']:,} removed", markup=False)
    if to is not None:
        went = "queued; `warmline run` and `warmline serve` send it" if to.startswith(WEBHOOK) else "written"
        session.out.print(f"{to}: {went}", markup=False)


def audiences(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """The audiences of the workspace with their sizes now, who is left out, and when each was last told to whom."""
    from models.queries.audiences import last_exports
    from tasks.audiences import survey

    workspace, now = session.workspace(), time.time_ns() // 1000
    sizes = survey(workspace, workspace.audiences, now) if workspace.audiences else {}
    with workspace.database.read() as connection:
        exports = last_exports(connection)
    if as_json:
        listed = [{"audience": name, **_told(found)} for name, found in sizes.items()]
        _print_json({"audiences": listed, "exports": [_exported(one) for one in exports]})
        return
    if not sizes:
        session.out.print("no audiences: docs/audiences.md says what a file of audiences/ looks like", markup=False)
    for name, found in sizes.items():
        for line in _words(name, found):
            session.out.print(line, markup=False)
        if words := workspace.audiences[name].description:
            session.out.print(f"  {words}", markup=False)
        for one in exports:
            if one.audience == name:
                said = f"{one.members:,}, {one.added:,} added, {one.removed:,} removed"
                session.out.print(f"  {_exported(one)['at'][:16]} to {one.destination}: {said}", markup=False)


def _chosen(workspace: Workspace, name: str | None, condition: str | None, columns: str | None) -> tuple[str, Audience]:
    from models.documents import did_you_mean

    if (name is None) == (condition is None):
        raise UsageError("say which: the name of an audience, or --if with a condition")
    if condition is not None:
        known, chosen = UNNAMED, _made_up(workspace, condition)
    elif name in workspace.audiences:
        known, chosen = str(name), workspace.audiences[str(name)]
    else:
        near = did_you_mean(str(name), workspace.audiences)
        allowed = ", ".join(workspace.audiences) or "none: the workspace has no audiences/*.yaml"
        raise UsageError(f"audience: found {name!r}{near}; allowed: {allowed}")
    if columns is not None:
        listed = [word.strip() for word in columns.split(",") if word.strip()]
        if not listed:
            raise UsageError("--columns: empty; allowed: names such as email_sha256,country")
        chosen = chosen.model_copy(update={"columns": {word: word for word in listed}})
    return known, chosen


def _made_up(workspace: Workspace, condition: str) -> Audience:
    from models.documents import ConfigurationError, Document
    from models.rules.audiences import Audience, mistakes

    document = Document.parse("who:\n" + "\n".join(f"  {line}" for line in condition.splitlines()), "--if")
    made = Audience.load(document, workspace.read_text)
    said = mistakes(made, workspace.models, workspace.settings.consent, workspace.settings.webhooks)
    if problems := [document.problem(place, message) for place, message in said]:
        raise ConfigurationError(problems)
    return made


def _sink(
    workspace: Workspace, name: str, chosen: Audience, to: str, now: int, changes: bool, is_unnamed: bool
) -> Sink:
    from tasks.audiences import sink
    from tasks.retargeting import PlainFile

    if to.startswith(WEBHOOK):
        _check_endpoint(workspace, to.removeprefix(WEBHOOK))
    elif not to.endswith(".csv"):
        raise UsageError(f"--to: found {to!r}; allowed: FILE.csv, or {WEBHOOK}ENDPOINT")
    if is_unnamed and (changes or to.startswith(WEBHOOK)):
        raise UsageError("--if has no name under which to remember who was told; make it a file of audiences/")
    if is_unnamed:
        return PlainFile(workspace, name, chosen.columns, now, Path(to))
    return sink(workspace, name, chosen, to if to.startswith(WEBHOOK) else Path(to), now, changes)


def _check_endpoint(workspace: Workspace, endpoint: str) -> None:
    from models.documents import did_you_mean

    known = workspace.settings.webhooks
    if endpoint not in known:
        allowed = ", ".join(sorted(known)) or "none: warmline.yaml has no `webhooks`"
        raise UsageError(f"--to: found the endpoint {endpoint!r}{did_you_mean(endpoint, known)}; allowed: {allowed}")


def _words(name: str, found: Counter[str]) -> list[str]:
    left_out = {why: number for why, number in sorted(found.items()) if why not in ("members", "added", "removed")}
    said = " · ".join(f"{why} {number:,}" for why, number in left_out.items())
    return [f"{name}: {counted(found['members'], 'member')}" + (f"; left out: {said}" if said else "")]


def _told(found: Counter[str]) -> dict[str, Any]:
    own = ("members", "added", "removed")
    counts = {name: found[name] for name in own if name in found}
    return {**counts, "left_out": {why: number for why, number in sorted(found.items()) if why not in own}}


def _exported(one: Export) -> dict[str, Any]:
    from models.rules.instants import instant

    return {**one._asdict(), "at": instant(one.at).isoformat()}


def _print_json(data: object) -> None:
    import orjson

    print(orjson.dumps(data).decode())
