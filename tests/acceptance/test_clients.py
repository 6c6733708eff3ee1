"""Published clients against a really served collector, a faulty proxy between them: nothing lost, nothing twice.

What each client sent is compared by message id with the activities in the database after the drain. The Node clients
are those of tests/node_clients/package-lock.json, installed once beside it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text

from models.workspace import Workspace
from tests.collecting_world import Served, drained, found, served
from tests.commands import warmline
from tests.faulty_proxy import Door, proxied
from tests.forks import forks
from tests.python_clients import DRIVERS, Told, drive
from tests.real_programs import left_out, needed

NODE = Path(__file__).parents[1] / "node_clients"
NODE_CLIENTS = ("node-segment", "node-rudder", "node-posthog", "node-cloudevents")
FAULTS = "500,lose,pass,late 1.4,pass,429 after 1,pass,drop,503,pass,late 0.2,pass".split(",")
"""A lost answer, and one that comes when the client has hung up: the server has the batch, and gets it again."""
PATIENCE = 120
SOURCES = {"cloudevents": "cloudevents\x1f/python", "node-cloudevents": "node-cloudevents\x1f/node"}
"""Of events whose id counts within a source of their own (CloudEvents 1.0, 3.1.1), this one too."""


@pytest.fixture(scope="module")
def node() -> Path:
    """The folder with the Node clients installed."""
    needed("node", "npm")
    lock = (NODE / "package-lock.json").read_bytes()
    stamp, wanted = NODE / "node_modules" / ".installed", hashlib.sha256(lock).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(NODE / "node_modules", ignore_errors=True)
        install = ["npm", "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(install, cwd=NODE, capture_output=True, text=True, check=False)
        if done.returncode:
            left_out(f"npm cannot install the clients: {done.stderr.strip().splitlines()[-1:]}")
        stamp.write_text(wanted)
    return NODE


@dataclass
class Shop:
    """A served collector, and what clients have told of what they sent there."""

    server: Served
    told: dict[str, Told] = field(default_factory=dict)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("clients")
    shutil.copyfile(sqlite_template, folder / "warmline.db")
    with served(folder / "shop", f"sqlite:///{folder}/warmline.db") as server:
        yield Shop(server)


def keys(root: Path, names: tuple[str, ...]) -> dict[str, str]:
    """A write key for each name, made by the command."""
    made = {}
    for name in names:
        (made[name],) = re.findall(r"\bwk_[\w-]+", warmline("keys", "add", name, folder=root).stdout)
    return made


def addresses(doors: Mapping[str, Door], written: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name → (address, key), as the clients are told."""
    ends = {name: "/v1/cloudevents" if name.endswith("cloudevents") else "" for name in doors}
    return {name: (door.url + ends[name], written[name]) for name, door in doors.items()}


def sent_by_python(asked: Mapping[str, tuple[str, str]], file: Path) -> dict[str, Told]:
    process = forks().Process(target=drive, args=(asked, str(file)))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    return dict(orjson.loads(file.read_bytes()))


def sent_by_node(folder: Path, asked: Mapping[str, tuple[str, str]]) -> dict[str, Told]:
    done = subprocess.run(
        ["node", "drive.js"],
        cwd=folder,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(orjson.loads(done.stdout))


def everything_is_there_once(workspace: Workspace, told: Mapping[str, Told]) -> None:
    """Each act of each client once, nothing else, nothing rejected; and who acted is known by address and title."""
    for name, one in told.items():
        assert one["failed"] == [], name
        assert len(one["ids"]) >= 6, name
        wrong = {
            key: number for key, number in found(workspace, SOURCES.get(name, name), one["ids"]).items() if number != 1
        }
        assert wrong == {}, name
    with workspace.database.read() as connection:
        rejected = connection.execute(text("SELECT reason, record FROM rejected_records")).all()
        total = connection.execute(text("SELECT count(*) FROM activities")).scalar_one()
        people = connection.execute(text("SELECT email, attributes FROM leads WHERE email IS NOT NULL")).all()
    assert rejected == []
    assert total == sum(len(one["ids"]) for one in told.values())
    titles = {email: orjson.loads(attributes).get("job_title") for email, attributes in people}
    wanted = {f"{name}@acme.example": None if "cloudevents" in name else "CTO" for name in told}
    assert titles == wanted


def faults_were_met(doors: Mapping[str, Door]) -> None:
    for name, door in doors.items():
        assert door.left == [], name
        words = Counter(word for word, _, _ in door.heard)
        assert words["lose"] == words["late 1.4"] == 1, name
        assert set(door.answered) == {200}, name


def no_secrets_in(log: Path, written: Mapping[str, str], doors: Mapping[str, Door]) -> None:
    """Neither keys nor addresses of people, nor anything else that was sent, in what the server wrote."""
    said = log.read_text()
    assert "@acme.example" not in said and "Report Read" not in said
    assert not [name for name, key in written.items() if key in said]
    for door in doors.values():
        for _, head, _ in door.heard:
            line = head.partition("\r\n")[0]
            assert "?" not in line and "@" not in line, "a client puts something into a URL"


@pytest.mark.feature("I2", "I4")
def test_python_clients_lose_and_double_nothing(shop: Shop, tmp_path: Path) -> None:
    names = tuple(DRIVERS)
    written = keys(shop.server.root, names)
    with proxied(shop.server.port, dict.fromkeys(names, FAULTS)) as doors:
        shop.told |= sent_by_python(addresses(doors, written), tmp_path / "told.json")
    faults_were_met(doors)
    heads = {name: [head.lower() for _, head, _ in door.heard] for name, door in doors.items()}
    assert all("content-encoding: gzip" in head for head in heads["segment-gzip"])
    assert not any("authorization:" in head for head in heads["posthog"])
    assert all("post /i/v1/analytics/events" in head for head in heads["posthog-v1"])
    assert any("ce-id:" in head and "content-type:" not in head for head in heads["cloudevents"])
    assert any("application/cloudevents+json" in head for head in heads["cloudevents"])
    everything_is_there_once(drained(shop.server), shop.told)
    no_secrets_in(shop.server.log, written, doors)


@pytest.mark.feature("I2", "I4")
def test_node_clients_lose_and_double_nothing(shop: Shop, node: Path) -> None:
    written = keys(shop.server.root, NODE_CLIENTS)
    with proxied(shop.server.port, dict.fromkeys(NODE_CLIENTS, FAULTS)) as doors:
        shop.told |= sent_by_node(node, addresses(doors, written))
    faults_were_met(doors)
    heads = [head.lower() for _, head, _ in doors["node-rudder"].heard]
    assert all("application/x-www-form-urlencoded" in head and "content-encoding: gzip" in head for head in heads)
    everything_is_there_once(drained(shop.server), shop.told)
    no_secrets_in(shop.server.log, written, doors)
