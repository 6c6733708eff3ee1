"""`warmline preview`: one mail as a lead would get it now, in the terminal, in the browser, or as files.

Decides how it is shown; tasks.previewing makes it by the code that serves the outbox. Sends nothing, writes nothing
into the database.
"""

from __future__ import annotations

import tempfile
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.errors import UsageError, WarmlineError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tasks.previewing import Preview


def preview(
    mail: Annotated[
        str,
        typer.Argument(
            metavar="SEQUENCE/STEP",
            help="The step by its number, its id or the folder it sends; or sales_notification.",
        ),
    ],
    lead: Annotated[str, typer.Option(help="The lead's id, e-mail address or another identity.")],
    language: Annotated[str | None, typer.Option(help="In the place of the lead's own, such as pl.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Show the HTML in the browser.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the HTML, the text and the whole mail (.eml) there.")] = None,
) -> None:
    """Show a mail with the data of a lead, as it would be made and sent now. Nothing is sent."""
    from tasks.previewing import preview as made
    from tasks.rendering import Unrenderable

    if language is not None:
        _check(language)
    workspace = session.programme()
    now = time.time_ns() // 1000
    with workspace.database.read() as connection:
        found = made(connection, workspace, mail, _lead(connection, lead), now, language)  # type: ignore[arg-type]
    failed = [one for one in found if isinstance(one, Unrenderable)]
    for one in found:
        if not isinstance(one, Unrenderable):
            _show(one, show, out)
    if failed:
        raise WarmlineError("\n".join(one.reason for one in failed))


def _check(language: str) -> None:
    from models.rules.languages import language_tag

    if language_tag(language) is None:
        raise UsageError(f"--language: found {language!r}; allowed: a language tag, such as pl or pt-BR")


def _lead(connection: Connection, word: str) -> int:
    from models.queries import explanations

    found = explanations.find(connection, word)
    if len(found) != 1:
        raise UsageError(f"--lead: {word!r} is {'no lead' if not found else f'{len(found)} leads: give an id'}")
    return found[0]


def _show(one: Preview, show: bool, out: Path | None) -> None:
    from tasks.plaintext import preheader_of

    heads = {"To": one.recipient, "Subject": one.subject, "Preheader": preheader_of(one.html) or "(none)"}
    for name, value in heads.items():
        session.out.print(f"{name + ':':<11}{_printable(value)}", markup=False, soft_wrap=True)
    session.out.print()
    session.out.print(_printable(one.text.rstrip()), markup=False, soft_wrap=True)
    if out is not None or show:
        folder = out or Path(tempfile.mkdtemp(prefix="warmline-preview-"))
        page = _write(one, folder)
        session.err.print(f"written: {page}", markup=False, soft_wrap=True)
        if show and not webbrowser.open(page.resolve().as_uri()):
            session.err.print("no browser could be opened; open the file yourself")


def _printable(words: str) -> str:
    """Foreign text may hold signs that command a terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "�" for sign in words)


def _write(one: Preview, folder: Path) -> Path:
    """The files of one mail; the path of the HTML."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / one.name.replace("/", "-")
        page = stem.with_suffix(".html")
        page.write_text(one.html, encoding="utf-8")
        stem.with_suffix(".txt").write_text(one.text, encoding="utf-8")
        stem.with_suffix(".eml").write_bytes(one.content)
    except OSError as error:
        raise UsageError(f"--out: {folder} cannot be written: {error.strerror}") from error
    return page
