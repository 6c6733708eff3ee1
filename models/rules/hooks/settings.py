"""`hooks:` of warmline.yaml: by which names webhooks come in, from whom, and how a sender proves who it is.

Decides what can be set and what every provider does by itself. Secrets are no part of it: each hook has an environment
variable (`hook_variable`). models.rules.hooks.signatures checks requests by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.documents import Location, shown
from models.errors import UsageError
from models.rules.durations import Duration
from models.rules.instants import DAY, MINUTE

HOOK = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""A hook's name: it stands in the address, /v1/hooks/NAME."""


class Provider(StrEnum):
    """Who sends. `generic`: anybody, by a mapping."""

    SES = "ses"
    SENDGRID = "sendgrid"
    MAILGUN = "mailgun"
    POSTMARK = "postmark"
    BREVO = "brevo"
    SPARKPOST = "sparkpost"
    MAILJET = "mailjet"
    MANDRILL = "mandrill"
    MAILERSEND = "mailersend"
    RESEND = "resend"
    POSTAL = "postal"
    UNISENDER_GO = "unisender-go"
    TYPEFORM = "typeform"
    CALENDLY = "calendly"
    HUBSPOT = "hubspot"
    PIPEDRIVE = "pipedrive"
    GENERIC = "generic"


MAPPED = {
    Provider.TYPEFORM: "typeform",
    Provider.CALENDLY: "calendly",
    Provider.HUBSPOT: "hubspot-webhook",
    Provider.PIPEDRIVE: "pipedrive-webhook",
}
"""Provider → the ready mapping by which its records are read, if the hook names no other."""
MAIL = frozenset(Provider) - MAPPED.keys() - {Provider.GENERIC}
"""Providers whose events are about mails."""

TOPIC = r"^arn:aws(-[a-z]+)*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?$"
SIGNED = r"^([^{}]|\{(timestamp|body|method|url)\})*$"


class Auth(BaseModel):
    """How a sender proves who it is.

    `hmac`: a keyed hash in a header. `standard`: that of Standard Webhooks (and Svix). `basic`: name and password of
    HTTP. `bearer`: a token in `Authorization`. `token`: one in a header of its own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Literal["hmac", "standard", "basic", "bearer", "token"]
    header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,100}$")
    """Where the signature (`hmac`) or the token stands."""
    algorithm: Literal["sha256", "sha512", "sha1"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = Field(default="", max_length=40)
    """What stands before the signature or token, such as `sha256=` or `v1=`. A header may hold several parts,
    separated by commas; those with the prefix count."""
    timestamp_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,100}$")
    timestamp_field: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]{1,20}$")
    """Of the signature's header: `t` of `t=1492774577,v1=…`."""
    signed: str | None = Field(default=None, pattern=SIGNED, max_length=200)
    """What is hashed: text with {body}, {timestamp}, {method}, {url}. By default `{body}`, with a timestamp
    `{timestamp}.{body}`."""

    @model_validator(mode="after")
    def _fits(self) -> Auth:
        if self.scheme in ("hmac", "token") and self.header is None:
            raise ValueError(f"scheme {self.scheme} needs `header`, the name of the header that it stands in")
        if self.scheme not in ("hmac", "token") and self.header is not None:
            raise ValueError(f"header: scheme {self.scheme} has one of its own")
        if self.timestamp_header and self.timestamp_field:
            raise ValueError("found timestamp_header and timestamp_field; allowed: one of them")
        if self.is_timed and "{timestamp}" not in self.content:
            raise ValueError("signed: a timestamp that is not signed proves nothing; put {timestamp} in")
        if "{body}" not in self.content:
            raise ValueError("signed: {body} is missing: what is not signed can be exchanged")
        return self

    @property
    def is_timed(self) -> bool:
        return bool(self.timestamp_header or self.timestamp_field)

    @property
    def content(self) -> str:
        """What is hashed, as a template."""
        return self.signed or ("{timestamp}.{body}" if self.is_timed else "{body}")


def _scheme(value: Any) -> Any:
    return {"scheme": value} if isinstance(value, str) else value


