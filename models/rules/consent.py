"""Consent: what people said about a topic, where an address stands after that, and whether we may write.

Decides by an append-only history (models.queries.consents); the newest grant or withdrawal counts, a request alone
allows nothing. Knows no clock and sends nothing: tasks.consents asks for confirmations, models.queries.clearance holds
mail that lacks consent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from models.documents import did_you_mean, shown
from models.rules.durations import Duration
from models.rules.instants import DAY, MINUTE
from models.rules.values import as_text

EVERYTHING = "*"
"""The topic of a word about all topics: who unsubscribes by one click says it."""
OPENS = "email_opens"
"""The topic by which people say that we may see whether they opened a mail. Only its own grant counts."""
SIGN_UPS = frozenset({"newsletter_signup"})
OPT_OUTS = frozenset({"unsubscribe", "spam_complaint"})
PREFERENCE = "email_preference_change"
"""Says something where its properties name topics and a `state`: it leaves one topic without leaving all."""
ACTS = SIGN_UPS | OPT_OUTS | {PREFERENCE}
"""Activities that say something about consent."""
EVIDENCE = (
    "source", "wording", "version", "ip", "user_agent", "url", "form", "message_id", "by", "because", "legal_basis",
    "language",
)  # fmt: skip
"""What a row keeps as proof: where it was said, the text that was shown and its version, from where, about which mail,
and for a word that a person of ours took down, who and why."""
LONGEST_EVIDENCE = 4_000
"""Characters of one piece of evidence: the text of a form, not a page."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
State = Literal["requested", "granted", "withdrawn"]
Stands = Literal["nothing", "requested", "expired", "granted", "withdrawn"]


class ConsentRules(BaseModel):
    """`consent:` of warmline.yaml: what must have been said before nurture mail may go out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    require: Literal["none", "opt_in", "double_opt_in"] = "none"
    """`none`: who did not withdraw is written to; `opt_in`: who granted the topic; `double_opt_in`: who granted it by
    the link in a confirmation mail, or is on record as having done so elsewhere."""
    topics: dict[str, str] = Field(default={"news": "News and advice by e-mail"}, min_length=1, max_length=50)
    """Topic → the words by which people know it. The first one is meant where none is said."""
    confirm_within: Duration = 7 * DAY
    """How long the link of a confirmation mail can be used; then the request has ended."""
    ask_again_after: Duration = 7 * DAY
    """An address gets at most one confirmation mail in this time, however often it is signed up."""

    @field_validator("topics")
    @classmethod
    def _nameable(cls, value: dict[str, str]) -> dict[str, str]:
        for name, words in value.items():
            if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
                raise ValueError(f"found the name {shown(name)}; allowed: letters, digits, - and _")
            if not words.strip():
                raise ValueError(f"{name}: empty; give the words by which people know it")
        return value

    @field_validator("confirm_within", "ask_again_after")
    @classmethod
    def _not_at_once(cls, value: int) -> int:
        if value < 10 * MINUTE:
            raise ValueError("shorter than 10m; people read their mail later than that")
        return value

    def topic(self, named: str | None) -> str:
        """The topic that is meant where `named` is said (None: nothing)."""
        return named if named is not None else next(iter(self.topics))

    def mistake(self, topic: str) -> str:
        """Why there is no such topic, in words; empty if there is."""
        if topic in self.topics:
            return ""
        return f"found {shown(topic)}{did_you_mean(topic, self.topics)}; allowed: {', '.join(self.topics)}"


class Said(NamedTuple):
    """One row of the history."""

    topic: str
    state: str
    at: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an address stands with a topic, and since when (None: nothing was ever said)."""

    stands: Stands
    since: int | None = None


def standing(history: Iterable[Said], topic: str, rules: ConsentRules, now: int) -> Standing:
    """Where the address of this history (in the order in which it was learnt) stands with `topic` at `now`.

    The newest grant or withdrawal counts, of the topic or of all; of two at one instant the withdrawal. A request that
    is newer than a withdrawal, or the first word, waits for its confirmation and ends after `confirm_within`; it takes
    nothing from a grant.
    """
    spoken = [said for said in history if said.topic in (topic, EVERYTHING) and said.at <= now]
    last = max(
        (said for said in spoken if said.state != "requested"),
        key=lambda said: (said.at, said.state == "withdrawn"),
        default=None,
    )
    if last is not None and last.state == "granted":
        return Standing("granted", last.at)
    asked = max((said.at for said in spoken if said.state == "requested"), default=None)
    if asked is not None and (last is None or asked > last.at):
        return Standing("requested" if now < asked + rules.confirm_within else "expired", asked)
    return Standing("withdrawn", last.at) if last is not None else Standing("nothing")


