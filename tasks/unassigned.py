"""Leads wait and no rep can take them: whoever team.yaml names is told, once a day, as long as it lasts.

Decides nothing about leads: tasks.routing tries them again at every run. The mail is named by its day and address, so
that a hundred runs, or two at once, send one.
"""

from __future__ import annotations

import logging

from models.queries import messages, waiting
from models.rules.counts import counted
from models.rules.instants import Micros
from models.workspace import Workspace
from tasks.handover import Desk

log = logging.getLogger(__name__)


def warn(workspace: Workspace, count: int) -> None:
    """Tell the log that so many leads found no rep, and why the last of them did not."""
    with workspace.database.read() as connection:
        found = waiting.listed(connection)
    if found:
        why = found[-1].why
        reps = "; ".join(f"{one.rep}: {one.why}" for one in why.passed_over)
        log.warning("%s for a rep: %s (%s)", counted(count, "lead waits", "leads wait"), why.reason, reps)


def tell(workspace: Workspace, now: Micros) -> int:
    """Tell that leads wait, to whom it was not told today; how many mails that makes."""
    people = workspace.team.told_of_waiting()
    if not people:
        return 0
    with workspace.database.read() as connection:
        if not waiting.is_anybody(connection):
            return 0
        found = waiting.listed(connection)
        desk = Desk(connection, workspace, now)
        known = messages.known(connection, [desk.nobody_key(address) for _, address in people])
        untold = [(name, address) for name, address in people if desk.nobody_key(address) not in known]
        since = {one.lead_id: one.since for one in found}
        mail = [desk.nobody(since, found[-1].why, person) for person in untold] if found else []
    if not mail:
        return 0
    with workspace.database.write(durable=True) as connection:
        return messages.intend(connection, mail, message_ids=workspace.message_ids, now=now)
