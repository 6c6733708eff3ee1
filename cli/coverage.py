"""`warmline coverage`: what the scoring models do not see, for the marketer who edits them next, or with `--json`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from models.errors import UsageError
from models.rules.counts import counted

if TYPE_CHECKING:
    from rich.text import Text

    from models.rules.coverage import AttributeUse, Coverage, Group, RuleUse
    from models.rules.lift import Lift

FINDINGS = {
    "no-touchpoint": "nothing in the data is of its kind: check the spelling of `on` and `where`",
    "no-traffic": "what it counts was not met in this time",
    "nobody": "holds for nobody",
    "everybody": "holds for everybody: it tells nobody apart",
}


def coverage(
    since: Annotated[
        str | None, typer.Option(help="Count what was done since this instant (ISO 8601; without a zone: UTC).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Lines in each table; --json has them all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What no rule scores although people meet it, rules that never match, attributes hardly filled, new content."""
    from models.rules.values import as_instant
    from tasks.coverage import cover

    start = None if since is None else as_instant(since)
    if since is not None and start is None:
        raise UsageError(f"--since: found {since!r}; allowed: an ISO 8601 time, such as 2026-03-02")
    found = cover(session.workspace(), time.time_ns() // 1000, start)
    if as_json:
        import orjson

        typer.echo(orjson.dumps(_told(found)).decode())
    else:
        _print(found, limit)


def _print(found: Coverage, limit: int) -> None:
    names = ", ".join(f"{name} v{version}" for name, version in found.models)
    session.out.print(f"[bold]Coverage[/] of {names}" + (f", since {_day(found.since)}" if found.since else ""))
    for sentence in _sentences(found):
        session.out.print(f"  {sentence}", markup=False, soft_wrap=True)
    own = [one for one in found.unscored if not one.is_sent]
    _print_unscored("Met, but no rule scores it", own, limit)
    telling = [one for one in found.general if one.lift and one.lift.verdict in ("more", "less")]
    telling.sort(key=lambda one: -one.lift.ratio if one.lift else 0.0)
    _print_unscored("Scored like any other of its type, though converters differ here", telling, limit)
    fresh = "–" if found.changed_at is None else _day(found.changed_at)
    new = [one for one in found.new if not one.is_sent]
    _print_unscored(f"New since the model was changed ({fresh})", new, limit, with_scored=True)
    _print_rules(found.idle, limit)
    _print_attributes(found, limit)


def _sentences(found: Coverage) -> list[str]:
    told = [
        f"{counted(found.activities, 'activity', 'activities')} of {counted(found.leads, 'lead')} "
        f"at {counted(found.touchpoints, 'touchpoint')}; {counted(found.converters, 'lead')} won a deal (converters)."
    ]
    if (share := found.share_scored) is not None:
        told.append(f"Rules score {share:.0%} of what leads did.")
    if sent := [one for one in found.unscored if one.is_sent]:
        number = sum(one.folder.activities for one in sent)
        told.append(
            f"{counted(number, 'record')} of mails sent and delivered left out below: that is not what leads did."
        )
    if found.machine:
        suspected = counted(sum(found.machine.values()), "activity", "activities")
        told.append(f"{suspected} left out, suspected machine: `warmline marks`.")
    if found.changed_at is None:
        told.append("Nothing was scored yet, so no content is new; `warmline run` scores.")
    elif found.edited:
        told.append(f"Edited since the last scoring: {', '.join(found.edited)}; read here as the files are now.")
    if not found.converters:
        told.append("No lead has a won deal yet, so nothing can be said about what converters met.")
    elif found.unscored or found.general or found.new:
        told.append(
            "÷ others: share of the converters that met it before they bought ÷ share of the others (99 % range)."
        )
    if any(len(one.folder.ids) > 1 and not one.folder.is_rest for one in (*found.unscored, *found.general, *found.new)):
        told.append("A number in brackets, (6): so many different touchpoints are told together.")
    return told


def _print_unscored(title: str, found: Sequence[Group], limit: int, with_scored: bool = False) -> None:
    from rich.text import Text

    rows = []
    for one in found[:limit]:
        what = Text.assemble((one.folder.type, "bold"), " ", one.folder.label)
        what.append(f" ({len(one.folder.ids):,})" if len(one.folder.ids) > 1 and not one.folder.is_rest else "", "dim")
        what.append(" · counts as a visit only" if one.as_visit else "", "dim")
        row: list[Any] = [what, f"{one.folder.activities:,}", f"{one.met.leads:,}"]
        row += [f"{one.met.converters:,}", _lift(one.lift)]
        rows.append([*row, "yes" if one.is_scored else "no"] if with_scored else row)
    head = ["what", "activities", "leads", "converters", "÷ others"]
    _table(title, [*head, "scored"] if with_scored else head, rows, left=1)
    _more(len(found), limit)


def _lift(found: Lift | None) -> Text:
    from rich.text import Text

    if found is None:
        return Text("–", "dim")
    if found.verdict == "unclear":
        return Text("too few to tell", "dim")
    style = {"more": "bold green", "less": "red", "alike": ""}[found.verdict]
    return Text(f"{found.ratio:.1f} ({found.low:.1f}–{found.high:.1f})", style)


def _print_rules(found: Sequence[RuleUse], limit: int) -> None:
    from rich.text import Text

    rows = [
        [Text(f"{use.model}: {use.place}"), Text(use.name, "bold"), FINDINGS[use.finding or "nobody"]]
        for use in found[:limit]
    ]
    _table("Rules that tell nothing", ["where", "rule", "finding"], rows, left=3)
    _more(len(found), limit)


def _print_attributes(found: Coverage, limit: int) -> None:
    from rich.text import Text

    from models.rules.coverage import MOSTLY

    def rows(uses: Sequence[AttributeUse]) -> list[list[Any]]:
        return [[Text(one.name), f"{1 - one.share_missing:.0%}", Text(", ".join(one.asked_by))] for one in uses[:limit]]

    empty = [one for one in found.asked if one.share_missing >= MOSTLY]
    _table("Rules ask for these, but most do not have them", ["attribute", "have it", "rules"], rows(empty))
    _more(len(empty), limit)
    _table("In the data, but no rule asks for these", ["attribute", "have it", ""], rows(found.unused))
    _more(len(found.unused), limit)


def _table(title: str, columns: list[str], rows: list[list[Any]], left: int = 2) -> None:
    from rich.table import Table

    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        is_left = index < left or column == "rules"
        no_wrap = column in ("activities", "converters", "÷ others")
        table.add_column(column, justify="left" if is_left else "right", overflow="fold", no_wrap=no_wrap)
    for row in rows:
        table.add_row(*row)
    session.out.print(table)


def _more(number: int, limit: int) -> None:
    if number > limit:
        session.out.print(f"  and {number - limit:,} more (--limit, --json)", style="dim", markup=False)


def _told(found: Coverage) -> dict[str, Any]:
    """The report as plain data: every group with its touchpoints, every rule, every attribute."""
    return {
        "as_of": _iso(found.as_of),
        "since": _iso(found.since),
        "changed_at": _iso(found.changed_at),
        "models": [{"name": n, "version": v, "edited": n in found.edited} for n, v in found.models],
        "leads": found.leads,
        "converters": found.converters,
        "touchpoints": {"met": found.touchpoints, "scored": found.scored_touchpoints},
        "activities": {"met": found.activities, "scored": found.scored_activities, "machine": found.machine},
        "unscored": [_told_group(one) for one in found.unscored],
        "general": [_told_group(one) for one in found.general],
        "new": [_told_group(one) for one in found.new],
        "rules": [vars(use) for use in found.rules],
        "attributes": {
            "asked": [_told_attribute(one) for one in found.asked],
            "unused": [_told_attribute(one) for one in found.unused],
        },
    }


def _told_group(one: Group) -> dict[str, Any]:
    return {
        "type": one.folder.type,
        "by": one.folder.by,
        "label": one.folder.label,
        "rest": one.folder.is_rest,
        "scored": one.is_scored,
        "as_visit": one.as_visit,
        "sent": one.is_sent,
        "activities": one.folder.activities,
        **one.met._asdict(),
        "lift": vars(one.lift) if one.lift else None,
        "first_seen_at": _iso(one.first_seen_at),
        "touchpoints": [
            {
                **{name: value for name, value in point._asdict().items() if value},
                "facets": dict(point.facets),
                "activities": activities,
                **met._asdict(),
            }
            for point, activities, met in one.points
        ],
    }


def _told_attribute(one: AttributeUse) -> dict[str, Any]:
    return {**vars(one), "share_missing": round(one.share_missing, 4)}


def _iso(at: int | None) -> str | None:
    from models.rules.instants import instant

    return None if at is None else instant(at).isoformat()


def _day(at: int | None) -> str:
    return (_iso(at) or "")[:10]
