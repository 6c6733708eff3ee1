"""`warmline doctor`: is this workspace in order?

Decides what is looked at: every file of the programme, how they fit together, and the database. Changes nothing but
the database's own tables, which it brings to this program's version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.rules.counts import counted

if TYPE_CHECKING:
    from models.documents import Problem
    from models.workspace import Workspace

_ZONES_SHOWN = 5


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Check all files of the workspace and its database; every mistake with file and line. Exit code 3 if any."""
    from models.documents import ConfigurationError

    workspace, problems = _opened()
    if problems := [*problems, *workspace.check(), *_mails(workspace), *_pages(workspace)]:
        if as_json:
            _print_json({"problems": [{"file": p.file, "line": p.line, "message": str(p)} for p in problems]})
        raise ConfigurationError(problems)
    doubts = [str(doubt) for doubt in workspace.doubts()]
    warnings = [
        *doubts,
        *_choosy(workspace),
        *_never_read(workspace),
        *_weakly_signed(workspace),
        *_without_links(workspace),
        *_placeless(workspace),
    ]
    database = workspace.database.shown_url
    if as_json:
        _print_json({"problems": [], "warnings": warnings, "database": database})
        return
    for warning in warnings:
        session.err.print(f"warning: {warning}", markup=False, soft_wrap=True)
    model, team, sequences = workspace.scoring, workspace.team, workspace.sequences
    rules = sum(1 for _ in model.rules())
    further = list(workspace.models.values())[1:]
    session.out.print("all good", style="bold green")
    for line in (
        f"scoring    {model.name} v{model.version}, {counted(rules, 'rule')}",
        *(f"           {one.name} v{one.version}, of each {one.of}" for one in further),
        f"lifecycle  {workspace.lifecycle.name} v{workspace.lifecycle.version}",
        f"team       {counted(len(team.reps), 'rep')}",
        f"sequences  {', '.join(f'{s.name} v{s.version}' for s in sequences.values()) or 'none'}",
        f"database   {database}",
    ):
        session.out.print(line, markup=False, soft_wrap=True)


def _opened() -> tuple[Workspace, list[Problem]]:
    """The workspace, and what is wrong with its settings: mistakes there must not hide those of the other files."""
    from models.documents import ConfigurationError
    from models.workspace import Workspace

    try:
        return session.workspace(), []
    except ConfigurationError as error:
        return Workspace.unsettled(session.workspace_root()), list(error.problems)


def _mails(workspace: Workspace) -> list[Problem]:
    """The mistakes of all e-mails, as `warmline lint` tells them."""
    from tasks.linting import lint, problems

    told = {str(problem) for problem in _of_sequences(workspace)}
    return [one for one in problems(lint(workspace), mistakes=True) if str(one) not in told]


def _pages(workspace: Workspace) -> list[Problem]:
    """The mistakes of the texts of pages."""
    from web.texts import FOLDER, problems

    return problems(workspace.root / FOLDER)


def _of_sequences(workspace: Workspace) -> list[Problem]:
    """What the check of the whole programme tells already."""
    from models.documents import ConfigurationError

    try:
        _ = workspace.sequences
    except ConfigurationError as error:
        return error.problems
    return []


def _choosy(workspace: Workspace) -> list[str]:
    """What is doubtful about the e-mails."""
    from tasks.linting import lint, problems

    return [str(doubt) for doubt in problems(lint(workspace), mistakes=False)]


def _weakly_signed(workspace: Workspace) -> list[str]:
    weak = [f"dkim: selector {key.selector!r} is {key.doubt}" for key in workspace.dkim_keys if key.doubt]
    if not workspace.dkim_keys and not workspace.settings.smtp.is_loopback:
        weak.append("dkim: no key, so mail leaves unsigned unless the relay signs it; large receivers ask for DKIM")
    return weak


def _without_links(workspace: Workspace) -> list[str]:
    if workspace.settings.base_url or workspace.settings.smtp.is_loopback:
        return []
    lacking = "mails to sales have no answers to click, nurture mail no link to unsubscribe with one click"
    return [f"base_url: not set, so that {lacking}; set it to where people reach `warmline serve`"]


def _never_read(workspace: Workspace) -> list[str]:
    from tasks.inbox import never_read

    return never_read(workspace)


def _placeless(workspace: Workspace) -> list[str]:
    """Leads with a time zone that does not exist: their hours are reckoned by country, or where we are."""
    from models.queries import zones
    from models.rules.zones import zone_doubt

    with workspace.database.read() as connection:
        found = zones.unknown(connection)
    return [
        f"{count:,} lead{' has' if count == 1 else 's have'} a time zone that does not exist ({zone_doubt(zone)})"
        for zone, count in found[:_ZONES_SHOWN]
    ]


def _print_json(data: object) -> None:
    import orjson

    typer.echo(orjson.dumps(data).decode())
