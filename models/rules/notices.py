"""A mail to our own people, as a step `notify` of a sequence or an action of lifecycle.yaml asks for it.

Decides who may be named and what the block may say. Who of them is found, and what the mail tells, is tasks.notices'
business.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.rules.acts import FOLDER
from models.rules.mail import Refused, address
from models.rules.notification import SEQUENCE_NOTICE
from models.rules.short_forms import fields_or, one_or_more

OWNER = "owner"


class Notify(BaseModel):
    """A mail to our own people. Short: only who."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    to: list[str] = Field(min_length=1)
    """Who gets it: `owner` (of the lead, else of its account), somebody of the team, or an address; the first found."""
    template: str = Field(default=SEQUENCE_NOTICE, pattern=FOLDER)
    because: str = ""
    """What the mail says first: why it comes."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return fields_or("to", value, "owner, a name of the team, an address")

    _one_or_more = field_validator("to", mode="before")(one_or_more)

    @field_validator("to")
    @classmethod
    def _addresses_are_some(cls, value: list[str]) -> list[str]:
        for one in value:
            if not one.strip():
                raise ValueError("found an empty text; allowed: owner, a name of the team, or an address")
            if "@" in one and isinstance(refused := address(one), Refused):
                raise ValueError(refused.reason)
        return value
