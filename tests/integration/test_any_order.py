"""Who is who and who did what depend on what came in alone: not on its order, its repetitions or its batches."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.scoring import score_leads
from tests.ingest_world import NOW
from tests.received_world import batch, facts, message, receive, resolve
from tests.reference import storage

MODEL: dict[str, Any] = {
    "name": "m",
    "dimensions": {
        "fit": {
            "groups": {
                "who": {
                    "rules": [
                        {"name": "pro", "if": {"plan": "pro"}, "points": 7},
                        {"name": "acme", "if": {"account.name": "Acme"}, "points": 2},
                        {"name": "first", "if": {"email": {"starts": "one"}}, "points": 1},
                    ]
                }
            }
        },
        "engagement": {
            "groups": {"acts": {"rules": [{"name": "view", "on": "page_view", "points": 3, "half_life": "30d"}]}}
        },
    },
}
USERS = st.sampled_from(["u1", "u2", None])
DEVICES = st.sampled_from(["d1", "d2", None])
ADDRESSES = st.sampled_from(["one@x.example", "two@x.example", None])
AGO = st.integers(1, 6)


def message_of(kind: str, user: str | None, device: str | None, address: str | None, ago: int, which: int) -> Any:
    """A message; with nobody in it, too."""
    said: dict[str, Any] = {"userId": user, "anonymousId": device, "ago": ago}
    traits = {"email": address} if address else {}
    if kind == "identify":
        said["traits"] = {**traits, "plan": ("free", "pro", None)[which], "seats": which}
    elif kind == "group":
        said |= {"groupId": f"g{which}", "traits": {"name": ("Acme", "Bolt", "Acme")[which], "employees": which}}
    elif kind == "alias":
        said |= {"previousId": ("u1", "d1", "old")[which]}
    else:
        said |= {"event": "Page Viewed", "context": {"traits": traits}}
    return kind, said


MESSAGES = st.lists(
    st.builds(
        message_of,
        st.sampled_from(["track", "track", "page", "identify", "identify", "group", "alias"]),
        USERS,
        DEVICES,
        ADDRESSES,
        AGO,
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without a row."""
    folder = tmp_path_factory.mktemp("empty")
    workspace = storage.workspace(folder / "w", f"sqlite:///{folder / 'w.db'}", MODEL)
    assert workspace.database
    workspace.database.close()
    return folder / "w.db"


def outcome(folder: Path, url: str, batches: Sequence[Sequence[Any]], at_once: bool) -> dict[str, Any]:
    """What is there when the batches were resolved: all at once, or each before the next comes."""
    workspace = storage.workspace(folder, url, MODEL)
    try:
        if at_once:
            receive(workspace, *(batch(*items) for items in batches))
            resolve(workspace)
        for items in () if at_once else batches:
            resolve(workspace, batch(*items))
        score_leads(workspace, NOW)
        return facts(workspace)
    finally:
        workspace.database.close()


def check(folder: Path, urls: Sequence[str], made: Sequence[tuple[str, dict[str, Any]]], chance: random.Random) -> None:
    messages = [message(kind, number, **said) for number, (kind, said) in enumerate(made)]
    again = [*messages, *chance.choices(messages, k=len(messages) // 2)]
    chance.shuffle(again)
    size = chance.randint(1, 4)
    batches = [again[start : start + size] for start in range(0, len(again), size)]
    expected = outcome(folder / "0", urls[0], [messages], at_once=True)
    for number, url in enumerate(urls[1:], 1):
        assert outcome(folder / str(number), url, batches, at_once=number == 2) == expected


@pytest.mark.feature("I4", "I5")
@settings(max_examples=10, deadline=None)
@given(made=MESSAGES, seed=st.integers(0, 10**6))
def test_messages_in_any_order_any_number_of_times_and_any_batches_tell_the_same(
    tmp_path_factory: pytest.TempPathFactory, empty: Path, made: Any, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("order")
    urls = []
    for number in range(2):
        shutil.copy(empty, folder / f"{number}.db")
        urls.append(f"sqlite:///{folder / f'{number}.db'}")
    check(folder, urls, made, random.Random(seed))


@pytest.mark.feature("I4", "I5")
def test_any_order_tells_the_same_on_both_databases(postgres_url: str, empty: Path, tmp_path: Path) -> None:
    chance = random.Random(7)
    kinds = ["track", "page", "identify", "group", "alias"]
    made = [
        message_of(
            chance.choice(kinds),
            chance.choice(["u1", "u2", "u3", None]),
            chance.choice(["d1", "d2", None]),
            chance.choice(["one@x.example", "two@x.example", None]),
            chance.randint(1, 9),
            chance.randint(0, 2),
        )
        for _ in range(40)
    ]
    shutil.copy(empty, tmp_path / "0.db")
    check(tmp_path, [f"sqlite:///{tmp_path / '0.db'}", postgres_url], made, chance)
