"""Leads that did something just now → their score, stage, salesperson, ahead of everybody else who waits.

Decides nothing of its own: the same functions as in the scheduled flows, for the leads of the queue `express` alone, so
that a hundred thousand imported ones do not stand before the one who asks for a demo. A mark is taken away when its
lead was routed: killed before, it is done again and finds less to do. Next: tasks.delivery.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from prefect import task

from models.queries import assignments, crossings, messages, queue, subjects
from models.queries.stages import CROSSED
from models.rules.instants import Micros
from models.workspace import Workspace
from tasks import unassigned
from tasks.actions import Actor
from tasks.consents import collect_among
from tasks.marking import mark_some
from tasks.router import Router
from tasks.scoring import Scorer, kinds

MOST = 250
"""Leads of one run: about a second. Of more, the rest is the next run's."""
ROUNDS = 3
"""How often a lead is tried that another worker had in hand at that moment; then the schedule sees to it."""
ROUTED = 50
"""Leads of one transaction of routing."""
Marks = list[tuple[int, int]]
"""(lead, revision) of the queue `express`."""


def is_waiting(workspace: Workspace, now: int) -> bool:
    """Whether a lead is in a hurry, or a message that somebody waits for is due at `now`: two looks into an index."""
    with workspace.database.read() as connection:
        return bool(queue.read(connection, queue.EXPRESS, 1)) or messages.is_urgent_due(connection, now)


def list_express(workspace: str) -> Marks:
    """Who is in a hurry in the workspace folder, at most MOST.

    To be asked before the clock says as of when they are scored: what they did by now then counts.
    """
    opened = Workspace.open(Path(workspace))
    try:
        with opened.database.read() as connection:
            return queue.read(connection, queue.EXPRESS, MOST)
    finally:
        opened.database.close()


@task(name="score-express")
def score_express(workspace: str, now: int, marks: Marks) -> dict[str, int]:
    """Score these leads of the workspace folder; suspected machines are marked first."""
    opened = _opened(workspace)
    try:
        return dict(score(opened, now, [lead_id for lead_id, _ in marks]))
    finally:
        opened.database.close()


def score(workspace: Workspace, now: int, leads: list[int]) -> Counter[str]:
    """Score these leads (ascending), then their accounts and deals where there are models of them.

    Also those that are not queued: a scheduled run may just have scored them as of an instant before their act.
    Counts: scored, changed, marked.
    """
    counts = Counter(scored=0, changed=0, marked=mark_some(workspace, now, leads)["marked"])
    for of in kinds(workspace):
        with workspace.database.read() as connection:
            ids = leads if of == "lead" else subjects.behind(connection, of, leads)
        scorer = Scorer(workspace, now, "touched", of)
        for _ in range(ROUNDS):
            scorer.these(ids, counts)
            if not _is_queued(workspace, subjects.QUEUES[of], ids):
                break
    return counts


@task(name="route-express")
def route_express(workspace: str, now: int, marks: Marks) -> dict[str, int]:
    """Route these leads of the workspace folder, do what follows from their crossings, and take their marks away."""
    opened = _opened(workspace)
    try:
        counts = route(opened, Micros(now), [lead_id for lead_id, _ in marks])
        with opened.database.write() as connection:
            queue.done(connection, queue.EXPRESS, marks)
        return dict(counts)
    finally:
        opened.database.close()


def route(workspace: Workspace, now: Micros, leads: list[int]) -> Counter[str]:
    """Consents, stages, assignments, enrolments and actions of these leads; the counts of the scheduled functions."""
    counts = collect_among(workspace, now, leads)
    router, actor = Router(workspace, now), Actor(workspace, now)
    actor.begin()
    for start in range(0, len(leads), ROUTED):
        some = leads[start : start + ROUTED]
        for number in range(ROUNDS):
            if not (_is_queued(workspace, "route", some) or (number == 0 and _is_wanting(workspace, some))):
                break
            with workspace.database.write(durable=True) as connection:
                counts.update(router.these(connection, some))
        for name in (CROSSED, crossings.QUEUES["lead"]):
            if _is_queued(workspace, name, some):
                with workspace.database.write(durable=True) as connection:
                    counts.update(actor.batch(connection, name, "lead", some))
    if counts["held"]:
        unassigned.warn(workspace, counts["held"])
    return counts


def _opened(workspace: str) -> Workspace:
    opened = Workspace.open(Path(workspace))
    opened.database.is_urgent = True
    return opened


def _is_wanting(workspace: Workspace, leads: list[int]) -> bool:
    """Whether nobody has one of the leads: a scheduled run moved it a moment ago, and gives it away at its end."""
    with workspace.database.read() as connection:
        return bool(assignments.unassigned(connection, workspace.scoring.name, leads))


def _is_queued(workspace: Workspace, name: str, leads: list[int]) -> bool:
    with workspace.database.read() as connection:
        return bool(queue.among(connection, name, leads))
