"""`warmline accounts` and `warmline account X`: companies with their people, scores, deals and salespeople.

Decides how they are shown; models.queries.account_views and models.queries.rosters find them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from cli.leads import day, moment, one_account, points, print_leads, rep_names, told

if TYPE_CHECKING:
    from models.queries import rosters
    from models.queries.account_views import Deal, Listed, Order, View
    from models.workspace import Workspace

MIDDLE = 100
"""Columns of the screen from which the domain is shown."""
SAID = 8
"""Attributes of an account that are told."""


class Sorting(StrEnum):
    """What comes first."""

    SCORE = "score"
    PEOPLE = "people"
    NAME = "name"


def accounts(
    words: Annotated[str | None, typer.Option("--text", help="With this in the name or the domain.")] = None,
    min_score: Annotated[float | None, typer.Option(help="With at least this many points.")] = None,
    model: Annotated[str | None, typer.Option(help="Whose points: a model of scoring/ that scores accounts.")] = None,
    sort: Annotated[Sorting, typer.Option(help="What comes first.")] = Sorting.SCORE,
    limit: Annotated[int, typer.Option(min=1, max=30_000, help="Show this many.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Accounts with their score (without an account model: their best person's), people, deals and salespeople."""
    from models.queries import account_views

    workspace = session.workspace()
    chosen = _model(workspace, model)
    order: Order = sort.value
    wanted = account_views.Wanted(workspace.scoring.name, chosen, words=words, least=min_score)
    with workspace.database.read() as connection:
        found = account_views.page(connection, wanted, order, limit)
    if as_json:
        import orjson

        print(orjson.dumps({"model": chosen, "accounts": [asdict(one) for one in found]}).decode())
        return
    if found:
        _print_accounts(found, rep_names(workspace))
    whose = f"score: {chosen}" if chosen is not None else "score: of their best person"
    session.out.print(f"{len(found):,} {'account' if len(found) == 1 else 'accounts'}; {whose}", markup=False)


