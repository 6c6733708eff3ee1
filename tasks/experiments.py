"""Decisions of experiments whose file asks for an automatic stop: counted, judged, written down once.

Decides nothing (models.rules.experiments does) and changes no message: from the next step on tasks.nurture reads the
winner. Run before each round of nurture; peeking that often is what the intervals are made for.
"""

from __future__ import annotations

from models.queries import experiments
from models.rules.experiments import judge
from models.workspace import Workspace


def decide_experiments(workspace: Workspace, now: int) -> int:
    """Write down what is decided at `now`; the number of decisions. Doing it again changes nothing."""
    asking = [one for one in workspace.experiments.values() if one.stop is not None]
    if not asking:
        return 0
    with workspace.database.read() as connection:
        decided = experiments.winners(connection)
        counted = [(one, experiments.results(connection, one, now)) for one in asking if one.name not in decided]
    taken = 0
    for experiment, counts in counted:
        verdict = judge(experiment, counts)
        if verdict.winner is not None:
            with workspace.database.write(durable=True) as connection:
                taken += experiments.decide(connection, experiment, verdict.winner, counts, verdict, now)
    return taken
