"""When each flow runs: one table for `warmline serve` and for deployments, and how warmline.yaml overrides it.

Decides intervals, crons and work pools. Every flow does all that is due and at most one run of it is at work, so a run
that was missed or refused is made up for by the next one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from models.documents import ConfigurationError, Document, Problem, did_you_mean, shown
from models.workspace import SETTINGS_FILE, Workspace

if TYPE_CHECKING:
    from prefect.schedules import Schedule

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SECONDS = {unit: int(timedelta(**{name: 1}).total_seconds()) for unit, name in _UNITS.items()}
_EVERY = re.compile(r"every\s+(\d+)\s*([smhdw])")
SHORTEST = timedelta(seconds=10)
"""A run that Prefect starts is a process of its own, which needs about 3 s of CPU before its first line."""
ALLOWED = "`every 5m` (s, m, h, d or w; at least 10s), five cron fields such as `0 6 * * 1`, or `off`"


@dataclass(frozen=True)
class FlowSchedule:
    """A flow (`flows.<name>.<name>`), its work pool, and when it runs: `every`, or `cron`, or never.

    `cron` is in the workspace's time zone;
    `offset` is counted from midnight UTC: flows that feed each other follow each other within the same five minutes.
    """

    flow: str
    pool: str
    every: timedelta | None = None
    cron: str | None = None
    offset: timedelta = timedelta()

    @property
    def entrypoint(self) -> str:
        return f"flows.{self.flow}.{self.flow}"

    @property
    def words(self) -> str:
        """When it runs, as warmline.yaml says it."""
        if self.cron is not None:
            return f"cron {self.cron}"
        if self.every is None:
            return "off"
        seconds = int(self.every.total_seconds())
        unit = next(unit for unit in reversed(_UNITS) if seconds % _SECONDS[unit] == 0)
        return f"every {seconds // _SECONDS[unit]}{unit}"

    def schedule(self, time_zone: str) -> Schedule | None:
        """As Prefect takes it; None if the flow is off."""
        from prefect.schedules import Cron, Interval

        if self.cron is not None:
            return Cron(self.cron, timezone=time_zone)
        if self.every is None:
            return None
        return Interval(self.every, anchor_date=datetime(2026, 1, 1, tzinfo=UTC) + self.offset)


TABLE = (
    FlowSchedule("ingest_activities", "batch", every=timedelta(minutes=5)),
    FlowSchedule("receive_mail", "mail", every=timedelta(minutes=5), offset=timedelta(seconds=10)),
    FlowSchedule("score_leads", "batch", every=timedelta(minutes=5), offset=timedelta(seconds=20)),
    FlowSchedule("decay_scores", "batch", every=timedelta(hours=1), offset=timedelta(seconds=150)),
    FlowSchedule("route_leads", "batch", every=timedelta(minutes=5), offset=timedelta(seconds=40)),
    FlowSchedule("run_nurture", "batch", every=timedelta(minutes=5), offset=timedelta(seconds=60)),
    FlowSchedule("deliver_messages", "mail", every=timedelta(minutes=5), offset=timedelta(seconds=80)),
    FlowSchedule("send_webhooks", "mail", every=timedelta(minutes=5), offset=timedelta(seconds=100)),
    FlowSchedule("review_scoring", "batch", cron="0 6 1 * *"),
)
"""The flows in the order of the chain, with their default schedules."""

POOLS = tuple(dict.fromkeys(row.pool for row in TABLE))
NAMES = tuple(row.flow for row in TABLE)
CHAIN = tuple(name for name in NAMES if name not in {"receive_mail", "send_webhooks", "review_scoring"})
"""What `warmline run` does, in this order; the review looks back over a month and changes nothing.

Mail that comes back is received too where the settings name a way for it, and webhooks are sent where they name an
endpoint: `chain`.
"""


def chain(workspace: Workspace) -> tuple[str, ...]:
    """The flows of one run of the chain in this workspace."""
    without = _without_work(workspace)
    return tuple(name for name in NAMES if name in CHAIN or (name in _WHERE_SET and name not in without))


_WHERE_SET = ("receive_mail", "send_webhooks")
"""The flows of the chain that have work only where the settings say so."""


def _without_work(workspace: Workspace) -> list[str]:
    is_told = any(one.to for one in workspace.audiences.values())
    has_work = {
        "receive_mail": workspace.takes_mail_back,
        "send_webhooks": bool(workspace.settings.webhooks) or is_told,
    }
    return [name for name, has in has_work.items() if not has]


def schedules(workspace: Workspace) -> tuple[FlowSchedule, ...]:
    """TABLE with `schedules:` of warmline.yaml put over it. ConfigurationError with every mistake and its line."""
    given = workspace.settings.schedules
    mistakes, found = [], {}
    for flow in _without_work(workspace):
        found[flow] = replace(_row(flow), every=None)
    for flow, words in given.items():
        if flow not in NAMES:
            mistakes.append((flow, f"no such flow{did_you_mean(flow, NAMES)}; allowed: {', '.join(NAMES)}"))
            continue
        row = _overridden(_row(flow), words.strip())
        if row is None:
            mistakes.append((flow, f"found {shown(words)}; allowed: {ALLOWED}"))
        else:
            found[flow] = row
    if mistakes:
        raise ConfigurationError(_placed(workspace, mistakes))
    return tuple(found.get(row.flow, row) for row in TABLE)


def _row(flow: str) -> FlowSchedule:
    return next(row for row in TABLE if row.flow == flow)


def _overridden(row: FlowSchedule, words: str) -> FlowSchedule | None:
    if words == "off":
        return replace(row, every=None, cron=None)
    if match := _EVERY.fullmatch(words):
        try:
            every = timedelta(**{_UNITS[match[2]]: int(match[1])})
        except OverflowError:
            return None
        return replace(row, every=every, cron=None) if every >= SHORTEST else None
    return replace(row, every=None, cron=words) if _is_cron(words) else None


def _is_cron(words: str) -> bool:
    if len(words.split()) != 5:
        return False
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=words)
    except ValueError:
        return False
    return True


def _placed(workspace: Workspace, mistakes: list[tuple[str, str]]) -> list[Problem]:
    document = Document.parse((workspace.root / SETTINGS_FILE).read_text(encoding="utf-8"), SETTINGS_FILE)
    return [document.problem(("schedules", flow), message) for flow, message in mistakes]
