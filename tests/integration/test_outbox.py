"""How rows of the outbox move: intended once, leased by one, fenced, reaped; and the questions that it answers."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, text

from models.database import Database
from models.queries import correspondence, messages
from models.queries.clearance import Terms
from models.queries.messages import Leased, NewMessage, Reaped, Settlement
from models.queries.suppressions import NewSuppression, suppress
from models.rules.mail import MessageIds
from models.rules.outbox import MessageState
from models.rules.tokens import suppression_digest

IDS = MessageIds(b"secret", "warmline.example")
SECRET = b"secret"


def intended(
    key: str, kind: str = "nurture", at: int = 0, recipient: str = "ann@example.net", **given: Any
) -> NewMessage:
    return NewMessage(key, kind, recipient, "welcome", {"b": 1, "a": "ä"}, at, **given)


def intend(database: Database, *rows: NewMessage) -> int:
    with database.write(durable=True) as connection:
        return messages.intend(connection, rows, message_ids=IDS, now=5)


def lease(database: Database, owner: str = "me", now: int = 10, until: int = 100, count: int = 10) -> list[Leased]:
    with database.write(durable=True) as connection:
        terms = Terms(SECRET)
        return messages.lease(connection, owner=owner, now=now, until=until, count=count, terms=terms).messages


def mark(database: Database, ids: list[int], owner: str = "me", clock: int = 50, until: int = 200) -> set[int]:
    with database.write(durable=True) as connection:
        return messages.mark_sending(connection, ids, owner=owner, clock=clock, until=until)


def settle(database: Database, outcome: Settlement, owner: str = "me") -> None:
    with database.write(durable=True) as connection:
        messages.settle(connection, [outcome], owner=owner)


def reap(database: Database, clock: int, dead: tuple[str, ...] = (), attempts: int = 5) -> Reaped:
    with database.write(durable=True) as connection:
        return messages.reap(connection, clock=clock, dead=dead, attempts=attempts)


def row(database: Database, key: str) -> dict[str, Any]:
    with database.read() as connection:
        statement = text("SELECT * FROM messages WHERE idempotency_key = :key")
        return dict(connection.execute(statement, {"key": key}).mappings().one())


def test_intending_twice_makes_one_message(database: Database) -> None:
    assert intend(database, intended("k1"), intended("k2")) == 2
    assert intend(database, intended("k1"), intended("k3")) == 1
    assert intend(database) == 0
    found = row(database, "k1")
    assert found["state"] == "queued"
    assert found["payload"] == '{"a":"ä","b":1}'
    assert found["message_id"] == IDS.of("k1")


def test_what_is_due_is_leased_once_alerts_first(database: Database) -> None:
    intend(database, intended("n1", at=1), intended("later", at=11), intended("a1", "alert", at=9), intended("n0"))
    assert [m.idempotency_key for m in lease(database, count=2)] == ["a1", "n0"]
    assert [m.idempotency_key for m in lease(database, "other")] == ["n1"]
    assert lease(database) == []


def test_only_the_owner_of_a_living_lease_may_mark(database: Database) -> None:
    intend(database, intended("k1"), intended("k2"))
    ids = [m.id for m in lease(database)]
    assert mark(database, ids, owner="other") == set()
    assert mark(database, ids, clock=100) == set()
    assert mark(database, ids[:1]) == {ids[0]}
    assert mark(database, ids[:1]) == set()
    assert row(database, "k1")["lease_until"] == 200


def test_a_late_sender_changes_nothing_of_its_successor(database: Database) -> None:
    intend(database, intended("k1"))
    (mine,) = lease(database)
    assert reap(database, clock=100) == Reaped(queued=1)
    (theirs,) = lease(database, "other", until=300)
    assert mark(database, [mine.id]) == set()
    settle(database, Settlement(mine.id, MessageState.FAILED, "late"))
    assert row(database, "k1")["state"] == "leased"
    settle(database, Settlement(theirs.id, MessageState.SENT, reply="250 ok", sent_at=12), "other")
    found = row(database, "k1")
    assert (found["state"], found["sent_at"], found["reply"], found["lease_owner"]) == ("sent", 12, "250 ok", None)
    assert found["attempts"] == 2


def test_an_expired_mark_is_doubt_for_nurture_and_another_try_for_an_alert(database: Database) -> None:
    intend(database, intended("n"), intended("a", "alert"))
    assert len(mark(database, [m.id for m in lease(database)])) == 2
    assert reap(database, clock=199) == Reaped()
    assert reap(database, clock=200) == Reaped(queued=1, unknown=1)
    assert row(database, "n")["state"] == "unknown"
    assert "may have arrived" in row(database, "n")["reason"]
    assert row(database, "a")["state"] == "queued"
    assert row(database, "a")["message_id"] == IDS.of("a")
    assert [m.idempotency_key for m in lease(database, "other")] == ["a"]


def test_the_lease_of_a_dead_process_is_free_at_once(database: Database) -> None:
    intend(database, intended("k1"), intended("k2"))
    lease(database, "dead", count=1)
    lease(database, "alive", count=1)
    with database.read() as connection:
        assert sorted(messages.owners(connection)) == ["alive", "dead"]
    assert reap(database, clock=1, dead=("dead",)) == Reaped(queued=1)


def test_the_own_sender_that_comes_back_late_turns_doubt_into_sent(database: Database) -> None:
    intend(database, intended("k1"))
    (mine,) = lease(database)
    mark(database, [mine.id])
    reap(database, clock=1000)
    settle(database, Settlement(mine.id, MessageState.QUEUED))
    assert row(database, "k1")["state"] == "unknown"
    settle(database, Settlement(mine.id, MessageState.SENT, sent_at=9), "somebody else")
    assert row(database, "k1")["state"] == "unknown"
    settle(database, Settlement(mine.id, MessageState.SENT, sent_at=9))
    assert row(database, "k1")["state"] == "sent"


def test_what_was_not_begun_is_given_back_without_using_up_an_attempt(database: Database) -> None:
    intend(database, intended("k1"), intended("k2"))
    first, _ = lease(database)
    mark(database, [first.id])
    with database.write(durable=True) as connection:
        assert messages.release(connection, owner="me") == 1
    assert row(database, "k1")["state"] == "sending"
    assert row(database, "k2")["state"] == "queued"
    assert row(database, "k2")["attempts"] == 0


def test_a_message_that_kills_its_senders_is_given_up(database: Database) -> None:
    intend(database, intended("k1"))
    for _ in range(2):
        lease(database, until=20)
        reap(database, clock=30, attempts=3)
    lease(database, until=20)
    assert reap(database, clock=30, attempts=3) == Reaped(failed=1)
    assert "given up" in row(database, "k1")["reason"]


@pytest.mark.feature("N6")
@pytest.mark.parametrize(("scope", "held"), [("nurture", {"n"}), ("all", {"n", "a"})])
def test_a_suppression_covers_its_scope_and_widens_but_never_narrows(
    database: Database, scope: str, held: set[str]
) -> None:
    intend(
        database, intended("n", recipient="Ann@Example.net"), intended("a", "alert"), intended("b", recipient="b@c.de")
    )
    digest = suppression_digest(SECRET, "ann@example.net")
    with database.write(durable=True) as connection:
        assert suppress(connection, [NewSuppression(digest, "asked", 3, scope)]) == 1  # type: ignore[arg-type]
        assert suppress(connection, [NewSuppression(digest, "again", 4)]) == 0
    assert {m.idempotency_key for m in lease(database)} == {"a", "n", "b"} - held
    for key in held:
        cancelled = row(database, key)
        told = (cancelled["state"], cancelled["reason"], cancelled["attempts"], cancelled["lease_owner"])
        assert told == ("cancelled", "suppressed: asked", 0, None)


def test_two_connections_never_lease_the_same_message(database: Database) -> None:
    intend(database, *(intended(f"k{n}") for n in range(40)))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        groups = list(pool.map(lambda n: lease(database, f"owner {n}", count=7), range(8)))
    ids = [m.id for group in groups for m in group]
    assert len(ids) == len(set(ids)) == 40


def test_the_outbox_answers_who_got_what_and_why_not(database: Database) -> None:
    intend(database, intended("k1"), intended("k2", recipient="bob@example.net"), intended("k3", "alert"))
    alert, first, _ = lease(database)
    settle(database, Settlement(alert.id, MessageState.SENT, reply="250 ok", sent_at=11))
    settle(database, Settlement(first.id, MessageState.UNKNOWN, "it may have arrived"))
    with database.read() as connection:
        everything = correspondence.Wanted()
        assert correspondence.counts(connection, everything) == {"leased": 1, "sent": 1, "unknown": 1}
        assert [m.recipient for m in correspondence.newest(connection, everything, 2)] == [
            "ann@example.net",
            "bob@example.net",
        ]
        (doubt,) = correspondence.newest(connection, correspondence.Wanted(state="unknown"), 9)
        assert (doubt.state, doubt.reason) == (MessageState.UNKNOWN, "it may have arrived")
        bob = correspondence.Wanted(lead="BOB@example.net")
        assert correspondence.counts(connection, bob) == {"leased": 1}
        assert correspondence.counts(connection, correspondence.Wanted(lead="7", kind="alert")) == {}


def test_what_is_marked_in_the_midst_of_reaping_is_not_queued_again(postgres_url: str) -> None:
    database = Database(postgres_url)
    intend(database, intended("k1"))
    ids = [m.id for m in lease(database, until=100)]
    marked: list[set[int]] = []
    with database.write(durable=True) as connection:

        @event.listens_for(connection, "after_cursor_execute")
        def mark_meanwhile(*_: Any) -> None:
            if not marked:
                marked.append(mark(database, ids, clock=50))  # its sender's clock says that the lease still lives

        assert messages.reap(connection, clock=1_000, attempts=1).queued == 0
    assert marked == [set(ids)]
    assert row(database, "k1")["state"] == "sending"
    assert reap(database, clock=1_000).unknown == 1
    database.close()
