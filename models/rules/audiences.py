"""Audiences for retargeting: who is in one, who must be left out whatever it says, and how a member is written down.

Decides membership from facts, the hashes that ad platforms know an address by, and what a cell of a CSV may hold. Reads
nothing: tasks.audiences brings the facts and writes the files and webhooks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from models.documents import Document, shown
from models.rules import addresses
from models.rules.agreement import Mistake, condition_mistakes, unknown
from models.rules.conditions import Check, Facts
from models.rules.consent import ConsentRules
from models.rules.criteria import Criterion
from models.rules.durations import Duration
from models.rules.instants import DAY
from models.rules.lifecycle import Stage
from models.rules.predicates import ReadList
from models.rules.scoring import ScoringModel
from models.rules.sequences.asking import stages_known
from models.rules.short_forms import one_or_more
from models.rules.values import as_text, is_missing
from models.rules.webhooks import ENDPOINT

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
HASHED = "_sha256"
"""What the name of a column ends with whose values are hashed."""
EMAIL_HASH = f"email{HASHED}"
STRICTNESS = ("none", "opt_in", "double_opt_in")
_FORMULA = re.compile(r"^\s*[=+\-@|%\t\r\n]")
_QUANTITY = re.compile(r"[+-]?[\d .,()/-]*\d[\d .,()/-]*")
"""A number or a telephone number: a spreadsheet computes nothing from it."""
_NO_DIGIT = re.compile(r"[^\d+]")
NO_ADDRESS = "no e-mail address"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Segment(Criterion):
    """Who is meant: what lifecycle.yaml may ask, and `stages`; all that is given must hold."""

    stages: list[str] = Field(default_factory=list)
    any: list[Segment] = Field(default_factory=list)  # type: ignore[assignment]
    all: list[Segment] = Field(default_factory=list)  # type: ignore[assignment]
    not_: Segment | None = Field(default=None, alias="not")

    _known = field_validator("stages")(stages_known)
    _one_or_more_stages = field_validator("stages", mode="before")(one_or_more)

    def _joined(self) -> Iterator[tuple[Check, Callable[[Facts], str]]]:
        if self.stages:
            yield lambda facts: facts.stage in self.stages, lambda facts: f"stage {facts.stage}"
        yield from super()._joined()

    def described(self) -> str:
        words = [super().described(), f"stage {' or '.join(self.stages)}" if self.stages else ""]
        return " and ".join(word for word in words if word)

    def named_stages(self) -> frozenset[str]:
        """The stages that it asks for anywhere."""
        return frozenset(name for part in self.walk() if isinstance(part, Segment) for name in part.stages)


class Target(_Part):
    """Where a scheduled run puts the audience: a file of the workspace, or an endpoint of `webhooks:`."""

    file: str | None = Field(default=None, min_length=1)
    webhook: str | None = Field(default=None, pattern=ENDPOINT)
    every: Duration = DAY
    """How often, at the soonest."""
    changes: bool = False
    """The file holds who came and who left since the last one, instead of everybody. A webhook always tells changes."""

    @model_validator(mode="after")
    def _is_one(self) -> Target:
        if (self.file is None) == (self.webhook is None):
            raise ValueError("allowed: exactly one of `file` and `webhook`")
        return self

    @field_validator("file")
    @classmethod
    def _stays_inside(cls, file: str | None) -> str | None:
        if file is not None and (file.startswith(("/", "~")) or ".." in file.split("/") or not file.endswith(".csv")):
            raise ValueError(f"found {shown(file)}; allowed: a path within the workspace that ends in .csv")
        return file


Columns = Annotated[
    dict[str, str],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
            ],
            "description": "Header → what is told of each member; or a list of what is told.",
        }
    ),
]


class Audience(_Part):
    """audiences/NAME.yaml."""

    description: str = ""
    who: Segment
    topic: str | None = None
    """The topic of `consent:` in warmline.yaml that nobody in it has withdrawn; without one, the first of these."""
    require: Literal["none", "opt_in", "double_opt_in"] | None = None
    """What must have been said for that topic, where it is more than `consent.require` of warmline.yaml asks."""
    columns: Columns = Field(default={EMAIL_HASH: EMAIL_HASH}, min_length=1, max_length=100)
    """Header → what is told: email_sha256, email, stage, owner, company, total, cell, band, an attribute, or an
    attribute with `_sha256` behind it. Short: a list of these."""
    to: Target | None = None

    @field_validator("columns", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return {str(name): name for name in value} if isinstance(value, list) else value

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("who"), dict) and not value["who"]:
            raise ValueError("who: empty; everybody is no audience")
        return value

    @classmethod
    def load(cls, document: Document, read_list: ReadList | None = None) -> Audience:
        """A file of audiences/. Raises ConfigurationError with every mistake and its line."""
        return document.validate(cls, {"read_list": read_list})

    def consent(self, rules: ConsentRules) -> ConsentRules:
        """What must have been said: the stricter of the workspace's word and its own."""
        asked = max(rules.require, self.require or "none", key=STRICTNESS.index)
        return rules.model_copy(update={"require": asked})

    def keeps_out(self, facts: Facts, email: str | None) -> str:
        """Why somebody whom `who` means is no member all the same, in words; empty if nothing of the lead says so."""
        if email is None:
            return NO_ADDRESS
        if facts.excluded is not None:
            return f"excluded: {facts.excluded}"
        if facts.stage == Stage.DISQUALIFIED and Stage.DISQUALIFIED not in self.who.named_stages():
            return "disqualified"
        return ""


