"""`warmline erase`: a person leaves the database, and is not written to if it comes in again."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli import session
from models.errors import UsageError
from models.rules.counts import counted


def erase(
    who: Annotated[str, typer.Argument(metavar="LEAD|ADDRESS", help="A lead's id, an e-mail address, an identity.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without this it is only told what would be erased.")
    ] = False,
) -> None:
    """Delete every row of a lead, and suppress its addresses by a keyed hash alone. It cannot be undone."""
    from models.queries import consents, erasure, explanations

    workspace = session.workspace()
    with workspace.database.read() as connection:
        found = explanations.find(connection, who)
        addresses = consents.addresses(connection, found)
    if not found:
        raise UsageError(f"nobody is called {who!r}; give an id, an e-mail address or another identity of a lead")
    if len(found) > 1:
        raise UsageError(f"{who!r} names {len(found)} leads: {', '.join(map(str, found))}; give one of these ids")
    named = ", ".join(addresses) or "no address"
    if not yes:
        session.print_hanging(f"lead {found[0]} ({named}) would be erased; say --yes to do it")
        return
    with workspace.database.write(durable=True) as connection:
        suppressed = erasure.erase(connection, workspace.secret_key, found[0], time.time_ns() // 1000)
    held = counted(len(suppressed), "address", "addresses")
    session.print_hanging(f"lead {found[0]} is erased; no more nurture mail goes to {held} of it")
