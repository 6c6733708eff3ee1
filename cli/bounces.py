"""`warmline bounces`: what mails that came back say, without changing anything; or taken in, with all that follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from cli import session
from models.rules.counts import counted

if TYPE_CHECKING:
    from models.rules.returned_mail import Fate, ReturnedMail

bounces = typer.Typer(
    no_args_is_help=True, help="Mail that came back: bounces, complaints, replies, automatic answers."
)

Paths = Annotated[list[Path], typer.Argument(help="Mails as files, or folders of them (a Maildir too).")]


@bounces.command()
def classify(
    paths: Paths, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per mail.")] = False
) -> None:
    """Say of each mail what it is, about whom, and what would be done. Needs no workspace and changes nothing."""
    from models.rules.returned_mail import read

    counts: Counter[str] = Counter()
    for path in files(paths):
        mail = read(path.read_bytes())
        counts[mail.kind.value] += 1
        if as_json:
            typer.echo(orjson.dumps(_told(path, mail)).decode())
        else:
            _print(path, mail)
    session.err.print(", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "no mail found")


@bounces.command()
def ingest(
    paths: Paths, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: counts.")] = False
) -> None:
    """Take mails that came back into the workspace's database, and do what follows. Twice changes nothing."""
    import time

    from tasks.returned_mail import forget, keep_mails, read_next

    workspace = session.workspace()
    now = time.time_ns() // 1000
    counts: Counter[str] = Counter()
    for path in files(paths):
        counts["new"] += keep_mails(workspace, [(path.read_bytes(), ())], "file", now)
        counts["mails"] += 1
    while done := read_next(workspace, now):
        counts.update(done)
    forget(workspace, now)  # where mail comes by files alone, no flow does it
    _print_counts(counts, as_json)


@bounces.command("list")
def listed(
    state: Annotated[str | None, typer.Option(help="waiting, done or kept (to be looked at).")] = None,
    limit: Annotated[int, typer.Option(help="Show this many of the newest.", min=0)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Mails that came back, newest first: what each was, and what was done, or why nothing was."""
    from models.errors import UsageError
    from models.queries import returned_mail
    from models.rules.instants import Micros, instant

    if state not in {None, "waiting", "done", "kept"}:
        raise UsageError(f"--state: found {state!r}; allowed: waiting, done, kept")
    with session.workspace().database.read() as connection:
        counts = returned_mail.counts(connection)
        newest = returned_mail.newest(connection, state, limit)
    if as_json:
        rows = [{**vars(one), "received_at": instant(Micros(one.received_at)).isoformat()} for one in newest]
        typer.echo(orjson.dumps({"counts": counts, "mails": rows}).decode())
        return
    session.out.print(", ".join(f"{count:,} {name}" for name, count in counts.items()) or "no mail came back")
    for one in newest:
        said = one.outcome or one.reason or "waits to be read"
        at = f"{instant(Micros(one.received_at)):%Y-%m-%d %H:%M}"
        line = f"{one.id:>6}  {at}  {one.state:<7} {one.kind or '?':<11} {said}  {one.message_id or ''}"
        session.out.print(_printable(line), markup=False, soft_wrap=True)


@bounces.command()
def show(number: Annotated[int, typer.Argument(help="As `warmline bounces list` shows it.")]) -> None:
    """Print one mail that came back, as it came."""
    import sys

    from models.errors import InputError
    from models.queries import returned_mail

    with session.workspace().database.read() as connection:
        content = returned_mail.content(connection, number)
    if content is None:
        raise InputError(f"there is no returned mail {number}; see `warmline bounces list`")
    if not content:
        raise InputError(f"the bytes of returned mail {number} were dropped, as `bounces.keep_content` says")
    sys.stdout.buffer.write(content)


def _print_counts(counts: Counter[str], as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(dict(counts)).decode())
        return
    said = (
        counted(count, "mail") if name == "mails" else f"{count:,} {name}" for name, count in counts.items() if count
    )
    words = ", ".join(said)
    session.out.print(words or "no mail found")


def files(paths: list[Path]) -> Iterator[Path]:
    """The mails among `paths`: files as they are, folders with all that is in them (hidden files left out), sorted."""
    from models.errors import InputError

    for path in paths:
        if path.is_dir():
            found = (one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
            yield from sorted(found)
        elif path.is_file():
            yield path
        else:
            raise InputError(f"{path}: found nothing there; allowed: a mail as a file, or a folder of mails")


def _told(path: Path, mail: ReturnedMail) -> dict[str, Any]:
    first = next(iter(mail.fates), None)
    return {
        "file": str(path),
        "kind": mail.kind.value,
        "detail": mail.detail,
        "severity": _severity(first),
        "status": first.status if first else "",
        "diagnostic": first.diagnostic if first else "",
        "recipients": [_of(fate) for fate in mail.fates],
        "from": mail.sender,
        "subject": mail.subject,
        "about": list(mail.refers_to),
        "identity": mail.identity,
        "effect": mail.effect,
    }


def _of(fate: Fate) -> dict[str, Any]:
    return {
        "recipient": fate.recipient,
        "action": fate.action,
        "severity": _severity(fate),
        "strike": fate.is_strike,
        "meaning": fate.meaning,
        "status": fate.status,
        "diagnostic": fate.diagnostic,
        "effect": fate.effect,
    }


def _severity(fate: Fate | None) -> str | None:
    """hard | soft | policy: a refusal that says nothing of the address is soft, and a strike."""
    if fate is None or fate.severity is None:
        return None
    return "soft" if fate.is_strike else fate.severity.value


def _print(path: Path, mail: ReturnedMail) -> None:
    lines = [f"{path}: {mail.kind.value} ({mail.detail})" + (f" → {mail.effect}" if not mail.fates else "")]
    for fate in mail.fates:
        said = " ".join(part for part in (_severity(fate) or fate.action, fate.status, fate.recipient) if part)
        lines.append(f"  {said}: {fate.meaning or fate.action} → {fate.effect}")
        if fate.diagnostic:
            lines.append(f"    {fate.diagnostic[:160]}")
    session.out.print("\n".join(_printable(line) for line in lines), markup=False, soft_wrap=True)


def _printable(words: str) -> str:
    # What a stranger sent must not steer the terminal.
    return "".join(c if c.isprintable() else "�" for c in words)
