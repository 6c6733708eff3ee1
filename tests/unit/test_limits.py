"""How much may leave when: warm-up, hours of a domain, pauses of a domain that asked for less."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from models.queries.messages import Leased
from models.rules.instants import DAY, HOUR, MINUTE, micros
from models.rules.limits import (
    SLOWEST,
    TRIALS,
    DomainLimit,
    Limits,
    WarmUp,
    asks_to_slow_down,
    domain_of,
    placed,
    room,
    slowed,
    waiting_for,
)
from models.rules.outbox import MessageKind
from tasks.line import Line

FIRST = datetime.date(2026, 3, 2)
WARM = WarmUp.model_validate({"from": FIRST, "start": 200, "growth": 1.3})
BERLIN = ZoneInfo("Europe/Berlin")


def at(day: int, hour: int = 12, zone: datetime.tzinfo = datetime.UTC) -> int:
    return micros(datetime.datetime(2026, 3, day, hour, tzinfo=zone))


def test_a_warm_up_grows_from_day_to_day_and_ends_by_itself() -> None:
    days = [WARM.most(FIRST + datetime.timedelta(days=n)) for n in (-5, 0, 1, 2, 10, 49, 51, 100_000)]
    assert days == [200, 200, 260, 338, 2757, 76_604_496, None, None]
    level = WarmUp.model_validate({"from": FIRST, "start": 5, "growth": 1})
    assert level.most(FIRST + datetime.timedelta(days=10_000)) == 5


def test_a_day_is_one_of_the_workspace_and_the_smaller_limit_counts() -> None:
    limits = Limits(per_day=250, warm_up=WARM, zone=BERLIN)
    (first,) = limits.periods("example.net", at(2, 0, BERLIN))
    assert (first.most, first.start, first.end) == (200, at(2, 0, BERLIN), at(3, 0, BERLIN))
    assert "smtp.warm_up" in first.words
    following = limits.next(first)
    assert following is not None
    assert (following.most, following.words) == (250, "250 a day (smtp.per_day)")
    (longer,) = limits.periods("example.net", at(29, 1, BERLIN))  # the clocks go forward
    assert longer.end - longer.start == 23 * HOUR
    assert Limits().periods("example.net", at(2)) == []


def test_what_finds_no_room_goes_into_the_first_period_that_has_some() -> None:
    limits = Limits(domains={"gmail.com": DomainLimit(per_hour=2)})
    (now,) = limits.periods("gmail.com", at(2) + 5 * MINUTE)
    assert (now.scope, now.start, now.most) == ("hour:gmail.com", at(2), 2)
    assert limits.periods("example.net", at(2)) == []
    taken = {("hour:gmail.com", at(2, 13)): 2, ("hour:gmail.com", at(2, 14)): 1}
    assert placed(now, limits, taken).start == at(2, 14)
    full = {("hour:gmail.com", at(2) + n * HOUR): 2 for n in range(10_000)}
    assert placed(now, limits, full).start == at(9)  # a week ahead at most
    ending = Limits(warm_up=WarmUp.model_validate({"from": "2026-03-01", "start": 10_000_000, "growth": 10}))
    (last,) = ending.periods("", at(2))
    assert placed(last, ending, {}).start == last.end


@pytest.mark.parametrize(
    ("stage", "code", "reply", "asks"),
    [
        ("rcpt", 421, "421 4.7.28 Our system has detected an unusual rate of unsolicited mail", True),
        ("dot", 421, "421 4.7.0 [TSS04] Messages from 1.2.3.4 temporarily deferred due to user complaints", True),
        ("rcpt", 451, "451 4.7.650 The mail server has been temporarily rate limited", True),
        ("data", 450, "450 too many messages from you, slow down", True),
        ("rcpt", 452, "452 4.2.2 mailbox full", False),
        ("rcpt", 450, "450 4.7.1 <a@b.c>: Recipient address rejected: Greylisted", False),
        ("rcpt", 451, "451 4.7.1 Graylisting in action, please come back later", False),
        ("mail", 421, "421 4.7.0 too many connections", False),
        ("rcpt", 550, "550 5.7.1 blocked", False),
        ("rcpt", 451, "451 local error", False),
    ],
)
def test_a_server_asks_for_less_in_these_words(stage: str, code: int, reply: str, asks: bool) -> None:
    assert asks_to_slow_down(stage, code, reply) is asks


def test_pauses_double_to_an_hour_and_then_few_messages_try_whether_it_is_over() -> None:
    first = slowed(None, at(2), "421 slow down", 0.999999)
    assert (first.level, first.reason) == (1, "421 slow down")
    assert first.until == pytest.approx(at(2) + 2 * MINUTE, abs=MINUTE // 100)
    assert slowed(first, at(2) + MINUTE, "again", 0.5) == first  # was on its way already
    assert [room(first, at(2), 0), waiting_for(first, at(2))] == [0, first.until]
    assert [room(first, first.until, n) for n in (0, TRIALS, TRIALS + 9)] == [TRIALS, 0, 0]
    assert waiting_for(first, first.until) > first.until
    assert room(None, at(2), 10**6) is None
    slow = first
    for _ in range(10):
        slow = slowed(slow, slow.until, "again", 0.0)
    assert slow.level == SLOWEST
    assert slowed(slow, slow.until, "again", 0.0).until - slow.until == 45 * MINUTE


@pytest.mark.parametrize(
    "given",
    [
        {"start": 200},
        {"from": "soon"},
        {"from": FIRST, "start": 0},
        {"from": FIRST, "growth": 0.9},
        {"from": FIRST, "growth": float("inf")},
        {"from": FIRST, "grows": 2},
    ],
)
def test_a_warm_up_that_says_nothing_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WarmUp.model_validate(given)


def test_a_domain_is_named_as_the_dns_knows_it() -> None:
    assert domain_of(" Ann@MÜNCHEN.de.") == "xn--mnchen-3ya.de"
    assert domain_of("ann@a b") == "a b"


def message(number: int, domain: str) -> Leased:
    return Leased(number, "", MessageKind.NURTURE, None, f"{number}@{domain}", "", "{}", "", 1, DAY)


async def test_a_domain_that_has_its_share_lets_others_pass() -> None:
    line = Line(10, 2, lambda domain: 1 if domain == "slow.example" else None)
    for number, domain in enumerate(["slow.example", "slow.example", "a.example", "slow.example", "a.example"]):
        await line.put(message(number, domain))
    line.close()
    given = [await line.next() for _ in range(3)]
    assert [one.id for one in given if one] == [0, 2, 4]
    for expected in (1, 3):
        previous, given = given[0], given[1:]
        assert previous is not None
        line.done(previous)
        following = await line.next()
        assert following is not None
        assert following.id == expected
        given = [following]
    assert [await line.next(), await line.next()] == [None, None]
