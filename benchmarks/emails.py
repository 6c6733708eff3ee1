"""What e-mails cost: compiling a template once, then one message from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import playbooks
from benchmarks.bars import Bar, median_cpu
from models.rules.notification import least_known
from tasks.plaintext import text_of
from tasks.rendering import Rendered, Templates

RUNS = {"xs": 50, "s": 400, "m": 4000}
EMAILS = Path(playbooks.__file__).parent / "mql-sql" / "emails"
MAIL = "welcome-first-hour"


def run(size: str) -> Iterable[Bar]:
    """µs per message and per template; the bar: a template is compiled once."""
    runs = RUNS[size]
    facts = least_known({"name": "Harbourline", "email": "a@b.example", "postal_address": "4 Quay Street"})

    def once(language: str | None) -> Callable[[], object]:
        return lambda: Templates(EMAILS, "en").render(MAIL, facts, language)

    first = median_cpu(5, once("en"))
    made = Templates(EMAILS, "en")
    rendered = made.render(MAIL, facts, "pl")
    assert isinstance(rendered, Rendered)
    made.render(MAIL, facts, "en")
    own = _each(runs, lambda: made.render(MAIL, facts, "en"))
    derived = _each(runs, lambda: made.render(MAIL, facts, "pl"))
    text = _each(runs, lambda: text_of(rendered.html))
    yield Bar("e-mail: environments, layout, MJML, three parts, once", first * 1e6, unit="µs")
    yield Bar("e-mail: a message, text part written", own * 1e6, unit="µs", detail=f"{len(rendered.html):,} characters")
    yield Bar("e-mail: a message, text part made from the HTML", derived * 1e6, unit="µs")
    yield Bar("e-mail: of that the text", text * 1e6, unit="µs")
    yield Bar("e-mail: a message by its first rendering", own / first, 0.1)


def _each(runs: int, work: Callable[[], object]) -> float:
    begun = time.process_time()
    for _ in range(runs):
        work()
    return (time.process_time() - begun) / runs
