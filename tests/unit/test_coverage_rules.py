"""What coverage counts and concludes: groups of touchpoints, lift with few cases, the same time for everybody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.coverage import Tally
from models.rules.folders import MOST, folders
from models.rules.lift import lift
from models.rules.scoring.columns import NEVER, Activities, Chunk, Leads
from models.rules.touchpoints import Touchpoint

PATHS = st.lists(st.sampled_from(["", "a", "b", "blog", "ü"]) | st.integers(0, 400).map(str), max_size=4)


def pages(*paths: str, host: str | None = None) -> dict[int, Touchpoint]:
    return {n: Touchpoint("page_view", host=host, path=path) for n, path in enumerate(paths, start=1)}


@pytest.mark.feature("S18")
@given(
    st.lists(
        st.builds(
            Touchpoint,
            type=st.sampled_from(["page_view", "email_open", "chat"]),
            name=st.none() | st.sampled_from(["n", "m"]),
            host=st.none() | st.sampled_from(["x.example", "y.example"]),
            path=st.none() | PATHS.map(lambda parts: "/" + "/".join(parts)),
            campaign=st.none() | st.integers(0, 60).map(str),
        ),
        max_size=80,
    )
)
def test_every_touchpoint_is_in_exactly_one_of_few_groups(points: list[Touchpoint]) -> None:
    numbered = dict(enumerate(points, start=1))
    found = folders(numbered, {key: key for key in numbered})
    assert sorted(key for folder in found for key in folder.ids) == sorted(numbered)
    assert all({numbered[key].type for key in folder.ids} == {folder.type} for folder in found)
    kinds = [(folder.type, folder.by) for folder in found]
    assert all(kinds.count(kind) <= MOST for kind in kinds)
    assert sum(folder.activities for folder in found) == sum(numbered)


def test_a_site_of_a_thousand_pages_is_told_by_its_folders() -> None:
    points = pages("/", "/pricing", *(f"/blog/{n}" for n in range(900)), "/docs/a", "/docs/b")
    labels = {folder.label: len(folder.ids) for folder in folders(points, dict.fromkeys(points, 1))}
    assert labels == {"/": 1, "/pricing": 1, "/blog/…": 900, "/docs/a": 1, "/docs/b": 1}


def test_two_sites_are_told_apart() -> None:
    points = {
        1: Touchpoint("page_view", host="a.example", path="/x"),
        2: Touchpoint("page_view", host="b.example", path="/x"),
    }
    assert {folder.label for folder in folders(points, {1: 1, 2: 1})} == {"a.example/x", "b.example/x"}


def test_mails_are_told_by_campaign_though_their_links_have_pages() -> None:
    points = {n: Touchpoint("email_click", path=f"/{n}", campaign="spring") for n in (1, 2)}
    (only,) = folders(points, {1: 3, 2: 4})
    assert (only.by, only.label, only.activities) == ("campaign", "spring", 7)


@pytest.mark.feature("S18")
def test_few_cases_say_nothing_and_many_do() -> None:
    assert lift(0, 0, 5, 10) is None
    assert lift(1, 1, 0, 1) is not None
    cases = {
        (1, 1, 50, 1000): "unclear",
        (3, 4, 20, 100): "unclear",
        (12, 14, 20, 100): "more",
        (60, 200, 1000, 10_000): "more",
    }
    cases |= {(2, 200, 1000, 10_000): "less", (20, 200, 1000, 10_000): "alike", (0, 5, 0, 1000): "unclear"}
    for (met, won, others_met, others), verdict in cases.items():
        found = lift(met, won, others_met, others)
        assert found is not None and found.low <= found.ratio <= found.high
        assert found.verdict == verdict, (met, won, others_met, others, found)


def chunk(created_at: list[int], acts: list[tuple[int, int, int]]) -> Chunk:
    """Leads 1 …; activities (place of the lead, touchpoint, instant)."""
    size = len(created_at)
    table = np.array(acts, np.int64).reshape(len(acts), 3)
    leads = Leads(
        np.arange(1, size + 1),
        [{}] * size,
        [None] * size,
        ["lead"] * size,
        [None] * size,
        np.array(created_at, np.int64),
    )
    return Chunk(leads, Activities.ordered(table[:, 0], table[:, 1], table[:, 2]))


def tally(points: int, won: list[int], **more: int) -> Tally:
    return Tally(np.zeros((1, points), np.int64), 1, np.array(sorted(won), np.int64), **more)


@pytest.mark.feature("S18")
def test_what_a_converter_did_after_buying_does_not_count_for_it() -> None:
    found = tally(3, [50])
    found.add(chunk([0, 0], [(0, 1, 49), (0, 2, 50), (0, 1, 10), (1, 1, 10), (1, 2, 60)]), np.array([50, NEVER]))
    assert (found.leads, found.converters, found.others) == (2, 1, 1)
    assert found.met_point(1) == (2, 1, 1)
    assert found.met_point(2) == (2, 0, 0)
    assert found.met_group(0) == (2, 1, 1)


def test_who_was_not_known_when_somebody_bought_is_no_comparison() -> None:
    found = tally(2, [50])
    found.add(chunk([0, 51], [(1, 1, 60)]), np.array([50, NEVER]))
    assert (found.converters, found.others, found.met_point(1)) == (1, 0, (1, 0, 0))


@pytest.mark.feature("S18")
def test_where_buying_has_nothing_to_do_with_what_was_met_no_difference_is_told() -> None:
    """Converters are cut off when they buy: without the same for others they would seem to meet everything less."""
    random = np.random.default_rng(5)
    size, day = 8_000, 1_000
    won = np.full(size, NEVER)
    won[:800] = random.integers(0, 180 * day, 800)
    acts = [
        (int(lead), 1, int(at))
        for lead, at in zip(random.integers(0, size, 12_000), random.integers(0, 180 * day, 12_000), strict=True)
    ]
    found = tally(2, [int(at) for at in won if at != NEVER])
    found.add(chunk([0] * size, acts), won)
    told = found.lift(found.met_point(1))
    assert told is not None and told.verdict == "alike" and 0.85 < told.ratio < 1.15
    assert lift(found.met_point(1).converters, 800, found.met_point(1).leads, size).verdict == "less"  # type: ignore[union-attr]
