"""What a lead leaves to the one it is merged into: identities, what is known of it, its deals, its mail, its rep.

Decides what of both is kept where only one can be: the running assignment, the running enrolment. Its activities move
in steps (models.queries.merges), its history of stages and scores stays under its old id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, text

from models.queries import attributes, enrolments, leads, stages, staging, suppressions, versions
from models.queries.attributes import ACCOUNT, ADDRESS, OWNER
from models.queries.leads import People
from models.queries.stages import StageMove
from models.queries.suppressions import NewSuppression
from models.rules import merging
from models.rules.outbox import MessageKind
from models.rules.past import CREATED, EMAIL
from models.rules.tokens import suppression_digest

ACTOR = stages.MERGED
_RUNNING = ("active", "held")
_ENROLLED = """
    SELECT lead_id, id, sequence, entry, state, version_id FROM enrolments WHERE lead_id {among} ORDER BY lead_id, id
"""


@dataclass(frozen=True, slots=True)
class Succession:
    """A lead that becomes another one. `since`: when that was known (µs); None: as if it had always been so."""

    loser: int
    survivor: int
    since: int | None

    def recorded(self, at: int) -> int:
        """Since when the survivor has what the loser had since `at`: its scores of before stay what they were."""
        return at if self.since is None else max(at, self.since)


def execute(connection: Connection, statement: str, given: Sequence[Mapping[str, Any]]) -> None:
    """Run the statement for each of the given parameters, at once."""
    if given:
        connection.execute(text(statement), list(given))


def hand_over(
    connection: Connection, going: Sequence[Succession], now: int, secret: Callable[[], bytes]
) -> dict[int, dict[str, Any]]:
    """Give all but activities to the survivors; each loser's row as it was. To be called once for each."""
    if not going:
        return {}
    enrolled = _by_lead(connection, _ENROLLED, going)  # locked before leads, as nurture does it: no deadlock
    before = _rows(connection, sorted({lead for one in going for lead in (one.loser, one.survivor)}))
    _tell(connection, going)
    _move_stages(connection, going, before, now)
    _merge_assignments(connection, going, now)
    _merge_enrolments(connection, going, enrolled, now)
    _move_references(connection, going)
    _suppress(connection, going, now, secret)
    return {one.loser: before[one.loser] for one in going}


_LEAD = (
    "id",
    "account_id",
    "email",
    "stage",
    "stage_at",
    "stage_said",
    "owner",
    "attributes",
    "created_at",
    "recorded_at",
)


