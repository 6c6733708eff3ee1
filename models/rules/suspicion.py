"""Which opens, clicks and page views were a machine's: mail scanners, prefetching mail apps, robots.

Decides what is suspected, and by which reason, from activities and the workspace's thresholds alone. Never deletes or
changes an activity: models.queries.marks keeps the marks, and lifts them again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson

from models.rules.machine import CLICK, OFF, OPEN, SENDING, MachineRules
from models.rules.scoring.columns import Ints, Truths

# Names that robots and scanners give themselves. No `google image proxy`: Gmail fetches a picture when a person opens
# the mail; nor plain `bot`: there is a phone called CUBOT.
_ROBOT = re.compile(
    r"(?<!cu)bot\b|bot[/_-]|crawl|spider|slurp|scanner|headless|phantomjs|lighthouse|pingdom|uptime|monitor"
    r"|curl/|wget|python|httpx|aiohttp|okhttp|go-http|java/|libwww|node-fetch|axios|http-?client|facebookexternalhit"
    r"|barracuda|proofpoint|mimecast|safelinks|bitdefender|trendmicro|trend micro|symantec|messagelabs|fireeye"
    r"|forcepoint|fortiguard|cloudmark|ironport|urldefense|virustotal|zscaler",
    re.IGNORECASE,
)
_PREFETCH = "Mozilla/5.0"
"""All that Apple's Mail Privacy Protection says of itself when it loads the pictures of a mail that nobody opened."""
_AGENTS = frozenset(("useragent", "httpuseragent", "agent"))
_DECLARED = frozenset(
    ("bot", "isbot", "machine", "ismachine", "machineopen", "sgmachineopen", "isprefetched", "filtered")
)
_MESSAGES = frozenset(("messageid", "emailid", "sentbyid", "sgmessageid", "smtpid", "mailid", "deliveryid"))
_LINKS = frozenset(("link", "linkid", "url"))
_NO = frozenset(("", "0", "false", "no", "none", "null"))
_DEPTH = 3
_LONGEST = 1_000
"""Characters of a user agent that are looked at."""


class Signs(NamedTuple):
    """What the properties of an activity say that matters here."""

    user_agent: str | None = None
    is_declared: bool = False
    is_head: bool = False
    message: str | None = None
    link: str | None = None
    mail_sent_at: int | None = None
    """When its mail was sent (µs), as far as the act itself says."""


NO_SIGNS = Signs()


def signs_of(properties: str | None) -> Signs:
    """The signs in an activity's properties (JSON object), whatever its source calls them, nested or not."""
    if not properties:
        return NO_SIGNS
    found: dict[str, Any] = {}
    for kind, value in _telling(orjson.loads(properties), _DEPTH):
        if kind != "is_declared":
            found.setdefault(kind, value)
        elif str(value).strip().lower() not in _NO:
            found[kind] = True
    if not found:
        return NO_SIGNS
    return Signs(
        user_agent=_text(found.get("user_agent")),
        is_declared="is_declared" in found,
        is_head=str(found.get("method")).upper() == "HEAD",
        message=_text(found.get("message")),
        link=_text(found.get("link")),
        mail_sent_at=sent_at if isinstance(sent_at := found.get("mail_sent_at"), int) else None,
    )


_KINDS = {
    **dict.fromkeys(_AGENTS, "user_agent"),
    **dict.fromkeys(_MESSAGES, "message"),
    **dict.fromkeys(_LINKS, "link"),
    **dict.fromkeys(_DECLARED, "is_declared"),
    "method": "method",
    "httpmethod": "method",
    "requestmethod": "method",
    "mailsentat": "mail_sent_at",
}


