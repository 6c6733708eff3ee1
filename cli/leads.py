"""`warmline leads`: who stands where, the most points first; filtered, sorted, a page at a time.

Decides how a list of leads looks at the width of the terminal; models.queries.rosters finds them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from models.errors import UsageError
from models.rules.lifecycle import Stage

if TYPE_CHECKING:
    from models.queries.rosters import Listed, Order, Place
    from models.workspace import Workspace

STAGE_COLOURS = {
    Stage.SUBSCRIBER: "dim",
    Stage.LEAD: "",
    Stage.MARKETING_QUALIFIED: "cyan",
    Stage.SALES_QUALIFIED: "bold yellow",
    Stage.OPPORTUNITY: "magenta",
    Stage.CUSTOMER: "bold green",
    Stage.ADVOCATE: "bold green",
    Stage.DISQUALIFIED: "red",
}
MIDDLE, WIDE = 100, 120
"""Columns of the screen from which since when is shown, and the address beside the name."""


class Sorting(StrEnum):
    """What comes first."""

    SCORE = "score"
    """The most points."""
    MOVED = "moved"
    """Who came into its stage last."""
    NEW = "new"
    """Who came to be last."""


def leads(
    stage: Annotated[list[str] | None, typer.Option(help="In this stage; may be given several times.")] = None,
    band: Annotated[
        list[str] | None, typer.Option(help="In this band of scoring.yaml; may be given several times.")
    ] = None,
    cell: Annotated[
        list[str] | None, typer.Option(help="In this cell of the grid; may be given several times.")
    ] = None,
    rep: Annotated[
        list[str] | None,
        typer.Option(
            "--rep",
            "--owner",
            help="With this salesperson (name or e-mail), as assigned or as the owner; `nobody`: with none.",
        ),
    ] = None,
    account: Annotated[str | None, typer.Option(help="Of this account: its name, domain or id.")] = None,
    min_score: Annotated[float | None, typer.Option(help="With at least this many points.")] = None,
    words: Annotated[str | None, typer.Option("--text", help="With this in name, e-mail address or account.")] = None,
    sort: Annotated[Sorting, typer.Option(help="What comes first.")] = Sorting.SCORE,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show this many.")] = 50,
    after: Annotated[str | None, typer.Option(help="The next page: what the page before says.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Leads with stage, score and salesperson; the most points first."""
    from models.queries import rosters

    workspace = session.workspace()
    _check_stages(stage or [])
    _check_labels(workspace, band or [], cell or [])
    order: Order = sort.value
    place = _place(after)
    with workspace.database.read() as connection:
        wanted = rosters.Wanted(
            model=workspace.scoring.name,
            stages=stage or [],
            bands=band or [],
            cells=cell or [],
            reps=_reps(workspace, rep),
            account_id=None if account is None else one_account(connection, account),
            least=min_score,
            words=words,
        )
        found = rosters.page(connection, wanted, order, place, limit + 1)
    rest, found = found[limit:], found[:limit]
    following = _words(rosters.place_of(found[-1], order)) if rest else None
    if as_json:
        _print_json(found, following)
        return
    if found:
        print_leads(found, rep_names(workspace))
    session.out.print(
        f"{len(found):,} {'lead' if len(found) == 1 else 'leads'}"
        + (f"; more: --after {following}" if following else ""),
        markup=False,
    )


def print_leads(found: Sequence[Listed], names: Mapping[str, str], *, with_account: bool = True) -> None:
    """A line for each lead, with as much as the width holds."""
    from rich.text import Text

    from cli.fitting import print_rows

    width = session.out.width
    headings = ["id", "lead", *(["e-mail"] if width >= WIDE else []), *(["account"] if with_account else []), "stage"]
    headings += [*(["since"] if width >= MIDDLE else []), "score", "labels", "with"]
    rows = []
    for one in found:
        cells = {
            "id": str(one.id),
            "lead": one.name or ("" if width >= WIDE else one.email or ""),
            "e-mail": one.email or "",
            "account": one.account or "",
            "stage": one.stage,
            "since": day(one.stage_at),
            "score": points(one.total),
            "labels": labels(one),
            "with": names.get(one.rep or "", one.rep or ""),
        }
        row = {name: Text(session.printable(cell)) for name, cell in cells.items()}
        row["stage"].stylize(STAGE_COLOURS.get(Stage(one.stage), ""))
        if one.rep is None and one.owner is not None:
            row["with"] = Text(session.printable(f"({names.get(one.owner, one.owner)})"), "dim")
        rows.append([row[name] for name in headings])
    print_rows(headings, rows, whole=("id", "stage", "since", "score"))