def _rows(connection: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    statement = f"SELECT {', '.join(_LEAD)} FROM leads WHERE id {{among}}"
    return {
        row[0]: dict(zip(_LEAD, row, strict=True)) for row in staging.select_among(connection, statement, ids, "bigint")
    }


_SAID = """
    SELECT subject_id, occurred_at, recorded_at, source, changes, device FROM attribute_changes
    WHERE subject = 'lead' AND subject_id {among} ORDER BY id
"""


def _tell(connection: Connection, going: Sequence[Succession]) -> None:
    """What was said of the losers is said of the survivors, at the same instants; the newest statement holds."""
    wanted = {lead for one in going for lead in (one.loser, one.survivor)}
    people = leads.load(connection, wanted, wanted)
    named = leads.first_addresses(connection, wanted)
    said: dict[int, list[staging.Row]] = defaultdict(list)
    for lead, *row in staging.select_among(connection, _SAID, sorted(one.loser for one in going), "bigint"):
        said[lead].append(tuple(row))
    for one in going:
        accounts = {
            key: person.account_id
            for person in (people.by_id[one.loser], people.by_id[one.survivor])
            if (key := person.subject.current.get(ACCOUNT)) is not None
        }
        for at, recorded_at, source, changes, device in said[one.loser]:
            told = {name: value for name, value in orjson.loads(changes).items() if name not in (EMAIL, CREATED)}
            person = people.by_id[one.survivor]
            if delta := person.subject.held_at(told, at, device):
                known_since = one.recorded(recorded_at)
                people.changes.append(attributes.change("lead", one.survivor, at, known_since, source, delta, device))
                person.is_changed = True
        if one.loser in named:
            named[one.survivor] = min(named[one.loser], named.get(one.survivor, named[one.loser]))
        _tell_columns(people, one, accounts, named.get(one.survivor))
    leads.save(connection, people)
    attributes.append(connection, people.changes)


def _tell_columns(
    people: People, one: Succession, accounts: Mapping[str, int | None], named: tuple[int, str] | None
) -> None:
    person, gone = people.by_id[one.survivor], people.by_id[one.loser]
    person.owner = person.subject.current.get(OWNER, person.owner or gone.owner)
    person.account_id = accounts.get(person.subject.current.get(ACCOUNT, ""), person.account_id or gone.account_id)
    created_at, email = person.created_at, person.email
    if leads.came_to_be(people, one.survivor, gone.created_at, gone.recorded_at):
        _note(people, one, CREATED, created_at, person.created_at)
    # As models.queries.intakes chooses it: what was stated last, else what was named first.
    stated = person.subject.stated(ADDRESS) or (named[1] if named else None)
    if leads.address(people, one.survivor, stated):
        _note(people, one, EMAIL, email, person.email)


def _note(people: People, one: Succession, name: str, before: object, after: object) -> None:
    if one.since is not None:
        said = {name: {"from": before, "to": after}}
        people.changes.append(attributes.change("lead", one.survivor, one.since, one.since, ACTOR, said))


def _move_stages(
    connection: Connection, going: Sequence[Succession], before: Mapping[int, Mapping[str, Any]], now: int
) -> None:
    """The further stage of both holds, by legal moves, each with the row that says why."""
    at = {one.survivor: str(before[one.survivor]["stage"]) for one in going}
    hops: list[list[StageMove]] = []
    for one in going:
        theirs, ours = str(before[one.loser]["stage"]), at[one.survivor]
        cause = f"one person with lead {one.loser}, which was {theirs}"
        for stage in merging.way(ours, merging.further(ours, theirs)):
            # "person": whoever moved the other lead there may have; the table of legal moves allows a person the most.
            holds = before[one.loser]["stage_said"] is not None
            hops.append([StageMove(one.survivor, at[one.survivor], stage, "person", cause, ACTOR, holds=holds)])
            at[one.survivor] = stage
    for moves in hops:
        stages.move(
            connection, moves, now - 1
        )  # scoring at `now` follows it; a move at `now` would count as made after


_ASSIGNED = "SELECT lead_id, id, ordinal, state FROM assignments WHERE lead_id {among} ORDER BY lead_id, ordinal"


def _merge_assignments(connection: Connection, going: Sequence[Succession], now: int) -> None:
    """The survivor's running assignment stays, else the loser's goes on; the newest of a lead is the running one."""
    known = _by_lead(connection, _ASSIGNED, going)
    moved, ended = [], []
    for one in going:
        own, theirs = known[one.survivor], known.pop(one.loser, [])
        keeps_own = any(row[2] in ("open", "accepted") for row in own)
        if keeps_own:  # below the survivor's: ordinals of 0 and less are those of a lead that was merged
            shift = min(row[1] for row in own) - 1 - max((row[1] for row in theirs), default=0)
            ended += [{"id": row[0], "now": now} for row in theirs if row[2] in ("open", "accepted")]
        else:
            shift = max((row[1] for row in own), default=0)
        moved += [{"id": row[0], "lead": one.survivor, "ordinal": row[1] + shift} for row in theirs]
        known[one.survivor] += [
            (row[0], row[1] + shift, "closed" if keeps_own and row[2] in ("open", "accepted") else row[2])
            for row in theirs
        ]
    ending = """
        UPDATE assignments SET state = 'closed', ended_at = :now, due_at = NULL, ended_by = 'merge',
            ended_because = 'another lead with a rep is the same person' WHERE id = :id
    """
    execute(connection, ending, ended)
    execute(connection, "UPDATE assignments SET lead_id = :lead, ordinal = :ordinal WHERE id = :id", moved)


def _merge_enrolments(
    connection: Connection, going: Sequence[Succession], known: dict[int, list[Any]], now: int
) -> None:
    """One sequence at most runs on, beside those that run alongside; none that the survivor is or was in begins anew:
    its mails were sent."""
    moved, ended, dropped = [], [], []
    beside = _alongside(connection, {row[4] for enrolled in known.values() for row in enrolled})
    for one in going:
        own, theirs = known[one.survivor], known.pop(one.loser, [])
        entries: dict[str, int] = {}
        for _, sequence, entry, *_ in own:
            entries[sequence] = max(entry, entries.get(sequence, 0))
        is_busy = any(state in _RUNNING and version not in beside for *_, state, version in own)
        for key, sequence, entry, state, version in theirs:
            if entry == 0 and sequence in entries:  # they only qualified early, the survivor is known there
                dropped.append({"id": key})
                continue
            is_exclusive = version not in beside
            if state in _RUNNING and ((is_busy and is_exclusive) or sequence in entries):
                reason = f"one person with lead {one.survivor}, which is or was nurtured already"
                ended.append({"id": key, "now": now, "reason": reason})
                state = "exited"
            is_busy = is_busy or (is_exclusive and state in _RUNNING)
            moved.append({"id": key, "lead": one.survivor, "entry": entry + entries.get(sequence, 0)})
            known[one.survivor].append((key, sequence, entry + entries.get(sequence, 0), state, version))
    execute(
        connection,
        "UPDATE enrolments SET state = 'exited', due_at = NULL, ended_at = :now, reason = :reason WHERE id = :id",
        ended,
    )
    execute(connection, "DELETE FROM enrolments WHERE id = :id", dropped)
    execute(connection, "UPDATE enrolments SET lead_id = :lead, entry = :entry WHERE id = :id", moved)
    enrolments.addressed(connection, sorted({one["lead"] for one in moved}), now)  # if it has an address


_CONTENTS = "SELECT id, content FROM programme_versions WHERE id {among}"


def _alongside(connection: Connection, versions_of: set[int]) -> set[int]:
    """Those of the versions of sequences that say `alongside`: they run beside others."""
    rows = staging.select_among(connection, _CONTENTS, sorted(versions_of), "bigint")
    return {key for key, content in rows if orjson.loads(content).get("alongside")}


def _by_lead(connection: Connection, statement: str, going: Sequence[Succession]) -> dict[int, list[Any]]:
    ids = sorted({lead for one in going for lead in (one.loser, one.survivor)})
    found: dict[int, list[Any]] = defaultdict(list)
    lock = "" if staging.is_sqlite(connection) else " FOR UPDATE"
    for lead, *row in staging.select_among(connection, statement + lock, ids, "bigint"):
        found[lead].append(tuple(row))
    return found


def _move_references(connection: Connection, going: Sequence[Succession]) -> None:
    given = [{"loser": one.loser, "survivor": one.survivor, "since": one.since or 0} for one in going]
    known_since = "recorded_at = CASE WHEN recorded_at < :since THEN :since ELSE recorded_at END"
    execute(connection, f"UPDATE identities SET lead_id = :survivor, {known_since} WHERE lead_id = :loser", given)
    execute(connection, "UPDATE deals SET lead_id = :survivor WHERE lead_id = :loser", given)
    execute(connection, "UPDATE messages SET lead_id = :survivor WHERE lead_id = :loser", given)


_ADDRESSES = "SELECT lead_id, value FROM identities WHERE kind = 'email' AND lead_id {among}"


def _suppress(connection: Connection, going: Sequence[Succession], now: int, secret: Callable[[], bytes]) -> None:
    """Who asked for no more mail at one of the addresses gets none at the others."""
    if connection.exec_driver_sql("SELECT 1 FROM suppressions LIMIT 1").first() is None:
        return
    of_lead: dict[int, set[str]] = defaultdict(set)
    survivors = sorted({one.survivor for one in going})
    for lead, address in staging.select_among(connection, _ADDRESSES, survivors, "bigint"):
        of_lead[lead].add(address)
    kinds = {"all": MessageKind.ALERT.value, "nurture": MessageKind.NURTURE.value}
    asked = {(address, kind) for found in of_lead.values() for address in found for kind in kinds.values()}
    held = suppressions.reasons(connection, secret(), asked)
    rows: list[NewSuppression] = []
    for addresses in of_lead.values():
        for scope in ("all", "nurture"):
            why = sorted(held[address, kinds[scope]] for address in addresses if (address, kinds[scope]) in held)
            rows += [
                NewSuppression(
                    suppression_digest(secret(), address), why[0], now, "all" if scope == "all" else "nurture"
                )
                for address in sorted(addresses)
                if why and (address, kinds[scope]) not in held
            ]
    suppressions.suppress(connection, rows)


def forget_scores(connection: Connection, losers: Sequence[int]) -> None:
    """Drop the current scores of these leads by models of leads; ids of accounts and deals are others' ids."""
    models = versions.latest(connection, "models", "models")
    given: list[dict[str, Any]] = [{"id": key} for key in losers]
    if models is None:
        execute(connection, "DELETE FROM scores WHERE subject_id = :id", given)
        return
    names = [name for name, of in orjson.loads(models).items() if of == "lead"]
    given = [{**one, "model": name} for one in given for name in names]
    execute(connection, "DELETE FROM scores WHERE subject_id = :id AND model = :model", given)
