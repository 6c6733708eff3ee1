"""`warmline doctor`: is this workspace in order?

Decides what is looked at: every file of the programme, how they fit together, and the database. Changes nothing but
the database's own tables, which it brings to this program's version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.documents import ConfigurationError, Problem

if TYPE_CHECKING:
    from models.workspace import Workspace


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Check all files of the workspace and its database; every mistake with file and line. Exit code 3 if any."""
    workspace, problems = _opened()
    if problems := [*problems, *workspace.check(), *_mails(workspace)]:
        if as_json:
            _print_json({"problems": [{"file": p.file, "line": p.line, "message": str(p)} for p in problems]})
        raise ConfigurationError(problems)
    doubts = [str(doubt) for doubt in workspace.doubts()]
    warnings = [*doubts, *_choosy(workspace), *_never_read(workspace), *_weakly_signed(workspace)]
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
        f"scoring    {model.name} v{model.version}, {rules} rules",
        *(f"           {one.name} v{one.version}, of each {one.of}" for one in further),
        f"lifecycle  {workspace.lifecycle.name} v{workspace.lifecycle.version}",
        f"team       {len(team.reps)} reps",
        f"sequences  {', '.join(f'{s.name} v{s.version}' for s in sequences.values()) or 'none'}",
        f"database   {database}",
    ):
        session.out.print(line, markup=False, soft_wrap=True)


def _opened() -> tuple[Workspace, list[Problem]]:
    """The workspace, and what is wrong with its settings: mistakes there must not hide those of the other files."""
    from models.workspace import Workspace

    try:
        return session.workspace(), []
    except ConfigurationError as error:
        return Workspace.unsettled(session.workspace_root()), list(error.problems)


def _mails(workspace: Workspace) -> list[Problem]:
    """The mistakes of all e-mails in emails/ that can be seen without a lead."""
    from tasks.rendering import Templates

    made = Templates(workspace.emails)
    folders = sorted(path.name for path in workspace.emails.glob("*/") if path.is_dir())
    return [mistake for folder in folders for mistake in made.mistakes(folder)]


def _choosy(workspace: Workspace) -> list[str]:
    """The mails of the sequences that cannot be written to every lead: they ask for what not every lead has."""
    from models.rules.notification import least_known
    from tasks.rendering import Templates, Unrenderable

    sender = workspace.settings.sender
    facts = least_known({"name": sender.name, "email": sender.email, "postal_address": sender.postal_address})
    made = Templates(workspace.emails)
    uninvited = {name: fact for name, fact in facts.items() if name != "appointment"}
    steps = [node.step for one in workspace.sequences.values() for node in one.nodes]
    sent = sorted({(folder, step.invite) for step in steps for folder in step.folders})
    rendered = [made.render(folder, facts if invites else uninvited) for folder, invites in sent]
    failed = [done for done in rendered if isinstance(done, Unrenderable)]
    return [
        f"{done.reason}: leads without it do not get this mail; ask first, {{% if … is defined %}}" for done in failed
    ]


def _weakly_signed(workspace: Workspace) -> list[str]:
    weak = [f"dkim: selector {key.selector!r} is {key.doubt}" for key in workspace.dkim_keys if key.doubt]
    if not workspace.dkim_keys and not workspace.settings.smtp.is_loopback:
        weak.append("dkim: no key, so mail leaves unsigned unless the relay signs it; large receivers ask for DKIM")
    return weak


def _never_read(workspace: Workspace) -> list[str]:
    from tasks.inbox import never_read

    return never_read(workspace)


def _print_json(data: object) -> None:
    import orjson

    typer.echo(orjson.dumps(data).decode())
