"""What a URL says about a touchpoint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.records import RecordError, touchpoint_of
from models.rules.touchpoints import (
    MAX_FACET_TEXTS,
    Place,
    Touchpoint,
    facets_from,
    facets_of,
    place,
    referrer_host,
)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://WWW.X.example/Pricing/?a=1#top", Place("www.x.example", "/Pricing/")),
        ("https://x.example", Place("x.example", "/")),
        ("http://u:p@x.example:8080/a%20b", Place("x.example", "/a%20b")),
        ("/pricing?x=1", Place(None, "/pricing")),
        (
            "https://x.example/?UTM_Source=g&utm_medium=cpc&utm_campaign=a+b&utm_term=t&utm_content=c&utm_source=late",
            Place("x.example", "/", "a b", "g", "cpc", "t", "c"),
        ),
        ("https://x.example/?utm_source=", Place("x.example", "/")),
    ],
)
def test_a_url_becomes_host_path_and_campaign(url: str, where: Place) -> None:
    assert place(url) == where


def test_what_is_stated_wins_over_the_url() -> None:
    made = touchpoint_of({"type": "Page View", "url": "https://x.example/?utm_source=g&utm_medium=m", "source": "mail"})
    assert made == Touchpoint("page_view", host="x.example", path="/", source="mail", medium="m")


@pytest.mark.parametrize("fields", [{}, {"type": " "}, {"type": "--"}, {"type": []}, {"type": "x", "url": 5},
                                    {"type": "x", "url": "http://[bad"}, {"type": "x", "name": {}},
                                    {"type": "y" * 1001},
                                    {"type": "x", "url": "h" * 9000}])  # fmt: skip
def test_what_cannot_be_a_touchpoint_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        touchpoint_of(fields)


def test_referrers_and_facets() -> None:
    assert referrer_host("https://Google.example/search?q=secret") == "google.example"
    assert referrer_host("google.example/x") == "google.example"
    assert facets_of(
        {"plan": "pro", "seats": 5, "paid": True, "x": "y", "empty": " "}, ["empty", "paid", "plan", "seats"]
    ) == (
        ("paid", "true"),
        ("plan", "pro"),
        ("seats", "5"),
    )


def test_a_facet_that_is_a_list_keeps_each_text_once_and_comes_back_from_its_row() -> None:
    said = facets_of({"products": ["hat", " shoes ", 5.0, None, {}, "hat"], "none": [" "]}, ["none", "products"])
    assert said == (("products", ("5", "hat", "shoes")),)
    assert facets_from('{"products":["5","hat","shoes"]}') == said
    assert len(dict(facets_of({"p": [*range(500)]}, ["p"]))["p"]) == MAX_FACET_TEXTS


def test_equal_touchpoints_have_equal_digests_and_no_others() -> None:
    assert Touchpoint("a", "b").digest() == Touchpoint("a", "b").digest()
    assert Touchpoint("a", "b").digest() != Touchpoint("a", None, "b").digest()


@given(st.text(max_size=60))
def test_any_text_is_a_place_or_refused(url: str) -> None:
    try:
        where = place(url)
    except ValueError:
        return
    assert where.path and "?" not in where.path and "#" not in where.path
