"""The benchmark measures what it says: a heavy tail, functions that exist, others' answers that are ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import engines, storage, toy, world
from benchmarks.cpu import Clock, peak_megabytes
from benchmarks.stopwatch import Stopwatch
from models.rules.scoring.kernel import score
from models.workspace import Workspace
from tasks.intake import ingest_file
from tasks.scoring import score_leads

LEADS, ACTIVITIES = 300, 3_000


@pytest.fixture
def opened(tmp_path: Path, database_url: str) -> Iterator[Workspace]:
    """The made world, small, in each kind of database."""
    found = storage.make(tmp_path / "bench", database_url, LEADS, ACTIVITIES)
    yield found
    found.database.close()


def test_the_busiest_hundredth_of_the_leads_holds_thirty_percent_of_the_activities() -> None:
    leads, _, _ = world.activities(20_000, 200_000)

    assert 0.27 < world.tail(leads, 20_000) < 0.33
    assert len(engines.fit_rules(world.model())) == 25


def test_the_orm_loop_and_the_rule_engines_say_what_the_kernel_says(opened: Workspace) -> None:
    leads = list(range(1, LEADS + 1))
    compiled, chunk, plain = engines.read(opened, leads)
    totals = score(compiled, chunk, world.NOW).total
    right = engines.ours(compiled, chunk, world.NOW)

    others = toy.totals(opened.database, world.model(), leads, world.NOW)

    assert np.allclose(totals, [others[lead] for lead in leads], atol=1e-6) and totals.any()
    for make in (engines.zen, engines.rule_engine):
        assert (make(engines.fit_rules(world.model()))(plain) == right).all()


def test_time_is_told_by_part_and_adds_up(opened: Workspace) -> None:
    storage.forget(opened, LEADS)
    clock = Clock.of(opened.database)
    watch = Stopwatch(clock)

    began = clock()
    with watch.watching():
        counts = score_leads(opened, world.NOW)
    whole = clock() - began

    assert counts["scored"] == LEADS
    assert {"activities", "leads", "fit", "kernel", "next change", "write"} <= set(watch.seconds)
    assert 0 < sum(watch.seconds.values()) <= whole
    assert peak_megabytes() > 10


def test_news_are_ingested_into_the_touchpoints_that_are_there(opened: Workspace, tmp_path: Path) -> None:
    storage.write_news(tmp_path / "news.jsonl", storage.addresses(opened.database), 500, batch=1)

    summary = ingest_file(opened, "activities", tmp_path / "news.jsonl", None, world.NOW)

    assert summary.counts.accepted == 500
    with opened.database.read() as connection:
        last, number = connection.exec_driver_sql("SELECT max(id), count(*) FROM touchpoints").one()
        assert (last, number) == (len(world.touchpoints()),) * 2
        leads = connection.exec_driver_sql("SELECT count(*) FROM leads").scalar_one()
    assert leads == LEADS