def is_granted(history: Iterable[Said], topic: str, now: int) -> bool:
    """Whether this very topic was granted, and neither it nor everything withdrawn since."""
    spoken = (
        said
        for said in history
        if said.at <= now
        and (
            (said.topic == topic and said.state != "requested")
            or (said.topic == EVERYTHING and said.state == "withdrawn")
        )
    )
    last = max(spoken, key=lambda said: (said.at, said.state == "withdrawn"), default=None)
    return last is not None and last.state == "granted"


def open_requests(history: Sequence[Said], rules: ConsentRules, now: int) -> list[str]:
    """The topics that wait for their confirmation at `now`, in the order of the settings and then of asking."""
    asked = [said.topic for said in history if said.state == "requested"]
    topics = [*(topic for topic in rules.topics if topic in asked), *(topic for topic in asked)]
    return [one for one in dict.fromkeys(topics) if standing(history, one, rules, now).stands == "requested"]


_WANTING = {
    "nothing": "nobody ever asked for {topic}",
    "requested": "{topic} is not confirmed yet",
    "expired": "the request for {topic} was never confirmed",
}


def refusal(found: Standing, topic: str, rules: ConsentRules) -> str:
    """Why we may not write about `topic`, in words; empty if we may."""
    if found.stands == "withdrawn":
        return f"consent withdrawn: {topic}"
    if rules.require == "none" or found.stands == "granted":
        return ""
    return f"no consent: {_WANTING[found.stands].format(topic=topic)}"


class Statement(NamedTuple):
    """What one act says about one topic: a row of the history to be."""

    key: bytes
    topic: str
    state: State
    evidence: Mapping[str, str]


def statements(dedupe: bytes, act: str, properties: Mapping[str, Any], rules: ConsentRules) -> Iterator[Statement]:
    """What an activity (its idempotency key, type and properties) says about consent.

    A sign-up grants the topics of its properties (`topic`, `topics`; else the first of the settings), or only asks for
    them where double opt-in is required and the properties do not say `confirmed: true`. An opt-out withdraws those
    that it names, else everything. A change of preferences withdraws (`state: withdrawn`) or grants what it names.
    """
    named = _topics(properties)
    told = as_text(properties.get("state"))
    if act not in ACTS or (act == PREFERENCE and (not named or told not in ("granted", "withdrawn"))):
        return
    state: State = "granted" if act == PREFERENCE and told == "granted" else "withdrawn"
    if act in SIGN_UPS:
        named = named or [rules.topic(None)]
        asks = rules.require == "double_opt_in" and as_text(properties.get("confirmed")) not in ("true", "yes", "1")
        state = "requested" if asks else "granted"
    found = evidence(properties)
    for topic in named or [EVERYTHING]:
        yield Statement(key_of(dedupe, topic, state), topic, state, found)


def key_of(learnt_from: bytes, topic: str, state: str) -> bytes:
    """16 bytes by which a row is known: what it was learnt from, topic and state."""
    return blake2b(learnt_from + f"\0{topic}\0{state}".encode(), digest_size=16, person=b"consent").digest()


def evidence(told: Mapping[str, Any]) -> dict[str, str]:
    """Of what is told the pieces of EVIDENCE, as texts."""
    found = {name: as_text(told.get(name)) for name in EVIDENCE}
    return {name: said.strip()[:LONGEST_EVIDENCE] for name, said in found.items() if said and said.strip()}


def _topics(properties: Mapping[str, Any]) -> list[str]:
    told = properties.get("topics", properties.get("topic"))
    given: Sequence[Any] = told if isinstance(told, list) else [told]
    texts = [text.strip() for one in given if (text := as_text(one)) is not None]
    split = [part.strip() for text in texts for part in text.split(",")]
    return list(dict.fromkeys(part for part in split if part))[:50]


class Choice(NamedTuple):
    """A topic on the preference page: its name, its words, and whether we write about it now."""

    topic: str
    words: str
    is_on: bool


def choices(history: Sequence[Said], rules: ConsentRules, now: int) -> list[Choice]:
    """The topics as the preference page shows them, in the order of the settings."""
    return [
        Choice(topic, words, not refusal(standing(history, topic, rules, now), topic, rules))
        for topic, words in rules.topics.items()
    ]


def changes(history: Sequence[Said], wanted: Iterable[str], rules: ConsentRules, now: int) -> list[tuple[str, State]]:
    """What is to be written down so that exactly the topics `wanted` are on: (topic, state); others are no topics.

    A topic that somebody leaves on without ever having granted it is granted now: it was shown and chosen.
    """
    chosen, found = set(wanted), list[tuple[str, State]]()
    for topic in rules.topics:
        now_stands = standing(history, topic, rules, now).stands
        if topic in chosen and now_stands != "granted":
            found.append((topic, "granted"))
        elif topic not in chosen and now_stands != "withdrawn":
            found.append((topic, "withdrawn"))
    return found
