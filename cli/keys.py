"""`warmline keys`: the write keys that let events in: made, listed, revoked. A key is shown once, when it is made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.errors import UsageError

if TYPE_CHECKING:
    from models.queries.keys import Key

keys = typer.Typer(no_args_is_help=True, help="The write keys that let events in.")
Source = Annotated[str, typer.Argument(help="Where the events come from, such as website; it stands beside each.")]


@keys.command()
def add(
    source: Source,
    existing: Annotated[
        bool, typer.Option("--existing", help="Take the key that stands in standard input instead of a new one.")
    ] = False,
) -> None:
    """Make a write key for a source and print it. A source may have several: the next one, then revoke the last."""
    import re
    import secrets

    from models.queries import keys as kept
    from models.rules.collector import KEY_BYTES, OWN, SOURCE, key_mistake, new_key

    workspace = session.workspace()
    if not re.fullmatch(SOURCE, source) or source == OWN:
        allowed = "letters, digits, `.`, `-` and `_`, at most 100, a letter or digit first"
        raise UsageError(f"source: found {source!r}; allowed: {allowed}; not {OWN!r}, which stands for its own links")
    key = _given() if existing else new_key(secrets.token_bytes(KEY_BYTES))
    if (mistake := key_mistake(key)) is not None:
        raise UsageError(f"key: {mistake}")
    with workspace.database.write(durable=True) as connection:
        added = kept.add(connection, source, key, time.time_ns() // 1000)
    if not added:
        raise UsageError("this key was given before, or is revoked; see `warmline keys list`")
    if existing:
        session.err.print(f"the key lets {source} in from now on", markup=False)
    else:
        session.err.print(f"the write key of {source}; it is not shown again:", markup=False)
        typer.echo(key)


def _given() -> str:
    import sys

    return sys.stdin.readline().strip()


@keys.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """The keys by their first characters: whose, since when, when last used (to the hour), revoked or not."""
    from models.queries import keys as kept

    with session.workspace().database.read() as connection:
        rows = kept.listed(connection)
    _print_json(rows) if as_json else _print_table(rows)


@keys.command()
def revoke(
    which: Annotated[
        list[str] | None, typer.Argument(help="Ids or first characters of keys, as `warmline keys list` shows them.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="All keys of this source.")] = None,
) -> None:
    """Let keys in no more, within a second. What came in with them stays."""
    from models.queries import keys as kept

    if not which and not source:
        raise UsageError("say which: ids or first characters of keys, or --source")
    workspace = session.workspace()
    with workspace.database.write(durable=True) as connection:
        rows = kept.listed(connection)
        wanted = {key.id for word in which or () for key in _meant(word, rows)}
        wanted |= {key.id for key in rows if key.source == source}
        if source is not None and not wanted:
            raise UsageError(f"--source: found {source!r}; allowed: {', '.join(sorted({key.source for key in rows}))}")
        number = kept.revoke(connection, wanted, time.time_ns() // 1000)
    session.out.print(f"{number} revoked")


def _meant(word: str, rows: list[Key]) -> list[Key]:
    found = [key for key in rows if word in (str(key.id), key.begins)]
    if not found:
        raise UsageError(f"found {word!r}; allowed: an id or the first characters of a key of `warmline keys list`")
    if len(found) > 1:
        ids = ", ".join(str(key.id) for key in found)
        raise UsageError(f"{word!r} is how several keys begin: say which by its id ({ids})")
    return found


def _print_table(rows: list[Key]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "source", "begins", "since", "last used", "revoked"):
        table.add_column(name, overflow="fold")
    for key in rows:
        times = (_told(key.created_at), _told(key.used_at) or "never", _told(key.revoked_at))
        table.add_row(str(key.id), key.source, f"{session.printable(key.begins)}…", *times)
    if rows:
        session.out.print(table)
    else:
        session.out.print("No keys: `warmline keys add SOURCE` makes one.")


def _told(at: int | None) -> str:
    from models.rules.instants import instant

    return "" if at is None else instant(at).strftime("%Y-%m-%d %H:%M")


def _print_json(rows: list[Key]) -> None:
    import dataclasses

    import orjson

    from models.rules.instants import instant

    def told(key: Key) -> dict[str, object]:
        fields = dataclasses.asdict(key)
        for name in ("created_at", "used_at", "revoked_at"):
            fields[name] = instant(fields[name]).isoformat() if fields[name] is not None else None
        return fields

    typer.echo(orjson.dumps({"keys": [told(key) for key in rows]}).decode())
