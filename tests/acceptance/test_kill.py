"""`kill -9` at any point loses and doubles nothing: the chain, started again until done, ends as if it had never been.

The instants are drawn evenly over the chain's progress (rows written, stage by stage), not over time, so that every
stage is hit however fast the machine is. Both runs have the same two programme times.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.sink import Sink, start_sink
from tests.chain_world import LATER, NOW, Chain, Progress, make_chain

pytestmark = pytest.mark.prefect
LEADS, THINNED = 3_000, 10
STAGES = 6


class Undisturbed(NamedTuple):
    """A chain that nobody killed, what it sent, and how much there was to do (see tests.chain_world.PROGRESS)."""

    chain: Chain
    sink: Sink
    total: tuple[int, ...]


@contextmanager
def world(root: Path, database_url: str, api_url: str | None) -> Iterator[tuple[Chain, Sink]]:
    with start_sink() as sink:
        yield make_chain(root, database_url, sink.port, api_url=api_url, leads=LEADS, thinned=THINNED), sink


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Undisturbed:
    """The same world through a chain that nobody killed, on SQLite: the other database must end alike."""
    root = tmp_path_factory.mktemp("undisturbed") / "world"
    with world(root, f"sqlite:///{root}/warmline.db", prefect_api) as (chain, sink):
        for now in (NOW, LATER):
            code, _, err = chain.run(now)
            assert code == 0, err
        progress = Progress(chain)
        counts = progress.counts()
        progress.close()
    assert min(counts) > 0, "a world in which a stage has nothing to do proves nothing"
    return Undisturbed(chain, sink, counts)


def run_killed(chain: Chain, total: tuple[int, ...], instants: Sequence[float], chance: random.Random) -> int:
    """Run the chain at NOW, then at LATER, each until done; kill it at each of `instants` (shares of progress)."""
    progress, left, kills = Progress(chain, total), sorted(instants), 0
    try:
        for now in (NOW, LATER):
            code = -9
            while code == -9:
                process = chain.start(now)
                while process.poll() is None and not (left and progress.share() >= left[0]):
                    time.sleep(0.02)
                time.sleep(chance.uniform(0, 0.05))
                if process.poll() is None:
                    process.kill()
                    kills += 1
                    left = [instant for instant in left[1:] if instant > progress.share()]
                _, err = process.communicate()
                code = process.returncode
                assert code in (0, -9), err
    finally:
        progress.close()
    return kills


def compare(chain: Chain, sink: Sink, other: Chain, other_sink: Sink) -> None:
    """The same rows by natural keys, and at the sink each nurture mail at most once, each alert at least once."""
    found, expected = chain.facts(), other.facts()
    for table, rows in expected.items():
        assert found[table] == rows, f"{table}: {len(found[table])} rows against {len(rows)}"
    messages, undisturbed = chain.messages(), other.messages()
    assert {key: kind for key, (kind, _) in messages.items()} == {key: kind for key, (kind, _) in undisturbed.items()}
    arrived = Counter(str(one.message["Message-ID"]) for one in sink.received)
    assert set(arrived) <= set(messages)
    for message_id, (kind, state) in messages.items():
        if kind == "nurture":
            assert arrived[message_id] <= 1, f"{message_id} came {arrived[message_id]} times"
            assert state == ("sent" if arrived[message_id] and state != "unknown" else "unknown")
        else:
            assert (state, arrived[message_id] >= 1) == ("sent", True), (
                f"{message_id}: {state}, {arrived[message_id]} times"
            )
    assert {state for _, state in undisturbed.values()} == {"sent"}
    assert Counter(str(one.message["Message-ID"]) for one in other_sink.received) == Counter(
        dict.fromkeys(undisturbed, 1)
    )


@pytest.mark.feature("O2", "N8")
def test_three_kills_change_nothing(
    tmp_path: Path, prefect_api: str, undisturbed: Undisturbed, postgres_url: str
) -> None:
    chance = random.Random(2)
    instants = [STAGES * (number + chance.random()) / 3 for number in range(3)]
    with world(tmp_path / "killed", postgres_url, prefect_api) as (chain, sink):
        assert run_killed(chain, undisturbed.total, instants, chance) >= 2
        compare(chain, sink, undisturbed.chain, undisturbed.sink)


@pytest.mark.torture
@pytest.mark.parametrize("seed", [3, 4])
def test_twenty_kills_change_nothing(tmp_path: Path, undisturbed: Undisturbed, database_url: str, seed: int) -> None:
    chance = random.Random(seed)
    instants = [STAGES * (number + chance.random()) / 20 for number in range(20)]
    with world(tmp_path / "killed", database_url, None) as (chain, sink):
        assert run_killed(chain, undisturbed.total, instants, chance) >= 10
        compare(chain, sink, undisturbed.chain, undisturbed.sink)


@pytest.mark.feature("O2")
def test_two_runs_at_once_double_nothing(tmp_path: Path, prefect_api: str, undisturbed: Undisturbed) -> None:
    root = tmp_path / "twice"
    two_at_once(root, f"sqlite:///{root}/warmline.db", prefect_api, undisturbed)


@pytest.mark.torture
def test_two_runs_at_once_double_nothing_on_either_database(
    tmp_path: Path, prefect_api: str, undisturbed: Undisturbed, database_url: str
) -> None:
    two_at_once(tmp_path / "twice", database_url, prefect_api, undisturbed)


def two_at_once(root: Path, database_url: str, prefect_api: str, undisturbed: Undisturbed) -> None:
    with world(root, database_url, prefect_api) as (chain, sink):
        for now in (NOW, LATER):
            both = [chain.start(now), chain.start(now)]
            for process in both:
                _, err = process.communicate(timeout=600)
                assert process.returncode == 0, err
            code, _, err = chain.run(now)  # what each of them left to the other
            assert code == 0, err
        compare(chain, sink, undisturbed.chain, undisturbed.sink)
