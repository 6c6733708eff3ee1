"""Experiments in the outbox: who was given what, what became of each variant, and decisions written down once.

Decides nothing (models.rules.experiments does). A lead belongs to the variant of its first message in the experiment,
whatever a merge brings together later. Results are one statement for all variants.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, text

from models.queries import staging
from models.rules.experiments import Counts, Experiment, Verdict

_CHOSEN = "SELECT lead_id, variant, id FROM messages WHERE variant IS NOT NULL AND lead_id {among}"


def chosen(connection: Connection, lead_ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Lead → experiment → the label that its first message in it bears; leads without any are absent."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    rows = staging.select_among(connection, _CHOSEN, sorted(set(lead_ids)), "bigint")
    for lead, label, _ in sorted(rows, key=lambda row: row[2]):
        found[lead].setdefault(label.partition("/")[0], label)
    return dict(found)


def winners(connection: Connection) -> dict[str, str]:
    """Experiment → the variant that won it, of all that are decided."""
    rows = connection.execute(text("SELECT experiment, winner FROM experiment_decisions"))
    return {row[0]: row[1] for row in rows}


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of an experiment, as it was written down. `numbers`: see `decide`."""

    winner: str
    at: int
    numbers: dict[str, Any]


def decision(connection: Connection, experiment: str) -> Decision | None:
    """The decision on an experiment, if there is one."""
    query = text("SELECT winner, at, numbers FROM experiment_decisions WHERE experiment = :name")
    row = connection.execute(query, {"name": experiment}).first()
    return None if row is None else Decision(row[0], row[1], orjson.loads(row[2]))


_DECIDE = text(
    """
    INSERT INTO experiment_decisions (experiment, winner, at, numbers) VALUES (:experiment, :winner, :at, :numbers)
    ON CONFLICT (experiment) DO NOTHING
    """
)


def decide(
    connection: Connection, experiment: Experiment, winner: str, counts: Sequence[Counts], verdict: Verdict, now: int
) -> bool:
    """Write the decision down with the numbers that it rests on; False if there is one already, which stays."""
    numbers = {
        "alpha": verdict.alpha,
        "variants": [asdict(one) for one in counts],
        "differences": [asdict(one) for one in verdict.differences],
        "goal": experiment.goal.model_dump(mode="json"),
    }
    packed = orjson.dumps(numbers, option=orjson.OPT_SORT_KEYS).decode()
    given = {"experiment": experiment.name, "winner": winner, "at": now, "numbers": packed}
    return connection.execute(_DECIDE, given).rowcount == 1


# An act that names one of our mails counts for that mail alone; one that names none, for any.
_ABOUT = """
    (a.properties IS NULL OR a.properties NOT LIKE '%"message_id":"<%'
     OR a.properties LIKE '%"message_id":"' || m.message_id || '"%')
"""
_DID = """
    EXISTS (SELECT 1 FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
            WHERE a.lead_id = m.lead_id AND a.machine = 0 AND a.occurred_at > m.sent_at
              AND a.occurred_at <= m.sent_at + :within AND a.occurred_at <= :now AND t.type IN {types} {about})
"""


def _did(types: str, about: str = f"AND {_ABOUT}") -> str:
    return _DID.format(types=types, about=about)


_RESULTS = text(
    f"""
    WITH first AS (
        SELECT lead_id, min(id) AS id FROM messages
        WHERE variant IN :labels AND lead_id IS NOT NULL AND created_at <= :until GROUP BY lead_id
    ), seen AS (
        SELECT m.variant,
               CASE WHEN m.state = 'sent' AND m.sent_at <= :now THEN 1 ELSE 0 END AS sent,
               CASE WHEN m.state = 'sent' AND m.sent_at + :within <= :now THEN 1 ELSE 0 END AS closed,
               CASE WHEN m.state = 'sent' AND {_did("('email_bounce')")} THEN 1 ELSE 0 END AS bounced,
               CASE WHEN m.state = 'sent' AND {_did("('email_click')")} THEN 1 ELSE 0 END AS clicked,
               CASE WHEN m.state = 'sent' AND {_did("('email_reply')")} THEN 1 ELSE 0 END AS replied,
               CASE WHEN m.state = 'sent' AND {_did("('unsubscribe', 'spam_complaint')")} THEN 1 ELSE 0 END AS left_us,
               CASE WHEN m.state = 'sent' AND {_did(":goal")} THEN 1 ELSE 0 END AS reached
        FROM first JOIN messages m ON m.id = first.id
    )
    SELECT variant, count(*), sum(sent), sum(bounced), sum(clicked), sum(replied), sum(left_us), sum(reached),
           sum(closed), sum(closed * reached)
    FROM seen GROUP BY variant
    """
).bindparams(bindparam("labels", expanding=True), bindparam("goal", expanding=True))


def results(connection: Connection, experiment: Experiment, now: int, until: int | None = None) -> list[Counts]:
    """What became of each variant as of `now`, in the order of the file.

    `until`: only messages made by then; later ones went to the winner and are no part of the experiment.
    """
    given = {
        "labels": list(experiment.labels),
        "goal": experiment.goal.did,
        "within": experiment.goal.within,
        "now": now,
        "until": now if until is None else until,
    }
    found = {row[0]: [int(number) for number in row[1:]] for row in connection.execute(_RESULTS, given)}
    return [Counts(variant.name, *found.get(experiment.label(variant), (0,) * 9)) for variant in experiment.variants]