def account(
    what: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its name, domain or id.")],
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show this many of its people.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """One account: its scores, its deals, its people, and who gets the next colleague that qualifies."""
    from models.queries import account_views, rosters

    workspace = session.workspace()
    models = _account_models(workspace)
    lead_model = workspace.scoring.name
    with workspace.database.read() as connection:
        account_id = one_account(connection, what)
        of_it = account_views.Wanted(lead_model, models[0] if models else None, account_id)
        [found] = account_views.page(connection, of_it, "score", 1)
        known = account_views.view(connection, account_id, models)
        people = rosters.page(connection, rosters.Wanted(lead_model, account_id=account_id), "score", None, limit)
    if as_json:
        _print_json(found, known, people)
        return
    names = rep_names(workspace)
    _print_header(found, known, names)
    for deal in known.deals:
        session.print_hanging(session.printable(f"  {_deal(deal, names)}"))
    if people:
        print_leads(people, names, with_account=False)
    session.out.print(f"{len(people):,} of {found.people:,} people", markup=False)


def _model(workspace: Workspace, name: str | None) -> str | None:
    from models.documents import did_you_mean
    from models.errors import UsageError

    models = _account_models(workspace)
    if name is None:
        return models[0] if models else None
    if name not in models:
        allowed = ", ".join(models) or "this workspace has no model `of: account` in scoring/"
        raise UsageError(f"--model: found {name!r}{did_you_mean(name, models)}; allowed: {allowed}")
    return name


def _account_models(workspace: Workspace) -> list[str]:
    return [name for name, model in workspace.models.items() if model.of == "account"]


def _print_accounts(found: Sequence[Listed], names: Mapping[str, str]) -> None:
    from rich.text import Text

    from cli.fitting import print_rows

    wide = session.out.width >= MIDDLE
    headings = ["id", "account", *(["domain"] if wide else []), "score", "labels", "people", "with sales", "customers"]
    headings += ["open deals", "with"]
    rows = []
    for one in found:
        cells = {
            "id": str(one.id),
            "account": one.name,
            "domain": one.domain or "",
            "score": points(one.total),
            "labels": " ".join(word for word in (one.cell, one.band) if word),
            "people": f"{one.people:,}",
            "with sales": f"{one.with_sales:,}" if one.with_sales else "",
            "customers": f"{one.customers:,}" if one.customers else "",
            "open deals": f"{one.open_deals:,}" if one.open_deals else "",
            "with": ", ".join(names.get(rep, rep) for rep in one.reps),
        }
        row = {name: Text(session.printable(cell)) for name, cell in cells.items()}
        if not one.reps and one.owner is not None:
            row["with"] = Text(session.printable(f"({names.get(one.owner, one.owner)})"), "dim")
        rows.append([row[name] for name in headings])
    empty = {name for place, name in enumerate(headings) if not any(row[place].plain for row in rows)}
    kept = [place for place, name in enumerate(headings) if name not in empty]
    whole = ("id", "score", "people", "with sales", "customers", "open deals")
    print_rows([headings[place] for place in kept], [[row[place] for place in kept] for row in rows], whole)


def _print_header(found: Listed, known: View, names: Mapping[str, str]) -> None:
    from rich.text import Text

    scores = [
        " ".join(word for word in (name, points(total), cell, band) if word) for name, total, cell, band in known.scores
    ]
    best = [f"best person {points(found.best)} points"] if found.best is not None else []
    session.out.print(Text.assemble((session.printable(found.name), "bold"), ": ", " · ".join(scores or best)))
    owner = f"owner {names.get(found.owner, found.owner)}" if found.owner else None
    who = [f"account {found.id}", found.domain, owner, f"known since {day(known.created_at)}"]
    session.print_hanging(session.printable(" · ".join(word for word in who if word)))
    said = [f"{name}: {value}" for name, value in sorted(known.attributes.items()) if not isinstance(value, dict)]
    if said:
        session.print_hanging(session.printable(" · ".join(said[:SAID])), "dim")
    if known.given:
        newest = known.given[-1]
        rep = names.get(newest.rep, newest.rep)
        words = f"the next colleague goes to {rep}, who has lead {newest.lead_id} since {day(newest.at)}"
        session.print_hanging(session.printable(words), "yellow")


def _deal(deal: Deal, names: Mapping[str, str]) -> str:
    amount = f"{deal.amount:,.0f} {deal.currency or ''}".strip() if deal.amount is not None else None
    ended = f"closed {day(deal.closed_at)}" if deal.closed_at is not None and deal.outcome != "open" else None
    opened = f"since {day(deal.opened_at)}" if deal.opened_at is not None and ended is None else None
    stage = deal.stage if deal.stage and deal.stage.lower() != deal.outcome else None
    owner = names.get(deal.owner, deal.owner) if deal.owner else None
    lead = f"lead {deal.lead_id}" if deal.lead_id is not None else None
    words = [f"deal {deal.name}: {deal.outcome}", stage, amount, opened, ended, lead, owner]
    return " · ".join(word for word in words if word)


def _print_json(found: Listed, known: View, people: Sequence[rosters.Listed]) -> None:
    import orjson

    said = asdict(known)
    said["created_at"] = moment(known.created_at)
    scores = [dict(zip(("model", "total", "cell", "band"), row, strict=True)) for row in known.scores]
    deals = [
        asdict(deal) | {"opened_at": moment(deal.opened_at), "closed_at": moment(deal.closed_at)}
        for deal in known.deals
    ]
    given = [asdict(one) | {"at": moment(one.at)} for one in known.given]
    said |= {"scores": scores, "deals": deals, "assignments": given}
    said.pop("given")
    told_people = [told(one) for one in people]
    print(orjson.dumps({"account": asdict(found), **said, "leads": told_people}).decode())