def mistakes(
    audience: Audience, models: Mapping[str, ScoringModel], rules: ConsentRules, endpoints: Collection[str]
) -> Iterator[Mistake]:
    """Models, dimensions, bands, cells, topics and endpoints in an audience that there are not."""
    yield from condition_mistakes(("who",), audience.who, models)
    if audience.topic is not None and (message := rules.mistake(audience.topic)):
        yield ("topic",), f"{message} (topics of `consent:` in warmline.yaml)"
    if audience.to is not None and audience.to.webhook is not None:
        yield from unknown(("to", "webhook"), "endpoint", [audience.to.webhook], endpoints, "warmline.yaml")


def email_digest(email: str) -> bytes:
    """SHA-256 of the address, trimmed and in lower case: what Google Ads, Meta and LinkedIn match by.

    https://support.google.com/google-ads/answer/7659867, https://www.facebook.com/business/help/2082575038703844
    """
    return sha256(addresses.normalise(email).encode()).digest()


def told(columns: Mapping[str, str], known: Mapping[str, Any]) -> list[Any]:
    """The values of the columns, of what is known of a member."""
    return [
        _hashed(name.removesuffix(HASHED), known) if name.endswith(HASHED) else known.get(name)
        for name in columns.values()
    ]


def _hashed(name: str, known: Mapping[str, Any]) -> str | None:
    """An attribute as ad platforms hash it: trimmed, in lower case; a telephone number as E.164, or not at all."""
    if name == "email":
        return email_digest(str(known["email"])).hex() if known.get("email") else None
    text = as_text(known.get(name))
    if text is None or is_missing(text):
        return None
    plain = " ".join(text.lower().split())
    if name in ("phone", "mobile"):
        plain = _NO_DIGIT.sub("", plain)
        plain = f"+{plain[2:]}" if plain.startswith("00") else plain
        if not plain.startswith("+"):  # without its country it would be somebody else's
            return None
    return sha256(plain.encode()).hexdigest()


def cell(value: Any) -> str:
    """The value as a CSV holds it: what a spreadsheet would take for a formula begins with an apostrophe.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if isinstance(value, list):
        value = ", ".join(text for one in value if (text := as_text(one)) is not None)
    text = as_text(value) or ""
    text = "".join(character if character.isprintable() else " " for character in text)
    return f"'{text}" if _FORMULA.match(text) and not _QUANTITY.fullmatch(text.strip()) else text
