"""openings.yaml: what a salesperson could say first, by what the lead did, where it stands and what is known of it.

Decides which sentence fits: the first in the file whose conditions hold and whose words are all known. tasks.briefing
asks it for each notification; a workspace without the file says what DEFAULT says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.documents import Document, did_you_mean
from models.rules.predicates import Predicate, ReadList
from models.rules.scoring.fields import Names

WORDS = ("first_name", "last_name", "company", "job_title", "industry", "name", "path", "campaign", "rep")
"""What a sentence may name in braces. `name`, `path`, `campaign`: of the act that the opening is about."""
LONGEST = 400


def _sentence(value: str) -> str:
    try:
        named = [(name, spec, shape) for _, name, spec, shape in Formatter().parse(value) if name is not None]
    except ValueError as error:
        raise ValueError(f"found {value!r}: {error}; a brace that is meant as one is written twice") from error
    for name, spec, shape in named:
        if name not in WORDS or spec or shape:
            allowed = ", ".join(f"{{{word}}}" for word in WORDS)
            raise ValueError(f"found {{{name}}}{did_you_mean(name, WORDS)}; allowed: {allowed}")
    return value


Sentence = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_sentence)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


@dataclass(frozen=True, slots=True)
class LeadFacts:
    """What openings may ask of a lead."""

    attributes: Mapping[str, Any]
    words: Mapping[str, str]
    """Of WORDS those that are known, besides the act's."""
    band: str | None = None
    cell: str | None = None
    again: bool = False


class Opening(_Part):
    """A sentence, and whom it is for: all that is given must hold."""

    on: Names = []
    """Acts of the last two weeks; the newest of one of these types is what the sentence is about."""
    where: Predicate | None = None
    """What the act was about: type, name, host, path, campaign."""
    band: Names = []
    cell: Names = []
    if_: Predicate | None = Field(default=None, alias="if")
    """What is known of the lead and its account."""
    again: bool | None = None
    """True: only for leads that were with sales before; false: only for others."""
    say: Sentence

    def about(self, acts: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """The act that the sentence is about; empty where it asks for none, None where there is none."""
        if not self.on and self.where is None:
            return {}
        for act in acts:
            if (not self.on or act["type"] in self.on) and (self.where is None or self.where.holds(act)):
                return act
        return None

    def holds(self, lead: LeadFacts) -> bool:
        """Whether what is known of the lead is what the opening asks for."""
        if self.again is not None and self.again != lead.again:
            return False
        if (self.band and lead.band not in self.band) or (self.cell and lead.cell not in self.cell):
            return False
        return self.if_ is None or self.if_.holds(lead.attributes)


class Openings(_Part):
    """openings.yaml."""

    greetings: list[Sentence] = Field(default=["Hello {first_name},", "Hello,"], min_length=1)
    """How it begins: the first whose words are all known."""
    openings: list[Opening] = Field(min_length=1)

    @classmethod
    def load(cls, document: Document, read_list: ReadList | None = None) -> Openings:
        """openings.yaml as Openings. Raises ConfigurationError with every mistake and its line."""
        return document.validate(cls, {"read_list": read_list})

    def attributes(self) -> frozenset[str]:
        """The attributes that `if` looks at."""
        return frozenset[str]().union(*(one.if_.attributes() for one in self.openings if one.if_ is not None))

    def choose(self, lead: LeadFacts, acts: Sequence[Mapping[str, Any]]) -> str | None:
        """The greeting and the first sentence that fits; None if none does.

        `acts`: newest first, each with type, name, host, path and campaign (absent or None where unknown). `told`: its
        name as a sentence may use it, where that is not `name` itself.
        """
        for one in self.openings:
            act = one.about(acts) if one.holds(lead) else None
            if act is not None and (said := _said(one.say, _known(lead, act))) is not None:
                greeting = next(filter(None, (_said(each, lead.words) for each in self.greetings)), "")
                return f"{greeting} {said}".strip()
        return None

    def types(self) -> Collection[str]:
        """The activity types that openings are about."""
        return {kind for one in self.openings for kind in one.on}


def _known(lead: LeadFacts, act: Mapping[str, Any]) -> dict[str, str]:
    named = {"name": act.get("told", act.get("name")), "path": act.get("path"), "campaign": act.get("campaign")}
    return {**lead.words, **{word: str(value) for word, value in named.items() if value}}


def _said(sentence: str, words: Mapping[str, str]) -> str | None:
    """The sentence with its words put in; None if one of them is not known."""
    parts = []
    for literal, name, _, _ in Formatter().parse(sentence):
        parts.append(literal)
        if name is not None:
            if not words.get(name):
                return None
            parts.append(words[name])
    return "".join(parts)


DEFAULT = Openings.model_validate(
    {
        "openings": [
            {"on": "contact_request", "say": "you asked us to get in touch: how can I help?"},
            {"on": "quote_request", "say": "you asked for a quote: what should it cover?"},
            {"on": "demo_request", "say": "you asked for a demo: what would you like to see first?"},
            {"on": "email_reply", "say": "thank you for your reply: when would a short call suit you?"},
            {"on": "form_submit", "say": "thank you for writing to us: how can I help?"},
            {"on": "free_trial", "say": "you have started a trial: what would you like to get out of it?"},
            {
                "on": "webinar_attended",
                "say": "thank you for joining our webinar: which part was of most use to you?",
            },
            {
                "on": "webinar_registered",
                "say": "you have signed up for our webinar: what would you like to take away from it?",
            },
            {
                "on": "content_download",
                "say": "thank you for downloading our material: what are you working on?",
            },
            {"say": "I would like to hear what you are working on: what are you trying to solve?"},
        ]
    }
)
"""What is said in a workspace without the file; its last sentence fits everybody."""
