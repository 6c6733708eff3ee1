"""A look for due steps goes by an index of the due ones alone, and the benchmark of it selects what it says."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from benchmarks.nurture import NOW, RELEASABLE, fill
from models.database import Database
from models.queries import enrolments, staging
from models.rules.sequences import NO_ADDRESS, Sequence

pytestmark = pytest.mark.feature("N1")
WELCOME = Sequence.model_validate({"name": "welcome", "enrol": {"stages": ["lead"]}, "steps": [{"send": "a"}]})


def plan(connection: Connection, statement: str, **given: object) -> str:
    """How the database would go about it, were a look at every row dear."""
    if staging.is_sqlite(connection):
        return "\n".join(row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {statement}"), given))
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    return "\n".join(connection.execute(text(f"EXPLAIN {statement}"), given).scalars())


def test_due_steps_are_found_by_their_index(database: Database) -> None:
    with database.read() as connection:
        assert "ix_enrolments_due" in plan(connection, enrolments._DUE, now=NOW, limit=10)
        held = enrolments._RELEASABLE.format(marked=enrolments._IS_MARKED)
        assert "ix_enrolments_addressed" in plan(connection, held, reason=NO_ADDRESS, limit=10)


def test_benchmark_has_as_many_due_and_held_as_it_says(database: Database) -> None:
    with database.write() as connection:
        fill(connection, WELCOME, 4_000, 400, is_sqlite=database.is_sqlite)
    with database.read() as connection:
        assert enrolments.is_due(connection, NOW)
        due = enrolments.due(connection, NOW, 10_000)
        assert len(due) == 400
        assert len(enrolments.releasable(connection, 1_000, everyone=False)) == RELEASABLE
        assert len(enrolments.releasable(connection, 1_000, everyone=True)) == RELEASABLE
        states = connection.execute(text("SELECT state, count(*) FROM enrolments GROUP BY state ORDER BY state"))
        assert [tuple(row) for row in states] == [("active", 2_200), ("finished", 1_600), ("held", 200)]
