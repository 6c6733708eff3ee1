"""Deeds of persons on the outbox: fenced against senders, kept with who, when and why, never a second nurture mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.database import Database
from models.queries import interventions, messages
from models.queries.clearance import Terms
from models.queries.correspondence import Wanted, newest
from models.queries.interventions import Done, Order
from models.queries.messages import Settlement
from models.rules.interventions import Deed
from models.rules.outbox import MessageState
from tests.faulty_smtp import FaultyServer
from tests.integration.test_outbox import intend, intended, lease, mark, reap, row, settle
from tests.mail_world import alert, fill, make_workspace, nurture, rows, send_all

NOW = 1_772_540_000_000_000


def do(database: Database, deed: Deed, *ids: int, at: int = 50) -> Done:
    with database.write(durable=True) as connection:
        return interventions.carry_out(connection, ids, Order(deed, "ann", at, "the log says so"))


def doubtful(database: Database) -> int:
    """A nurture message whose sender died after the mark."""
    intend(database, intended("k1"))
    (mine,) = lease(database)
    mark(database, [mine.id])
    reap(database, clock=1000)
    return mine.id


@pytest.mark.feature("N8")
def test_doubt_is_resolved_by_a_person_and_only_then_sent_again(database: Database) -> None:
    number = doubtful(database)
    assert do(database, Deed.RETRY, number).refused == {number: "it is in doubt and may have arrived; resolve it first"}
    assert do(database, Deed.CANCEL, number).moved == 0
    assert do(database, Deed.NOT_SENT, number) == Done(1)
    found = row(database, "k1")
    assert (found["state"], found["reason"]) == ("failed", "not sent, says ann: the log says so")
    settle(database, Settlement(number, MessageState.SENT, sent_at=9))  # its sender, late: it is nobody's any more
    assert row(database, "k1")["state"] == "failed"
    assert do(database, Deed.RETRY, number) == Done(1)
    found = row(database, "k1")
    assert (found["state"], found["attempts"], found["next_attempt_at"], found["reason"]) == ("queued", 0, 50, None)
    assert [one.id for one in lease(database, "other", now=60)] == [number]
    with database.read() as connection:
        trail = interventions.trail(connection, [number])
    assert [(one.deed, one.from_state, one.actor, one.because, one.at) for one in trail] == [
        ("resolve not-sent", "unknown", "ann", "the log says so", 50),
        ("retry", "failed", "ann", "the log says so", 50),
    ]


def test_what_was_sent_is_never_sent_again(database: Database) -> None:
    number = doubtful(database)
    assert do(database, Deed.SENT, number) == Done(1)
    found = row(database, "k1")
    assert (found["state"], found["sent_at"], found["lease_owner"]) == ("sent", 10, None)  # when it was attempted
    for deed in Deed:
        assert do(database, deed, number).moved == 0
    assert do(database, Deed.RETRY, 999) == Done(0, {999: "there is no such message"})


def test_who_cancels_what_a_sender_prepares_keeps_its_dot_back(database: Database) -> None:
    intend(database, intended("k1"), intended("k2"))
    first, second = lease(database)
    assert mark(database, [second.id]) == {second.id}
    done = do(database, Deed.CANCEL, first.id, second.id)
    assert (done.moved, done.refused) == (1, {second.id: "a sender is at it; wait until it is done"})
    assert mark(database, [first.id]) == set()
    settle(database, Settlement(first.id, MessageState.QUEUED, counted=False))
    assert row(database, "k1")["state"] == "cancelled"


def test_many_are_chosen_by_what_is_known_of_them(database: Database) -> None:
    intend(database, *(intended(f"k{n}", recipient=f"lead{n}@example.net") for n in range(4)), intended("a", "alert"))
    taken = lease(database)
    for message, reason in zip(taken, ["550 100% full", "550 no user", "550 100x full", "x", "y"], strict=True):
        settle(database, Settlement(message.id, MessageState.FAILED, f"refused: {reason}"))
    with database.write(durable=True) as connection:
        full = interventions.allowed(connection, Wanted(state="failed", reason="100% FULL"), Deed.RETRY, 0, 10)
        nurtured = interventions.allowed(connection, Wanted(state="failed", kind="nurture"), Deed.RETRY, 0, 2)
        beyond = interventions.allowed(connection, Wanted(state="failed", kind="nurture"), Deed.RETRY, nurtured[-1], 9)
        none = interventions.allowed(connection, Wanted(state="failed"), Deed.CANCEL, 0, 10)
        other = interventions.allowed(connection, Wanted(state="failed", template="other"), Deed.RETRY, 0, 10)
    assert full == [taken[0].id]
    assert (len(nurtured), len(beyond), none, other) == (2, 2, [], [])
    with database.read() as connection:
        assert [one.id for one in newest(connection, Wanted(reason="no user"), 9)] == [taken[1].id]


def test_a_deed_waits_for_nobody_and_two_at_once_do_it_once(database: Database) -> None:
    from concurrent.futures import ThreadPoolExecutor

    number = doubtful(database)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda deed: do(database, deed, number), [Deed.SENT, Deed.NOT_SENT] * 4))
    assert sum(one.moved for one in done) == 1
    with database.read() as connection:
        assert len(interventions.trail(connection, [number])) == 1


async def test_a_retried_message_keeps_its_name_and_is_checked_again(tmp_path: Path) -> None:
    server = FaultyServer(plan=lambda number, what: ("rcpt", "550") if what == "message" and number < 3 else None)
    with server.running():
        workspace = make_workspace(tmp_path, "sqlite:///w.db", server.port, connections=1)
        fill(workspace, [nurture(1, NOW), alert(2, NOW)], NOW)
        assert (await send_all(workspace, NOW))["failed"] == 2
        assert do(workspace.database, Deed.RETRY, 1, 2, at=NOW).moved == 2
        with workspace.database.write() as connection:
            from models.queries.suppressions import NewSuppression, suppress
            from models.rules.tokens import suppression_digest

            digest = suppression_digest(workspace.secret_key, "lead1@example.net")
            suppress(connection, [NewSuppression(digest, "asked", NOW)])
        counts = await send_all(workspace, NOW)
        assert (counts["sent"], counts["cancelled"]) == (1, 1)
    found = {row["kind"]: row for row in rows(workspace)}
    assert server.accepted == [found["alert"]["message_id"]]
    assert found["nurture"]["reason"] == "suppressed: asked"
    workspace.database.close()


def test_a_lease_takes_nothing_that_was_cancelled(database: Database) -> None:
    intend(database, intended("k1"))
    assert do(database, Deed.CANCEL, 1).moved == 1
    with database.write(durable=True) as connection:
        taken = messages.lease(connection, owner="me", now=99, until=99, count=9, terms=Terms(b"secret"))
    assert taken.total == 0
