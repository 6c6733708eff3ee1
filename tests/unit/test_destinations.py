"""Where requests of ours may go: the public internet, whatever the address looks like."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from models.rules.destinations import is_loopback, is_private_address, is_public
from models.rules.webhooks import Endpoint, unsafe

PRIVATE = (
    "0.0.0.0 10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.170 "
    "192.168.1.1 198.18.0.1 203.0.113.9 224.0.0.251 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 "
    "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::10.0.0.1 64:ff9b::a9fe:a9fe 2002:a00:1:: "
    "2002:7f00:1:: fc00::1 fd12:3456::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 2001:db8::1 100::1"
).split()
PUBLIC = "1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 192.169.0.1 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::8.8.8.8".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_on_the_public_internet_is_private(address: str) -> None:
    assert not is_public(address)
    assert is_private_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_on_the_public_internet_is_public(address: str) -> None:
    assert is_public(address)
    assert not is_private_address(address)


def test_a_name_says_nothing_about_where_it_leads() -> None:
    assert not is_private_address("crm.example.com")
    assert is_loopback("localhost") and is_loopback("LOCALHOST.") and is_loopback("127.0.0.3") and is_loopback("::1")
    assert not is_loopback("localhost.example.com") and not is_loopback("10.0.0.1")


@pytest.mark.parametrize("host", ["10.0.0.5", "[fd12::5]", "169.254.169.254", "[::ffff:192.168.0.1]"])
def test_a_private_address_needs_the_word_of_who_runs_the_programme(host: str) -> None:
    url = f"https://{host}/hooks"
    assert "private: true" in unsafe(url)
    with pytest.raises(ValidationError, match="a private address is allowed where the endpoint says `private: true`"):
        Endpoint.model_validate({"url": url})
    assert Endpoint.model_validate({"url": url, "private": True}).url == url


@pytest.mark.parametrize(
    "url",
    ["http://crm.example/x", "https://u:p@crm.example/", "ftp://crm.example/", "https://", "https://crm.example/#x"],
)
def test_private_networks_allow_nothing_else(url: str) -> None:
    assert unsafe(url, private=True) == unsafe(url) != ""
