"""What actions of lifecycle.yaml do: enrol, notify, adjust, call a webhook, tag. Collected for a batch, then written.

Decides what of it is possible (a sequence may not take the lead, nobody may be there to be told) and says so in words.
tasks.actions asks for it, and records what was told in the same transaction: every effect has a key of its own, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import orjson
from sqlalchemy import Connection

from models.queries import assignments, attributes, consents, enrolments, messages, staging, versions, webhooks
from models.queries.enrolments import NewEnrolment
from models.queries.messages import NewMessage
from models.queries.standings import Standing
from models.queries.webhooks import NewWebhook
from models.rules.actions import TAGS, Action, Crossing, Effect
from models.rules.conditions import Facts
from models.rules.instants import Micros, instant
from models.rules.outbox import MessageKind
from models.rules.sequences import NO_ADDRESS, Enrolled, Sequence, next_entry
from models.rules.webhooks import chosen
from models.tables import Lead
from models.workspace import Workspace
from tasks import adjustments, notices
from tasks.adjustments import Adjustment

SOURCE = "action"
"""Where a change of tags came from, in the history of attributes."""


@dataclass(frozen=True, slots=True)
class Call:
    """An effect that an action asks for: of which crossing, for which lead, which one in its list."""

    action: Action
    crossing: Crossing
    lead_id: int
    index: int
    effect: Effect

    @property
    def key(self) -> str:
        """Names it for ever."""
        return f"action:{self.action.name}:{self.crossing.key}:{self.lead_id}:{self.index}"


@dataclass
class Effects:
    """The effects of one transaction on leads of whom `standings` and `facts` tell."""

    workspace: Workspace
    connection: Connection
    now: Micros
    standings: Mapping[int, Standing]
    facts: Mapping[int, Facts]
    counts: Counter[str] = field(default_factory=Counter)
    _tags: dict[int, list[str]] = field(default_factory=dict)
    _entering: list[NewEnrolment] = field(default_factory=list)
    _ending: list[tuple[int, str]] = field(default_factory=list)
    _mail: list[NewMessage] = field(default_factory=list)
    _adjusting: list[Adjustment] = field(default_factory=list)
    _calling: list[NewWebhook] = field(default_factory=list)

    def take(self, call: Call) -> str:
        """Note one effect to be written; what it comes to, in words."""
        return {
            "enrol": self._enrol,
            "notify": self._notify,
            "adjust": self._adjust,
            "webhook": self._webhook,
            "tag": self._tag,
            "untag": self._untag,
        }[call.effect.kind](call)

    def write(self) -> None:
        """Write everything but what scoring has to look at (`touch`); leads first, as all who lock several tables."""
        self._write_tags()
        enrolments.end(self.connection, self._ending, self.now)
        enrolments.begin(self.connection, self._entering, self.now)
        messages.intend(self.connection, self._mail, message_ids=self.workspace.message_ids, now=self.now)
        webhooks.intend(self.connection, self._calling, self.now)

    def touch(self) -> None:
        """Write the adjustments, and queue for scoring whoever has one or has other tags."""
        adjustments.record(self.connection, self._adjusting, self.now, self._tags.keys())

    def _enrol(self, call: Call) -> str:
        name = str(call.effect.enrol)
        sequence, lead_id = self.workspace.sequences[name], call.lead_id
        past = self._past.setdefault(lead_id, [])
        running = [one for one in past if one.runs and not self._is_alongside(one.sequence)]
        if why := self._barred(lead_id, sequence, past, running):
            self.counts["unenrolled"] += 1
            return f"not enrolled in {name}: {why}"
        entry = next_entry(sequence, past, self.now)
        assert entry is not None
        if not sequence.alongside:
            self._ending += [(one.id, f"{name} has priority") for one in running if one.id]
            past[:] = [replace(one, state="exited", ended_at=self.now) if one in running else one for one in past]
        held = None if self.standings[lead_id].email else NO_ADDRESS
        self._entering.append(NewEnrolment(lead_id, name, entry, self._version(sequence), held))
        past.append(Enrolled(0, name, entry, 0, "active", None, self.now))
        self.counts["enrolled"] += 1
        return f"enrolled in {name}"

    def _barred(self, lead_id: int, sequence: Sequence, past: list[Enrolled], running: list[Enrolled]) -> str:
        """Why the lead may not enter, in words; empty if it may. The same asks as for a step `enrol` of a sequence."""
        standing, facts = self.standings[lead_id], self.facts[lead_id]
        if standing.excluded is not None:
            return f"excluded: {standing.excluded}"
        if lead_id in self._silent or (standing.email, self._topic(sequence)) in self._refused:
            return "no mail is wanted"
        if not sequence.admits(facts):
            return sequence.why_silent(facts.attributes) or f"it does not take a lead of stage {facts.stage}"
        if next_entry(sequence, past, self.now) is None:
            return "is or was in it"
        if not sequence.alongside:
            for one in running:
                other = self.workspace.sequences.get(one.sequence)
                if (0 if other is None else other.priority) >= sequence.priority:
                    return f"{one.sequence} goes on"
        return ""

    def _notify(self, call: Call) -> str:
        assert call.effect.notify is not None
        notify, standing = call.effect.notify, self.standings[call.lead_id]
        name, address = notices.recipient(notify, self.workspace.team.reps, standing, self._reps.get(call.lead_id))
        if not address:
            self.counts["unheard"] += 1
            return f"nobody to tell: {', '.join(notify.to)}"
        comes_from = f"{call.action.name} ({call.crossing.told})"
        self._mail.append(
            NewMessage(
                idempotency_key=f"notify:{call.key}",
                kind=MessageKind.ALERT,
                recipient=address,
                template=notify.template,
                payload=dict(notices.notice(notify, standing, name, "", comes_from)),
                next_attempt_at=self.now,
                lead_id=call.lead_id,
            )
        )
        self.counts["told"] += 1
        return f"told {name}"

    def _adjust(self, call: Call) -> str:
        name = str(call.effect.adjust)
        self._adjusting.append(Adjustment(call.key, call.lead_id, name, call.action.name))
        self.counts["adjusted"] += 1
        return f"adjusted the score: {name}"

    def _webhook(self, call: Call) -> str:
        name = str(call.effect.webhook)
        endpoint = self.workspace.settings.webhooks[name]
        lead = {"id": call.lead_id, **chosen(self._known(call.lead_id), endpoint.fields)}
        crossing = call.crossing
        body = {
            "type": f"{'cell' if crossing.of == 'grid' else crossing.of}.{_ED[call.action.side]}",
            "at": instant(crossing.at).isoformat(),
            "action": call.action.name,
            "lead": lead,
            "cause": {
                "model": crossing.model,
                "from": crossing.before,
                "to": crossing.after,
                "because": crossing.because,
            },
        }
        self._calling.append(NewWebhook(call.key, name, body, call.lead_id))
        self.counts["called"] += 1
        return f"webhook {name}"

    def _known(self, lead_id: int) -> dict[str, Any]:
        """What a webhook may tell of a lead, by the names of `fields`."""
        return {**self.standings[lead_id].told(), TAGS: self._tags_of(lead_id)}

    def _tag(self, call: Call) -> str:
        tag, tags = str(call.effect.tag), self._tags_of(call.lead_id)
        if tag in tags:
            return f"has the tag {tag} already"
        self._tags[call.lead_id] = [*tags, tag]
        self.counts["tagged"] += 1
        return f"tagged {tag}"

    def _untag(self, call: Call) -> str:
        tag, tags = str(call.effect.untag), self._tags_of(call.lead_id)
        if tag not in tags:
            return f"has no tag {tag}"
        self._tags[call.lead_id] = [one for one in tags if one != tag]
        self.counts["tagged"] += 1
        return f"tag {tag} taken away"

    def _tags_of(self, lead_id: int) -> list[str]:
        if lead_id in self._tags:
            return self._tags[lead_id]
        said = self.standings[lead_id].attributes.get(TAGS)
        return [str(one) for one in said] if isinstance(said, list) else [] if said in (None, "") else [str(said)]

    def _write_tags(self) -> None:
        if not self._tags:
            return
        lock = "" if staging.is_sqlite(self.connection) else " ORDER BY id FOR NO KEY UPDATE"
        statement = "SELECT id, attributes FROM leads WHERE id {among}" + lock
        rows, changes = [], []
        for lead_id, said in staging.select_among(self.connection, statement, sorted(self._tags), "bigint"):
            tags = self._tags[lead_id] or None  # without any, the attribute is missing
            known = {**orjson.loads(said), TAGS: tags}
            kept = {name: value for name, value in known.items() if value is not None}
            rows.append((orjson.dumps(kept, option=orjson.OPT_SORT_KEYS).decode(), lead_id))
            changes.append(attributes.change("lead", lead_id, self.now, self.now, SOURCE, {TAGS: tags}))
        staging.update(self.connection, Lead, ("attributes",), rows)
        attributes.append(self.connection, changes)

    def _version(self, sequence: Sequence) -> int:
        digest, content = sequence.digest(), sequence.content()
        return versions.activate(self.connection, "sequence", sequence.name, digest, content, self.now)

    def _topic(self, sequence: Sequence) -> str:
        return self.workspace.settings.consent.topic(sequence.topic)

    def _is_alongside(self, name: str) -> bool:
        return name in self.workspace.sequences and self.workspace.sequences[name].alongside

    @cached_property
    def _past(self) -> dict[int, list[Enrolled]]:
        return enrolments.of_leads(self.connection, list(self.standings))

    @cached_property
    def _silent(self) -> set[int]:
        return enrolments.opted_out(self.connection, list(self.standings), self.now)

    @cached_property
    def _refused(self) -> set[tuple[str | None, str]]:
        workspace = self.workspace
        topics = {self._topic(sequence) for sequence in workspace.sequences.values()}
        wanted = {(email, topic) for one in self.standings.values() if (email := one.email) for topic in topics}
        rules = workspace.settings.consent
        return {*consents.refusals(self.connection, workspace.secret_key, rules, wanted, self.now)}

    @cached_property
    def _reps(self) -> dict[int, str]:
        latest = assignments.latest(self.connection, list(self.standings))
        return {lead_id: had.rep for lead_id, had in latest.items()}


_ED = {"on_enter": "entered", "on_leave": "left"}
