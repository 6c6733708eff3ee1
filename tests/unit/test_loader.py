"""The benchmark's loader sends what it says: batches of 100 messages, each with an id of its own."""

from __future__ import annotations

import orjson

from benchmarks.loader import EVENTS, Answers, Bodies, message_ids


def test_each_batch_has_ids_of_its_own_that_can_be_looked_for() -> None:
    bodies = Bodies("2026-03-04T09:00:00Z")
    for expected in (1, 2, 3):
        number, body = bodies.next()
        said = orjson.loads(body)["batch"]
        assert number == expected
        assert [one["messageId"] for one in said] == list(message_ids(number))
        assert len({one["userId"] for one in said}) == 20
        assert {one["type"] for one in said} == {"track", "page"}


def test_a_rate_counts_events_that_were_answered_200() -> None:
    answers = Answers(waits=[0.001 * number for number in range(1, 101)], seconds=2.0)
    answers.statuses.update({200: 10, 429: 5})
    assert answers.rate == EVENTS * 10 / 2
    assert (round(answers.wait(0.5)), round(answers.wait(0.99)), round(answers.wait(1))) == (51, 100, 100)
