"""`warmline lint`: what is wrong with the e-mails of a workspace, and with the steps that send them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import session
from models.rules.counts import counted


def lint(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Check all e-mails: undefined names, missing parts, dead links, subjects, MJML, languages. Exit code 1 if any."""
    from tasks.linting import lint as findings_of

    findings = findings_of(session.workspace())
    mistakes = sum(1 for finding in findings if finding.is_mistake)
    if as_json:
        import orjson

        told = [
            {
                "file": finding.problem.file,
                "line": finding.problem.line,
                "severity": "mistake" if finding.is_mistake else "doubt",
                "message": finding.problem.message,
            }
            for finding in findings
        ]
        typer.echo(orjson.dumps({"mistakes": mistakes, "findings": told}).decode())
    else:
        for finding in findings:
            mark = "" if finding.is_mistake else "doubt: "
            place = finding.problem.file + (f":{finding.problem.line}" if finding.problem.line else "")
            session.out.print(f"{place}: {mark}{finding.problem.message}", markup=False, soft_wrap=True)
        doubts = len(findings) - mistakes
        session.out.print(f"{counted(mistakes, 'mistake')}, {counted(doubts, 'doubt')}")
    if mistakes:
        raise typer.Exit(1)
