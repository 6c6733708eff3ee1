"""Erasure: nothing that tells of the person is left, but nobody writes to it when it comes in again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from models.database import Database
from models.queries import erasure
from models.queries.interventions import Order, carry_out
from models.queries.suppressions import reasons
from models.rules.interventions import Deed
from tasks.nurture import nurture
from tasks.routing import route
from tests.consent_world import ADA, ConsentWorld


@pytest.fixture
def world(tmp_path: Path, database: Database) -> ConsentWorld:
    return ConsentWorld(tmp_path / "workspace", database, require="none")


def erased(world: ConsentWorld, lead: int) -> list[str]:
    with world.database.write(durable=True) as connection:
        return erasure.erase(connection, world.workspace.secret_key, lead, world.now)


def cells(database: Database) -> list[tuple[str, Any]]:
    """(table.column, value) of everything that stands in the database."""
    found: list[tuple[str, Any]] = []
    for table in inspect(database.engine).get_table_names():
        with database.read() as connection:
            for row in connection.execute(text(f'SELECT * FROM "{table}"')).mappings():
                found += [(f"{table}.{name}", value) for name, value in row.items()]
    return found


@pytest.mark.feature("N6")
def test_every_row_of_the_lead_is_gone_and_the_suppression_stands(world: ConsentWorld) -> None:
    world.did("newsletter_signup", ip="198.51.100.1", wording="Yes")
    world.did("page_view", "bob@northwind.example")
    [(lead,)] = world.rows("SELECT lead_id FROM identities WHERE value = :value", value=ADA)
    world.collect()
    world.score([lead], 20.0)
    route(world.workspace, world.now)
    nurture(world.workspace, world.now)
    world.later(1)
    nurture(world.workspace, world.now)
    [(message,)] = world.rows("SELECT id FROM messages")
    with world.database.write(durable=True) as connection:
        carry_out(connection, [message], Order(Deed.CANCEL, "ann", world.now, f"{ADA} asked"))
    assert erased(world, lead) == [ADA]
    left = cells(world.database)
    assert [place for place, value in left if isinstance(value, str) and ("ada@" in value or "198.51" in value)] == []
    assert [place for place, value in left if place.endswith(".lead_id") and value == lead] == []
    assert world.rows("SELECT count(*) FROM leads") == [(1,)]
    assert world.rows("SELECT count(*) FROM activities") == [(1,)]
    with world.database.read() as connection:
        held = reasons(connection, world.workspace.secret_key, {(ADA, "nurture")})
    assert held == {(ADA, "nurture"): "unsubscribed: the person was erased"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.feature("N6")
def test_the_address_stays_suppressed_when_it_comes_in_again(world: ConsentWorld) -> None:
    world.did("newsletter_signup")
    [(lead,)] = world.rows("SELECT id FROM leads")
    erased(world, lead)
    world.later(30)
    world.did("newsletter_signup", "ADA@Northwind.example", key="again")
    world.collect()
    [(again,)] = world.rows("SELECT id FROM leads")
    world.score([again], 20.0)
    route(world.workspace, world.now)
    for _ in range(3):
        nurture(world.workspace, world.now)
        world.later(1)
    assert world.rows("SELECT * FROM messages") == []
    reason = "suppressed: unsubscribed: the person was erased"
    assert world.rows("SELECT state, reason FROM enrolments") == [("exited", reason)]
