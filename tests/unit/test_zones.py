"""Which zone a lead's hours are reckoned in, and what becomes of a zone that does not exist."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.rules import zones
from models.rules.zones import lead_zone, zone_of

pytestmark = pytest.mark.feature("N3")
HOME = ZoneInfo("Europe/Lisbon")


@pytest.mark.parametrize(
    ("attributes", "zone", "told_by"),
    [
        ({"time_zone": "Europe/Berlin", "country": "US"}, "Europe/Berlin", "time_zone"),
        ({"time_zone": " america/new york "}, "America/New_York", "time_zone"),
        ({"time_zone": "us_slash_eastern"}, "US/Eastern", "time_zone"),
        ({"country": "DE"}, "Europe/Berlin", "country"),  # Büsingen has a zone of its own with the same clock
        ({"country": "germany"}, "Europe/Berlin", "country"),
        ({"country": "United  Kingdom"}, "Europe/London", "country"),
        ({"country": "Spain"}, "Europe/Madrid", "country"),  # the Canaries are an hour behind
        ({"country": "CN"}, "Asia/Shanghai", "country"),
        ({"country": "US", "state": "CA"}, "America/Los_Angeles", "state"),
        ({"country": "United States", "region": "texas"}, "America/Chicago", "region"),
        ({"country": "CA", "province": "CA-QC"}, "America/Toronto", "province"),
        ({"country": "AU", "state": "Queensland"}, "Australia/Brisbane", "state"),
        ({"country": "US"}, "Europe/Lisbon", "workspace"),  # six clocks
        ({"country": "US", "state": "Atlantis"}, "Europe/Lisbon", "workspace"),
        ({"country": "Atlantis"}, "Europe/Lisbon", "workspace"),
        ({"time_zone": "  ", "country": None}, "Europe/Lisbon", "workspace"),
        ({}, "Europe/Lisbon", "workspace"),
    ],
)
def test_zone_is_told_by_lead_then_by_country_then_by_workspace(
    attributes: dict[str, Any], zone: str, told_by: str
) -> None:
    found = lead_zone(attributes, HOME)
    assert (found.zone.key, found.told_by, found.doubt) == (zone, told_by, "")


def test_zone_that_does_not_exist_is_a_doubt_and_the_country_counts() -> None:
    found = lead_zone({"time_zone": "Europe/Berln", "country": "FR"}, HOME)
    assert (found.zone.key, found.told_by) == ("Europe/Paris", "country")
    assert found.doubt == (
        "time_zone: found 'Europe/Berln' — did you mean 'Europe/Berlin'?; "
        "allowed: an IANA time zone, such as Europe/Berlin"
    )


@pytest.mark.parametrize(
    "said", ["../../etc/passwd", "/etc/localtime", "a\0b", "x" * 10_000, ["UTC"], 7, True, {}, "é"]
)
def test_whatever_stands_in_the_attribute_ends_in_the_workspaces_zone(said: Any) -> None:
    found = lead_zone({"time_zone": said, "country": said, "state": said}, HOME)
    assert found.zone is HOME
    assert len(found.doubt) < 300


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["time_zone", "country", "region"]), st.text() | st.integers() | st.none()))
def test_no_attribute_makes_it_fail(attributes: dict[str, Any]) -> None:
    assert isinstance(zone_of(attributes, HOME), ZoneInfo)


def test_parts_of_countries_have_zones_of_their_country() -> None:
    for country in ("US", "CA", "AU", "BR"):
        named = {row[2] for row in zones._table("zone.tab") if row[0] == country}
        assert set(zones._parts(country).values()) <= named
