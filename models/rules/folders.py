"""Thousands of touchpoints in a few groups that a marketer recognises: by type, then by folder, name or campaign.

Decides how far a folder of pages is opened, and what is put together as the rest. Never drops a touchpoint: every one
is in exactly one group.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.rules.touchpoints import Touchpoint

MOST = 12
"""Groups of one type and kind, so that a site of 10,000 pages is a dozen lines."""
_MAIL = "email_"


@dataclass(frozen=True)
class Folder:
    """Touchpoints told as one. `label`: `/blog/…`, a name, a campaign; empty where the type alone is known."""

    type: str
    by: str
    """Which field they were told apart by: path, name, campaign, or type."""
    label: str
    is_rest: bool
    ids: tuple[int, ...]
    activities: int


def folders(points: Mapping[int, Touchpoint], activities: Mapping[int, int]) -> list[Folder]:
    """The touchpoints in groups, the busiest first. `activities`: by touchpoint; absent is 0."""
    kinds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for key, point in points.items():
        kinds[point.type, _told_by(point)].append(key)
    found: list[Folder] = []
    for (kind, by), ids in kinds.items():
        hosts = {points[key].host for key in ids}
        parts = {key: _parts(points[key], by, len(hosts) > 1) for key in ids}
        found += _split(kind, by, parts, activities)
    return sorted(found, key=lambda folder: (-folder.activities, folder.type, folder.is_rest, folder.label))


def _told_by(point: Touchpoint) -> str:
    # A mail's links lead to the site's pages: which mail it was says more than the page.
    order = ("campaign", "name", "path") if point.type.startswith(_MAIL) else ("path", "name", "campaign")
    return next((field for field in order if getattr(point, field)), "type")


def _parts(point: Touchpoint, by: str, with_host: bool) -> tuple[str, ...]:
    if by != "path":
        return () if by == "type" else (str(getattr(point, by)),)
    path = tuple(part for part in (point.path or "").split("/") if part)
    return ((point.host or "",) if with_host else ("",)) + path


@dataclass
class _Node:
    """Touchpoints whose first `depth` parts are the same."""

    prefix: tuple[str, ...]
    ids: list[int]
    weight: int
    is_final: bool = False
    is_rest: bool = False


def _split(kind: str, by: str, parts: Mapping[int, tuple[str, ...]], activities: Mapping[int, int]) -> Iterable[Folder]:
    """Open the busiest group again and again while there is room for what is in it."""

    def node(prefix: tuple[str, ...], ids: list[int]) -> _Node:
        return _Node(prefix, ids, sum(activities.get(key, 0) for key in ids))

    groups = [node((), list(parts))]
    while opened := max((g for g in groups if not g.is_final), key=lambda g: g.weight, default=None):
        depth = len(opened.prefix)
        inner: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for key in opened.ids:
            inner[parts[key][: depth + 1]].append(key)
        nodes = [node(prefix, ids) for prefix, ids in inner.items()]
        if len(groups) - 1 + len(nodes) > MOST:
            if len(groups) > 1:
                opened.is_final = True
                continue
            nodes = _with_rest(opened.prefix, nodes)
        for one in nodes:
            one.is_final = one.is_rest or one.prefix == opened.prefix or len(one.ids) == 1
        groups.remove(opened)
        groups += nodes
    for group in groups:
        yield Folder(kind, by, _label(by, group, parts), group.is_rest, tuple(sorted(group.ids)), group.weight)


def _with_rest(prefix: tuple[str, ...], nodes: list[_Node]) -> list[_Node]:
    nodes = sorted(nodes, key=lambda one: (-one.weight, one.prefix))
    kept, others = nodes[: MOST - 1], nodes[MOST - 1 :]
    rest = _Node(prefix, [key for one in others for key in one.ids], sum(one.weight for one in others), is_rest=True)
    return [*kept, rest]


def _label(by: str, group: _Node, parts: Mapping[int, tuple[str, ...]]) -> str:
    if by != "path":
        return f"{len(group.ids):,} other {by}s" if group.is_rest else "".join(group.prefix)
    exact = {parts[key] for key in group.ids}
    whole = next(iter(exact)) if len(exact) == 1 else group.prefix
    folder = f"{(whole or ('',))[0]}/{'/'.join(whole[1:])}"
    if len(exact) == 1:
        return folder
    folder = folder if folder.endswith("/") else f"{folder}/"
    return f"{folder}… ({len(group.ids):,} others)" if group.is_rest else f"{folder}…"