def labels(one: Listed) -> str:
    """Cell, band and what stands out: `A1 hot surge`."""
    if one.excluded is not None:
        return f"excluded: {one.excluded}"
    return " ".join(word for word in (one.cell, one.band, "surge" if one.surge else None) if word)


def points(total: float | None) -> str:
    return "–" if total is None else f"{total:.1f}"


def day(at: int) -> str:
    """The day of an instant, in UTC."""
    from models.rules.instants import instant

    return instant(at).strftime("%Y-%m-%d")


def moment(at: int | None) -> str | None:
    """An instant for machines."""
    from models.rules.instants import instant

    return None if at is None else instant(at).isoformat()


def rep_names(workspace: Workspace) -> dict[str, str]:
    """E-mail address → name of the members of the team; empty where team.yaml has mistakes."""
    from models.documents import ConfigurationError

    with contextlib.suppress(ConfigurationError):
        return {rep.email: rep.name for rep in workspace.team.reps}
    return {}


def one_account(connection: Any, word: str) -> int:
    """The account that the word means; UsageError if it means none, or several."""
    from models.queries import portraits

    ids = portraits.find(connection, "account", word)
    if not ids:
        raise UsageError(f"no account is called {word!r}; give an id, the name or the domain of an ingested account")
    if len(ids) > 1:
        raise UsageError(f"{word!r} means {len(ids)} accounts: {', '.join(map(str, ids[:10]))}; give one of these ids")
    return ids[0]


def one_lead(connection: Any, word: str) -> int:
    """The lead that the word means; UsageError if it means none, or several."""
    from models.queries import explanations

    ids = explanations.find(connection, word)
    if not ids:
        raise UsageError(f"no lead is called {word!r}; give an id, an e-mail address or another identity of a lead")
    if len(ids) > 1:
        raise UsageError(f"{word!r} means {len(ids)} leads: {', '.join(map(str, ids[:10]))}; give one of these ids")
    return ids[0]


def _reps(workspace: Workspace, asked: Sequence[str] | None) -> list[str] | None:
    from models.queries.rosters import NOBODY

    if not asked:
        return None
    if [word.lower() for word in asked] == [NOBODY]:
        return []
    found = list(asked)
    for rep in workspace.team.reps:
        if any(rep.is_called(word) for word in asked):
            found += [rep.email, rep.name]
    return found


def _check_stages(stages: Sequence[str]) -> None:
    from models.documents import did_you_mean

    for name in stages:
        if name not in list(Stage):
            raise UsageError(f"--stage: found {name!r}{did_you_mean(name, Stage)}; allowed: {', '.join(Stage)}")


def _check_labels(workspace: Workspace, bands: Sequence[str], cells: Sequence[str]) -> None:
    from models.documents import did_you_mean
    from models.rules.agreement import bands_of, cells_of

    known = {"band": bands_of(workspace.scoring), "cell": cells_of(workspace.scoring)}
    for kind, asked in (("band", bands), ("cell", cells)):
        for name in asked:
            if name not in known[kind]:
                allowed = ", ".join(known[kind]) or f"scoring.yaml has no {kind}s"
                raise UsageError(f"--{kind}: found {name!r}{did_you_mean(name, known[kind])}; allowed: {allowed}")


def _place(word: str | None) -> Place | None:
    from models.queries.rosters import Place

    if word is None:
        return None
    key, _, lead_id = word.rpartition(":")
    try:
        number = None if key == "-" else float(key) if "." in key or "e" in key else int(key)
        return Place(number, int(lead_id))
    except ValueError as error:
        raise UsageError(f"--after: found {word!r}; allowed: what the page before says, such as 61.2:1234") from error


def _words(place: Place) -> str:
    return f"{'-' if place.key is None else place.key}:{place.lead_id}"


def told(one: Listed) -> dict[str, Any]:
    """The lead as plain data; instants in ISO 8601."""
    import dataclasses

    return dataclasses.asdict(one) | {"stage_at": moment(one.stage_at), "created_at": moment(one.created_at)}


def _print_json(found: Sequence[Listed], following: str | None) -> None:
    import orjson

    print(orjson.dumps({"leads": [told(one) for one in found], "next": following}).decode())
