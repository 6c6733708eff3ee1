"""`warmline simulate SEQUENCE --lead X`: the timetable of a lead's way through a sequence. Sends and writes nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from models.errors import UsageError

if TYPE_CHECKING:
    from models.rules.instants import Micros
    from models.rules.timetable import Timetable
    from tasks.timetable import Act

_STYLES = {"mail": "bold green", "late": "yellow", "dropped": "red", "ends": "bold", "did": "cyan", "waits": "dim"}


def simulate(
    sequence: Annotated[str, typer.Argument(help="The sequence's name.")],
    lead: Annotated[str, typer.Option(help="Its id, e-mail address, or another identity that a source calls it by.")],
    start: Annotated[
        str | None, typer.Option("--from", help="From this instant on (ISO 8601; without a zone: UTC); else now.")
    ] = None,
    did: Annotated[
        list[str] | None,
        typer.Option(
            help="Imagine that the lead does this: ACT@INSTANT, such as email_click@2026-03-05T10:00 or "
            "page_view/pricing@2026-03-06; may be repeated."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """When each step would be taken and each mail sent on the lead's own clock, and why not sooner. Sends nothing."""
    from models.documents import did_you_mean
    from models.queries import portraits
    from models.rules.instants import Micros
    from tasks.timetable import timetable

    workspace = session.programme()
    if sequence not in workspace.sequences:
        names = ", ".join(workspace.sequences) or "none: sequences/ is empty"
        near = did_you_mean(sequence, workspace.sequences)
        raise UsageError(f"SEQUENCE: found {sequence!r}{near}; allowed: {names}")
    now = _instant("--from", start) if start else Micros(time.time_ns() // 1000)
    acts = [_act(word) for word in did or ()]
    with workspace.database.read() as connection:
        ids = portraits.find(connection, "lead", lead)
    if len(ids) != 1:
        few = "nobody is called" if not ids else f"{len(ids)} leads are called"
        raise UsageError(f"--lead: {few} {lead!r}; give the id or e-mail address of one that was ingested")
    found = timetable(workspace, sequence, ids[0], now, acts)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(_told(found)).decode())
    else:
        _print(found)


def _instant(option: str, text: str) -> Micros:
    from models.rules.timestamps import read_instant

    try:
        return read_instant(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def _act(word: str) -> Act:
    """`TYPE@INSTANT` or `TYPE/PATH@INSTANT`."""
    from tasks.timetable import Act

    name, at, when = word.rpartition("@")
    kind, slash, path = name.partition("/")
    if not at or not kind.strip():
        raise UsageError(f"--did: found {word!r}; allowed: ACT@INSTANT, such as email_reply@2026-03-05T10:00")
    return Act(_instant("--did", when), kind.strip(), slash + path if slash else None)


def _told(found: Timetable) -> dict[str, Any]:
    from models.rules.instants import instant

    return {
        "sequence": found.sequence,
        "lead": {"id": found.lead_id, "email": found.email, "stage": found.stage},
        "time_zone": {"name": found.zone.zone.key, "told_by": found.zone.told_by, "doubt": found.zone.doubt or None},
        "begins": found.begins,
        "events": [
            {
                "at": instant(event.at).isoformat(),
                "local": instant(event.at).astimezone(found.zone.zone).isoformat(),
                "kind": event.kind,
                "what": event.what,
            }
            for event in found.events
        ],
        "ends_if": list(found.ends_if),
    }


def _print(found: Timetable) -> None:
    from rich.table import Table
    from rich.text import Text

    from models.rules.instants import instant

    zone = found.zone
    who = f"{found.email or 'no address'} (lead {found.lead_id}, {found.stage})"
    session.print_hanging(f"{found.sequence} for {who}: {found.begins}", "bold")
    session.print_hanging(f"times in {zone.zone.key}, told by {_TOLD_BY.get(zone.told_by, f'its {zone.told_by}')}")
    if zone.doubt:
        session.print_hanging(zone.doubt, "yellow")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for event in found.events:
        local = instant(event.at).astimezone(zone.zone)
        table.add_row(
            f"{local:%a %Y-%m-%d %H:%M %Z}", Text(_KINDS[event.kind], _STYLES.get(event.kind, "")), Text(event.what)
        )
    session.out.print(table)
    if not any(event.kind == "ends" for event in found.events):
        session.out.print("… and so on", style="dim")
    session.print_hanging(f"Ends at once: {'; '.join(found.ends_if)}.")
    session.print_hanging("Scores and stages are taken as they are now; each mail as accepted at once.", "dim")


_TOLD_BY = {"workspace": "the workspace", "time_zone": "its time_zone"}
_KINDS = {
    "enters": "enters",
    "did": "does",
    "branch": "goes",
    "mail": "mail",
    "late": "later",
    "dropped": "no mail",
    "score": "score",
    "notify": "notify",
    "enrol": "enrol",
    "waits": "waits",
    "ends": "ends",
}
