"""What salespeople read holds none of the words that files use."""

from __future__ import annotations

import pytest

from models.queries.standings import Act
from tasks import wording


def act(kind: str, name: str | None = None, path: str | None = None) -> Act:
    return Act(0, kind, name, None, path, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (act("webinar_registered", "webinar registered form"), ("Registered for a webinar", "")),
        (act("webinar_registered", "Scoring in practice"), ("Registered for a webinar", "Scoring in practice")),
        (act("demo_request", "Demo Request Form", "/demo"), ("Asked for a demo", "/demo")),
        (act("content_download", "content download form"), ("Downloaded a document", "")),
        (act("page_view", path="/"), ("Looked at", "the home page")),
        (act("site_visit", path="/pricing"), ("Visited the site", "")),
        (act("beta_wished.for"), ("Beta wished for", "")),
    ],
)
def test_an_act_is_told_without_saying_it_twice(given: Act, said: tuple[str, str]) -> None:
    assert wording.act_in_words(given) == said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("first.medium", "CPC", "first came through: a paid search ad"),
        ("first.medium", "podcast", "first came through: podcast"),
        ("account.employees", 60, "company's employees: 60"),
        ("mailbox", "role", "mailbox: shared, not of one person"),
        ("languages", ["de", "fr"], "languages: de, fr"),
    ],
)
def test_a_fact_is_told_without_names_of_files(name: str, value: object, said: str) -> None:
    assert wording.fact(name, value) == said


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("total 54.96 < 55 (mql-sql v3)", "the score fell to 54.96; it takes 55 to stay"),
        ("fit 10.0 < 20 (my model v1.2)", "the points for fit fell to 10.0; it takes 20 to stay"),
        ("every deal was lost", "every deal was lost"),
        ("excluded: competitor (mql-sql v3)", "excluded: competitor"),
    ],
)
def test_a_cause_is_told_without_signs_and_versions(told: str, said: str) -> None:
    assert wording.cause(told) == said
