"""`warmline`: the top of the house, where parts are wired together and a failure becomes a message and an exit code.

Decides the words of the command line. Each command is a function in a module of its own; heavy imports stand inside
those functions, so that `warmline --help` starts at once (a test looks at sys.modules).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import (
    accounts,
    actions,
    assign,
    assignments,
    audiences,
    bounces,
    consent,
    coverage,
    decay,
    demo,
    deploy,
    dkim_record,
    doctor,
    erase,
    experiments,
    explain,
    feedback,
    ingest,
    init,
    keys,
    lead,
    leads,
    lint,
    marks,
    messages,
    preview,
    recalibrate,
    rejected,
    replay,
    review,
    run,
    schema,
    score,
    serve,
    session,
    simulate,
    sink,
    stage,
    watch,
    webhooks,
    what_if,
)
from cli.choices import Commands
from models.errors import WarmlineError

app = typer.Typer(
    name="warmline",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks print local variables, and those hold secrets and people
    help="Lead management as files: ingest, score, route, nurture, hand to sales. Commands run in a workspace.",
    epilog="Exit codes: 0 done · 1 failed · 2 usage · 3 configuration · 4 input · 5 database · 6 delivery · 7 Prefect",
)


@app.callback()
def begin(
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", envvar="WARMLINE_WORKSPACE", help="The workspace's folder.")
    ] = Path(),
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting for this command: NAME=VALUE, such as smtp.port=2525.")
    ] = None,
) -> None:
    session.begin(workspace, settings or [])


app.command()(actions.actions)
app.command()(accounts.account)
app.command()(accounts.accounts)
app.command()(demo.demo)
app.command()(init.init)
app.command()(doctor.doctor)
app.command()(ingest.ingest)
app.command()(preview.preview)
app.command()(rejected.rejected)
app.command()(replay.replay)
app.command()(run.run)
app.command()(explain.explain)
app.command()(review.review)
app.command()(coverage.coverage)
app.command()(decay.decay)
app.command()(feedback.feedback)
app.command()(lead.lead)
app.command()(leads.leads)
app.command()(lint.lint)
app.command()(marks.marks)
app.command()(schema.schema)
app.command()(score.score)
app.command()(serve.serve)
app.command()(deploy.deploy)
app.add_typer(messages.messages, name="messages")
app.command()(messages.suppress)
app.command()(sink.sink)
app.command()(simulate.simulate)
app.command()(assign.assign)
app.command()(assignments.assignments)
app.command()(audiences.audience)
app.command()(audiences.audiences)
app.command()(stage.stage)
app.command()(feedback.verdicts)
app.command()(consent.consent)
app.command()(experiments.experiments)
app.command()(erase.erase)
app.command("dkim-record")(dkim_record.dkim_record)
app.add_typer(bounces.bounces, name="bounces")
app.add_typer(keys.keys, name="keys")
app.add_typer(recalibrate.recalibrate, name="recalibrate")
app.add_typer(webhooks.webhooks, name="webhooks")
app.command()(watch.watch)
app.command("what-if")(what_if.what_if)


def main() -> None:
    """The entry point: runs the command; a WarmlineError becomes its message on stderr and its exit code."""
    code: object
    try:
        app()
        code = 0
    except SystemExit as end:
        code = end.code
    except WarmlineError as error:
        session.err.print("[bold red]error:[/] ", end="")
        session.err.print(str(error), markup=False, soft_wrap=True)
        code = error.exit_code
    if session.must_leave_at_once():
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)
    sys.exit(code if isinstance(code, int | str) else 0)
