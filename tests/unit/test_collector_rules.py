"""How often somebody may come, who counts as one, and what a write key looks like."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.rules.collector import KEY_BYTES, CollectorRules, Rates, customer, digest_of, key_mistake, new_key


def test_a_burst_of_twice_the_rate_may_come_and_then_the_rate() -> None:
    rates = Rates(10)
    assert [rates.wait("ann", 0.0) for _ in range(20)] == [0] * 20
    assert rates.wait("ann", 0.0) == 1
    assert rates.wait("bob", 0.0) == 0, "everybody has a bucket of his own"
    assert [rates.wait("ann", 0.1) for _ in range(2)] == [0, 1]
    assert [rates.wait("ann", 100.0) for _ in range(21)] == [0] * 20 + [1]


def test_a_slow_rate_says_how_long_to_wait() -> None:
    rates = Rates(0.01)
    assert [rates.wait("ann", 0.0), rates.wait("ann", 0.0), rates.wait("ann", 50.0)] == [0, 100, 50]


def test_many_visitors_take_little_memory() -> None:
    rates = Rates(1, most=10)
    for number in range(1_000):
        rates.wait(str(number), 0.0)
    assert len(rates._buckets) == 10


@pytest.mark.parametrize(
    ("address", "who"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("nonsense " * 100, ("nonsense " * 100)[:64]),
    ],
)
def test_an_ipv6_network_counts_as_one(address: str, who: str) -> None:
    assert customer(address) == who


def test_new_keys_are_good_and_differ() -> None:
    one, other = new_key(b"a" * KEY_BYTES), new_key(b"b" * KEY_BYTES)
    assert key_mistake(one) is None
    assert digest_of(one) != digest_of(other)
    assert one not in digest_of(one).hex()


@pytest.mark.parametrize("key", ["short", "x" * 201, "a key with spaces!", "colon:" * 3, "ключ" * 8, "x" * 15 + "\n"])
def test_a_key_that_no_header_could_carry_is_refused(key: str) -> None:
    assert key_mistake(key)


@pytest.mark.parametrize("origin", ["www.shop.example", "https://", "https://a/b", "ftp://a", "https://a, https://b"])
def test_an_origin_is_a_scheme_and_a_host(origin: str) -> None:
    with pytest.raises(ValidationError, match="scheme and host"):
        CollectorRules(origins=[origin])


def test_scripts_may_send_from_where_the_settings_say() -> None:
    assert CollectorRules().allows("https://anywhere.example")
    rules = CollectorRules(origins=["https://www.shop.example"])
    assert rules.allows("https://www.shop.example")
    assert not rules.allows("https://www.shop.example.evil.example")


@pytest.mark.parametrize(
    ("address", "may"), [("127.0.0.1", True), ("::1", True), ("192.0.2.7", False), ("junk", False)]
)
def test_metrics_are_for_this_machine_alone(address: str, may: bool) -> None:
    assert CollectorRules().shows_metrics(address) is may