_BASIC, _BEARER = Auth(scheme="basic"), Auth(scheme="bearer")
AUTHS: dict[Provider, tuple[Auth, ...]] = {
    Provider.POSTMARK: (_BASIC,),
    Provider.BREVO: (_BASIC, _BEARER),
    Provider.SPARKPOST: (_BASIC, _BEARER),
    Provider.MAILJET: (_BASIC,),
    Provider.MAILERSEND: (Auth(scheme="hmac", header="Signature"),),
    Provider.RESEND: (Auth(scheme="standard"),),
    Provider.TYPEFORM: (Auth(scheme="hmac", header="Typeform-Signature", encoding="base64", prefix="sha256="),),
    Provider.CALENDLY: (Auth(scheme="hmac", header="Calendly-Webhook-Signature", prefix="v1=", timestamp_field="t"),),
    Provider.HUBSPOT: (
        Auth(
            scheme="hmac",
            header="X-HubSpot-Signature-v3",
            encoding="base64",
            timestamp_header="X-HubSpot-Request-Timestamp",
            signed="{method}{url}{body}{timestamp}",
        ),
    ),
    Provider.PIPEDRIVE: (_BASIC,),
}
"""Provider → what it can be asked for; one of them is enough. The others sign in ways of their own."""
WINDOWS = {Provider.SES: DAY, Provider.SENDGRID: DAY, Provider.MAILGUN: DAY}
"""How old a signed time may be. These send again for hours under the same signature; what comes twice is known by its
id, so that a wide window lets nobody do anything."""
WINDOW = 5 * MINUTE
"""For all others: what HubSpot asks for, and the recommendation of Standard Webhooks."""


class Hook(BaseModel):
    """One way in: /v1/hooks/NAME."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Provider = Provider.GENERIC
    mapping: str | None = Field(default=None, min_length=1)
    """The mapping (mappings/NAME.yaml, or a ready one) by which records are read."""
    auth: Annotated[Auth | None, BeforeValidator(_scheme)] = None
    """How the sender proves who it is; without it as the provider does."""
    window: Duration | None = None
    """How old a signed time may be."""
    topics: list[Annotated[str, Field(pattern=TOPIC)]] = []
    """The SNS topics that are listened to. Amazon signs for everybody: whoever has an account has topics."""
    certificate: str | None = Field(default=None, min_length=1)
    """A file of the workspace with the certificate (PEM) that SNS signs with; without it, it is fetched from Amazon."""

    @model_validator(mode="after")
    def _fits(self) -> Hook:
        if self.provider is Provider.GENERIC and (self.mapping is None or self.auth is None):
            missing = " and ".join(name for name in ("mapping", "auth") if getattr(self, name) is None)
            raise ValueError(f"a hook without `provider` needs {missing}")
        if self.provider in MAIL and self.mapping is not None:
            raise ValueError(f"mapping: found {shown(self.mapping)}; events of {self.provider.value} need none")
        if self.provider is Provider.SES and not self.topics:
            raise ValueError("topics: missing; name the SNS topics, such as arn:aws:sns:eu-central-1:123456789012:mail")
        if self.provider is Provider.SES and self.auth is not None:
            raise ValueError("auth: SNS signs by a certificate; there is nothing to choose")
        if self.provider is not Provider.SES and (self.topics or self.certificate):
            raise ValueError("topics and certificate belong to provider ses alone")
        return self

    @property
    def auths(self) -> tuple[Auth, ...]:
        """The ways by which the sender may prove who it is; empty where the provider signs in a way of its own."""
        return (self.auth,) if self.auth is not None else AUTHS.get(self.provider, ())

    @property
    def mapping_name(self) -> str | None:
        """The mapping by which records are read; None for mail providers."""
        return self.mapping or MAPPED.get(self.provider)

    @property
    def longest(self) -> int:
        """How old a signed time may be, in microseconds."""
        return self.window if self.window is not None else WINDOWS.get(self.provider, WINDOW)

    @property
    def is_about_mail(self) -> bool:
        """Whether its events are about mails that we sent."""
        return self.provider in MAIL

    @property
    def needs_secret(self) -> bool:
        return self.provider is not Provider.SES

    @property
    def needs_url(self) -> bool:
        """Whether the address that the sender called is signed, so that it must be known as the sender sees it."""
        return (self.auth is None and self.provider is Provider.MANDRILL) or any(
            "{url}" in auth.content for auth in self.auths
        )


def _named(value: Any) -> Any:
    return {"provider": value} if isinstance(value, str) else value


HookSetting = Annotated[Hook, BeforeValidator(_named)]
"""A hook, or the name of its provider alone."""


def hook_variable(name: str) -> str:
    """The environment variable that the hook's secrets come from, or whose name with _FILE names their file."""
    return f"WARMLINE_HOOK_SECRET_{re.sub('[^A-Za-z0-9]', '_', name).upper()}"


def hook_mistakes(
    hooks: Mapping[str, Hook], mapping: Callable[[str], object], read_text: Callable[[str], str]
) -> Iterator[tuple[Location, str]]:
    """Hooks that name a mapping or a file which is not there. `mapping`, `read_text`: the workspace's."""
    for name, hook in hooks.items():
        try:
            if hook.mapping is not None:
                mapping(hook.mapping)
        except UsageError as error:
            yield ("hooks", name, "mapping"), str(error).removeprefix("mapping: ")
        try:
            if hook.certificate is not None:
                read_text(hook.certificate)
        except OSError as error:
            yield ("hooks", name, "certificate"), f"found {shown(hook.certificate)}: {error}"
