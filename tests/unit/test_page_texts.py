"""What pages say in which language: every translation is whole, a workspace's own texts come first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.rules.languages import language_tag
from web.pages import Pages
from web.texts import Said, Texts, preferred, problems

FOLDER = Path(__file__).parents[2] / "templates" / "pages" / "texts"
LANGUAGES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def texts(language: str) -> Said:
    return Texts(None, language).of(language)


@pytest.mark.feature("N6")
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_says_everything_and_names_the_same_facts(language: str) -> None:
    english, said = Texts(None, "en").of("en"), Texts(None, "en")._file(language)
    assert said is not None and language_tag(language) == language
    assert set(said) == set(english._texts)
    for key, words in said.items():
        assert sorted(re.findall(r"\{\w+\}", words)) == sorted(re.findall(r"\{\w+\}", english._texts[key])), key
    assert [len(said[f"dates.{name}"].split()) for name in ("weekdays", "months")] == [7, 12]


def test_the_languages_that_were_promised_are_there() -> None:
    assert {"en", "de", "pl", "fr", "es"} <= set(LANGUAGES)


def test_a_page_speaks_the_readers_language_then_the_workspaces_then_english() -> None:
    made = Texts(None, "pl")
    spoken = [made.of(wanted).language for wanted in ("de", "de-AT", "fr_CA", "tlh", None, 5)]
    assert spoken == ["de", "de", "fr", "pl", "pl", "pl"]
    assert Texts(None, "tlh").of(None).language == "en"
    assert made.of(None, preferred("xx, es;q=0.5, de;q=0.9")).language == "de"
    assert made.of("fr", ["de"]).language == "fr"


def test_a_browsers_languages_are_read_best_first() -> None:
    assert preferred("de-DE,de;q=0.9,en;q=0.8,*;q=0.1") == ["de-DE", "de", "en"]
    assert preferred("en;q=0, fr;q=x, ") == ["fr"] and preferred("") == [] and len(preferred("de," * 10_000)) <= 10


def test_a_workspace_says_it_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "de.yaml").write_text("unsubscribe: {button: Tschüss}\ntopics: {news: Neuigkeiten}\n")
    (tmp_path / "la.yaml").write_text("unsubscribe: {button: Vale}\n")
    own = Texts(tmp_path, "en")
    assert own.of("de")("unsubscribe.button") == "Tschüss" and own.of("de").own("topics.news") == "Neuigkeiten"
    assert own.of("de")("unsubscribe.title") == "Abmelden" and own.of("en").own("topics.news") is None
    assert (own.of("la")("unsubscribe.button"), own.of("la")("unsubscribe.title")) == ("Vale", "Unsubscribe")
    assert problems(tmp_path) == []
    (tmp_path / "fr.yaml").write_text("unsubscribe: {buton: Adieu, title: 5}\nother: x\n")
    (tmp_path / "words.yaml").write_text("{}\n")
    (tmp_path / "es.yaml").write_text("unsubscribe: {buton: Adiós}\n")
    told = [str(problem) for problem in problems(tmp_path)]
    assert len(told) == 4 and "pages/words.yaml" in "".join(told) and "unsubscribe.buton" in "".join(told)


def test_facts_are_put_in_once_and_as_they_are() -> None:
    said = texts("en")
    assert said("confirm.wording", sender="{topics}", topics="<b>") == "I want to get mail from {topics} about: <b>."
    assert said("form.expired", sender="x") == said("form.expired")


def test_every_page_forbids_all_that_it_does_not_need() -> None:
    page = Pages("Harbour & Sons", "de").told("invalid", 404)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and page.headers["x-content-type-options"] == "nosniff"
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "same-origin")
    body = bytes(page.body).decode()
    assert '<html lang="de">' in body and "Harbour &amp; Sons" in body
    assert not re.search(r"\sstyle=|<script|src=|https?://", body)
