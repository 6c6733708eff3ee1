"""Audiences out of the database: the leads looked through once, and each receiver told who came and who left.

Decides how the work is cut: chunks of leads, pages of members, one transaction each, so that a million leads take no
more memory than a thousand, and a run that was killed is made up for by the next. models.rules.audiences decides who is
a member, models.queries.audiences what a receiver knows; webhooks go out by the outbox of all webhooks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection

from models.queries import acts, audiences, consents, ratings, standings, suppressions
from models.queries.audiences import FILE, WEBHOOK
from models.queries.standings import Standing
from models.rules.audiences import NO_ADDRESS, Audience, email_digest
from models.rules.conditions import Facts, further_models
from models.rules.outbox import MessageKind
from models.workspace import Workspace
from tasks.retargeting import ChangesFile, Sink, Webhooks, WholeFile

CHUNK = 4_096
"""Leads that are looked at together."""


class Member(NamedTuple):
    """Somebody who is in an audience."""

    lead_id: int
    digest: bytes
    known: Mapping[str, Any]
    """What may be told of the lead, by name."""


class Job(NamedTuple):
    """An audience, to be told to a receiver; without one only counted."""

    name: str
    audience: Audience
    sink: Sink | None = None


class LookingThrough:
    """All leads, looked through once for some audiences at the instant `now`."""

    def __init__(self, workspace: Workspace, wanted: Mapping[str, Audience], now: int) -> None:
        self.counts: dict[str, Counter[str]] = {name: Counter(members=0) for name in wanted}
        """Audience → `members`, and how many whom it means were left out, by the reason."""
        self._workspace, self._wanted, self._now = workspace, wanted, now
        conditions = [audience.who for audience in wanted.values()]
        self._attributes = frozenset[str]().union(*(one.attributes() for one in conditions))
        self._questions = [question for one in conditions for question in one.questions()]
        named = further_models(conditions)
        self._rated = {name: model.of for name, model in workspace.models.items() if name in named} if named else {}
        self._stages = (
            sorted({name for one in conditions for name in one.stages}) if all(one.stages for one in conditions) else []
        )

    def chunks(self) -> Iterator[dict[str, list[Member]]]:
        """Audience → its members among the next leads, until there are no more."""
        after = 0
        while True:
            with self._workspace.database.read() as connection:
                ids = audiences.lead_ids(connection, after, CHUNK, self._stages)
                if not ids:
                    return
                found = standings.read(connection, ids, self._workspace.scoring.name, self._now)
                facts = self._facts(connection, found)
                members = {
                    name: self._members(connection, name, audience, found, facts)
                    for name, audience in self._wanted.items()
                }
            yield members
            after = ids[-1]

    def _facts(self, connection: Connection, found: Mapping[int, Standing]) -> dict[int, Facts]:
        attributes = standings.derived(connection, found.values(), self._attributes, self._now)
        rated = ratings.read(connection, list(found), self._rated, self._now)
        done = acts.asked(connection, list(found), self._questions, self._now) if self._questions else {}
        return {
            key: one.facts(attributes[key], rated.get(key), done.get(key, ()), self._now) for key, one in found.items()
        }

    def _members(
        self,
        connection: Connection,
        name: str,
        audience: Audience,
        found: Mapping[int, Standing],
        facts: Mapping[int, Facts],
    ) -> list[Member]:
        holds, counts = audience.who.check, self.counts[name]
        meant: dict[int, str] = {}
        for key, one in found.items():
            if not holds(facts[key]):
                continue
            if why := audience.keeps_out(facts[key], one.email):
                counts[_kind(why)] += 1
            else:
                meant[key] = one.email or ""
        barred = self._barred(connection, audience, set(meant.values()))
        members = []
        for key, email in meant.items():
            if why := barred.get(email, ""):
                counts[_kind(why)] += 1
            else:
                members.append(Member(key, email_digest(email), found[key].told()))
        counts["members"] += len(members)
        return members

    def _barred(self, connection: Connection, audience: Audience, emails: set[str]) -> dict[str, str]:
        """Address → why nothing may be addressed to it: suppressed, or without the consent that the audience asks."""
        settings, secret = self._workspace.settings, self._workspace.secret_key
        held = suppressions.reasons(connection, secret, {(email, MessageKind.NURTURE) for email in emails})
        found = {email: "suppressed" for email, _ in held}
        rules = audience.consent(settings.consent)
        asked = {(email, rules.topic(audience.topic)) for email in emails}
        refused = consents.refusals(connection, secret, rules, asked, self._now)
        return {email: "no consent" for email, _ in refused} | found


def _kind(why: str) -> str:
    """The reason without what was found."""
    return why if why == NO_ADDRESS else why.partition(":")[0]


def survey(workspace: Workspace, wanted: Mapping[str, Audience], now: int) -> dict[str, Counter[str]]:
    """How many members each audience has, and how many whom it means were left out, by reason. Changes nothing."""
    looking = LookingThrough(workspace, wanted, now)
    for _ in looking.chunks():
        pass
    return looking.counts


def export(workspace: Workspace, jobs: Sequence[Job], now: int) -> dict[str, Counter[str]]:
    """Tell each receiver of its audience, at `now` (programme time); the counts of `survey`, and `added`, `removed`.

    Safe to kill and to repeat: who was told is written down with what tells it, or after the file stands.
    """
    looking = LookingThrough(workspace, {job.name: job.audience for job in jobs}, now)
    sinks = [(job.name, job.sink) for job in jobs if job.sink is not None]
    try:
        for members in looking.chunks():
            for name, sink in sinks:
                sink.take(members[name])
        for name, sink in sinks:
            looking.counts[name].update(sink.finish(looking.counts[name]["members"]))
    finally:
        for _, sink in sinks:
            sink.close()
    return looking.counts


def sink(workspace: Workspace, name: str, audience: Audience, to: str | Path, now: int, changes: bool) -> Sink:
    """What takes the members: a file, or the endpoint behind `webhook:`."""
    if isinstance(to, str):
        return Webhooks(workspace, name, audience.columns, now, to.removeprefix(WEBHOOK))
    return (ChangesFile if changes else WholeFile)(workspace, name, audience.columns, now, to)


def due(workspace: Workspace, now: int) -> list[Job]:
    """The audiences whose files say where to put them, and whose time has come."""
    named = {name: audience for name, audience in workspace.audiences.items() if audience.to is not None}
    if not named:
        return []
    with workspace.database.read() as connection:
        last = {(one.audience, one.destination): one.at for one in audiences.last_exports(connection)}
    jobs = []
    for name, audience in named.items():
        assert audience.to is not None
        destination = FILE if audience.to.webhook is None else f"{WEBHOOK}{audience.to.webhook}"
        before = last.get((name, destination))
        if before is None or before + audience.to.every <= now:
            to = workspace.root / audience.to.file if audience.to.file else destination
            jobs.append(Job(name, audience, sink(workspace, name, audience, to, now, audience.to.changes)))
    return jobs
