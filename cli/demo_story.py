"""What the demo tells at its end: the funnel, who is with sales and why, two of the mails, where to go on.

Reads the database and the sink's mail; changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import default
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from cli import session
from models.rules.counts import counted

if TYPE_CHECKING:
    from models.queries.funnel import Handed, Sending, StageCount
    from models.workspace import Workspace

TOP = 6
BAR = 34
LONGEST_MAIL = 32


def tell(workspace: Workspace, store: Path, at: datetime) -> None:
    """Print the whole story as of `at`; `store`: the folder in which the sink kept the mail."""
    mails = sorted(store.glob("*.eml"), reverse=True)
    from models.queries import funnel

    with workspace.database.read() as connection:
        stages = funnel.stages(connection)
        handed = funnel.handed(connection, workspace.scoring.name, TOP)
        sendings = funnel.sendings(connection)
    session.out.rule(f"[bold]after 90 days, {at:%d %B %Y}")
    session.out.print(_funnel(stages))
    session.out.print(_handed(handed))
    session.out.print(_sendings(sendings, len(mails)))
    for title, wanted in (("A nurture mail", False), ("A sales notification", True)):
        _show(title, _newest(mails, automatic=wanted))
    _where_next(workspace, handed, at)


def _funnel(stages: Iterable[StageCount]) -> Table:
    table = _table("The funnel", "stage", "now", "ever", "")
    shown = list(stages)
    widest = max((stage.ever for stage in shown), default=1) or 1
    for stage in shown:
        bar = "█" * max(round(BAR * stage.ever / widest), 1 if stage.ever else 0)
        table.add_row(stage.stage.replace("_", " "), str(stage.present), str(stage.ever), f"[cyan]{bar}[/]")
    return table


def _handed(handed: Iterable[Handed]) -> Table:
    table = _table("With sales now: the highest scores", "lead", "points", "cell", "handed over when", "with")
    for lead in handed:
        who = escape(f"{lead.name or lead.email}\n{lead.position}")
        table.add_row(who, f"{lead.total:.1f}", lead.cell or "", escape(lead.cause), lead.rep.partition("@")[0])
    return table


def _sendings(sendings: Iterable[Sending], arrived: int) -> Table:
    table = _table(
        f"E-mail: {counted(arrived, 'message')} arrived at the SMTP server", "kind", "template", "state", "messages"
    )
    for line in sendings:
        table.add_row(line.kind, line.template, line.state, str(line.count))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in {"now", "ever", "points", "messages"} else "left")
    return table


def _newest(mails: Sequence[Path], *, automatic: bool) -> Path | None:
    for file in mails:
        headers = BytesHeaderParser().parsebytes(file.read_bytes())
        if bool(headers.get("Auto-Submitted")) == automatic:
            return file
    return None


def _show(title: str, file: Path | None) -> None:
    if file is None:
        return
    message = message_from_bytes(file.read_bytes(), policy=default)
    assert isinstance(message, EmailMessage)
    part = message.get_body(("plain",))
    lines = (part.get_content() if part else "").strip().splitlines()
    shown = "\n".join([*lines[:LONGEST_MAIL], "…"] if len(lines) > LONGEST_MAIL else lines)
    head = "\n".join(f"[dim]{name}:[/] {escape(str(message[name]))}" for name in ("From", "To", "Subject"))
    title = f"[bold]{title}"
    session.out.print(Panel(f"{head}\n\n{escape(shown)}", title=title, subtitle=f"whole: {file}", width=100))


def _where_next(workspace: Workspace, handed: Sequence[Handed], at: datetime) -> None:
    folder = workspace.root.name
    lead = handed[0].email if handed else "LEAD"
    session.out.rule("[bold]where to look next")
    for command, why in (
        (f"warmline -w {folder} explain {lead} --as-of {at:%Y-%m-%d}", "every point of a score"),
        (f"warmline -w {folder} messages", "who got what, who did not and why"),
        (f"warmline -w {folder} review --days 90 --now {at:%Y-%m-%d}", "what the scores were worth"),
        (f"warmline sink --store {folder}/sink --web-port 8025", "every mail, in the browser"),
        (f"warmline -w {folder} serve", "the same on a schedule, with Prefect's UI"),
        ("warmline init my-programme --playbook mql-sql", "a workspace of your own"),
    ):
        session.out.print(f"  .venv/bin/{command}   [dim]# {why}[/]", soft_wrap=True)