def _telling(value: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    """(kind, value) of the properties whose names say something here."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            if depth > 1:
                yield from _telling(inner, depth - 1)
        elif (kind := _kind(key)) is not None and inner is not None and not isinstance(inner, list):
            yield kind, inner


@lru_cache(maxsize=10_000)
def _kind(key: str) -> str | None:
    return _KINDS.get("".join(char for char in key.rpartition(".")[2].lower() if char.isalnum()))


def _text(value: Any) -> str | None:
    return None if value is None or not str(value).strip() else str(value).strip()


@dataclass(frozen=True)
class Candidates:
    """m activities that may be a machine's, in any order, with all mails sent to the same leads and touched by them."""

    ids: Ints
    lead: Ints
    at: Ints
    recorded_at: Ints
    types: Sequence[str]
    links: Sequence[Any]
    """Equal for clicks on one link."""
    messages: Ints
    """Equal for what belongs to one mail; 0 where nobody knows which."""
    hidden: Truths
    """At a link that no person sees."""
    signs: Sequence[Signs]


Marks = dict[tuple[int, str], int]
"""(activity, reason) → when the last of what speaks for it was recorded."""


class Spans(NamedTuple):
    """Stretches of time of leads, both ends included, ascending by lead and time; those of one lead do not touch."""

    lead: Ints
    since: Ints
    until: Ints

    def cover(self, lead: Ints, at: Ints) -> Truths:
        """For each of these instants of leads whether it is in one."""
        ends = len(self.lead)
        leads, times = np.concatenate((self.lead, lead, self.lead)), np.concatenate((self.since, at, self.until))
        kind = np.repeat((0, 1, 2), (ends, len(lead), ends))  # at one instant: it begins, is asked for, ends
        order = np.lexsort((kind, times, leads))
        inside = np.zeros(len(order), np.bool_)
        inside[order] = np.cumsum(1 - kind[order]) > 0
        return inside[ends : ends + len(lead)]


def spans(lead: Ints, at: Ints, margin: int) -> Spans:
    """What is at most `margin` away from these instants of leads (in any order)."""
    order = np.lexsort((at, lead))
    lead, at = lead[order], at[order]
    apart = (np.diff(lead) != 0) | (np.diff(at) > 2 * margin)
    first, last = np.flatnonzero(np.r_[True, apart][: len(at)]), np.flatnonzero(np.r_[apart, True][: len(at)])
    return Spans(lead[first], at[first] - margin, at[last] + margin)


def reach(rules: MachineRules) -> int:
    """How far apart two activities of a lead can be of which one speaks for a mark of the other.

    What an activity demands or supports is within this of it, and all that decides about that within twice as much.
    """
    return max(rules.too_soon, rules.many_links_within)


def suspected(acts: Candidates, rules: MachineRules) -> Marks:
    """Every mark that the rules demand of these activities."""
    found: Marks = {}
    for position, signs in enumerate(acts.signs):
        if signs is not NO_SIGNS:
            for reason in _by_itself(acts.types[position], int(acts.at[position]), signs, rules):
                found[int(acts.ids[position]), reason] = int(acts.recorded_at[position])
    types = np.array(acts.types, object)
    is_sending = np.array([kind in SENDING for kind in acts.types], np.bool_)
    is_click = types == CLICK
    if rules.too_soon != OFF:
        _too_soon(acts, is_sending, is_click | (types == OPEN), rules.too_soon, found)
    clicks = np.flatnonzero(is_click | acts.hidden)
    if len(clicks):
        _together(acts, clicks[np.lexsort((acts.at[clicks], acts.messages[clicks], acts.lead[clicks]))], rules, found)
    return found


def _by_itself(kind: str, at: int, signs: Signs, rules: MachineRules) -> Iterator[str]:
    if kind in SENDING:
        return
    if signs.mail_sent_at is not None and rules.too_soon != OFF and at - signs.mail_sent_at <= rules.too_soon:
        yield "too-soon"
    if rules.declared and signs.is_declared:
        yield "declared"
    if signs.is_head:
        yield "head-request"
    if rules.robots and signs.user_agent is not None:
        if kind == OPEN and signs.user_agent == _PREFETCH:
            yield "prefetch"
        elif _is_robot(signs.user_agent, tuple(rules.user_agents)):
            yield "robot"


@lru_cache(maxsize=100_000)
def _is_robot(user_agent: str, words: tuple[str, ...]) -> bool:
    said = user_agent[:_LONGEST].casefold()
    return _ROBOT.search(said) is not None or any(word.casefold() in said for word in words if word.strip())


def _too_soon(acts: Candidates, is_sending: Truths, is_touch: Truths, limit: int, found: Marks) -> None:
    """Opens and clicks at most `limit` after the last sending of their mail; of any, where it is not said which."""
    unknown = acts.messages == 0
    nobody = np.zeros(len(acts.ids), np.int64)
    for sent, touched, message in (
        (is_sending & ~unknown, is_touch & ~unknown, acts.messages),
        (is_sending & unknown, is_touch, nobody),
        (is_sending, is_touch & unknown, nobody),
    ):
        place = np.flatnonzero(sent | touched)
        order = place[np.lexsort((~sent[place], acts.at[place], message[place], acts.lead[place]))]
        last = np.maximum.accumulate(np.where(sent[order], np.arange(len(order)), -1)) if len(order) else order
        before = order[np.maximum(last, 0)]
        same = (last >= 0) & (acts.lead[order] == acts.lead[before]) & (message[order] == message[before])
        soon = touched[order] & same & (acts.at[order] - acts.at[before] <= limit)
        for here, there in zip(order[soon].tolist(), before[soon].tolist(), strict=True):
            _mark(found, int(acts.ids[here]), "too-soon", int(max(acts.recorded_at[here], acts.recorded_at[there])))


def _together(acts: Candidates, order: Ints, rules: MachineRules, found: Marks) -> None:
    """Clicks by one lead in one mail, ascending in time, through a window of `many_links_within`."""
    lead, message, at = acts.lead[order], acts.messages[order], acts.at[order]
    starts = np.flatnonzero(np.r_[True, (lead[1:] != lead[:-1]) | (message[1:] != message[:-1])])
    ends = np.r_[starts[1:], len(order)]
    many = ends - starts >= rules.many_links
    hidden = np.add.reduceat(acts.hidden[order], starts) > 0
    for start, end in zip(starts[many | hidden].tolist(), ends[many | hidden].tolist(), strict=True):
        burst = order[start:end]
        _many_links(acts, burst, rules, found)
        for trap in np.flatnonzero(acts.hidden[burst]).tolist():
            reach = at[start + trap] + np.array([-rules.many_links_within, rules.many_links_within + 1])
            near = burst[slice(*np.searchsorted(at[start:end], reach).tolist())]
            when = int(acts.recorded_at[burst[trap]])
            for here in near.tolist():
                _mark(found, int(acts.ids[here]), "hidden-link", max(when, int(acts.recorded_at[here])))


def _many_links(acts: Candidates, clicks: Ints, rules: MachineRules, found: Marks) -> None:
    at, recorded = acts.at[clicks].tolist(), acts.recorded_at[clicks].tolist()
    links = [acts.links[here] for here in clicks.tolist()]
    seen: Counter[Any] = Counter()
    first, done, latest = 0, 0, None
    for last, link in enumerate(links):
        seen[link] += 1
        while at[last] - at[first] > rules.many_links_within:
            seen[links[first]] -= 1
            if not seen[links[first]]:
                del seen[links[first]]
            first += 1
        if len(seen) < rules.many_links:
            latest = None
            continue
        latest = max(recorded[first : last + 1]) if latest is None else max(latest, recorded[last])
        for here in range(max(first, done), last + 1):
            _mark(found, int(acts.ids[clicks[here]]), "many-links", latest)
        done = last + 1


def _mark(found: Marks, activity: int, reason: str, at: int) -> None:
    found[activity, reason] = min(at, found.get((activity, reason), at))
