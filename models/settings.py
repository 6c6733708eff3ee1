"""Settings of a workspace: defaults < warmline.yaml < environment (WARMLINE_…) < command line.

Decides what can be set and where each value came from. Secrets come only from the environment or from a file that a
variable NAME_FILE names; warmline.yaml has no field for them. The programme itself (model, lifecycle, sequences, team)
is in files of its own: models.workspace.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from models.documents import ConfigurationError, Document, Location, Problem, shown
from models.rules.collector import CollectorRules
from models.rules.consent import ConsentRules
from models.rules.durations import HalfLife
from models.rules.express import ExpressRules
from models.rules.hooks.settings import HOOK, Hook, HookSetting, hook_variable
from models.rules.instants import DAY
from models.rules.languages import language_tag
from models.rules.limits import FARTHEST, Domain, DomainLimit, WarmUp
from models.rules.links import TrackingRules
from models.rules.machine import MachineRules
from models.rules.mail import Refused, address
from models.rules.pacing import Sending
from models.rules.verdicts import FeedbackRules
from models.rules.verp import LONGEST_MAILBOX
from models.rules.webhooks import ENDPOINT, Endpoint

PREFIX = "WARMLINE_"
SECRETS = {
    "database_password": ("database_password",),
    "secret_key": ("secret_key",),
    "smtp__password": ("smtp", "password"),
    "mailbox__password": ("mailbox", "password"),
}
"""Variable (after PREFIX, in lower case) → where its value goes. May also come from the file in NAME_FILE."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"found {shown(name)}; allowed: an IANA time zone, such as Europe/Berlin") from error
    return name


TimeZone = Annotated[str, AfterValidator(_zone)]


def _language(text: str) -> str:
    tag = language_tag(text)
    if tag is None:
        raise ValueError(f"found {shown(text)}; allowed: a language tag, such as en or pt-BR")
    return tag


Language = Annotated[str, AfterValidator(_language)]


def _mailbox(text: str) -> str:
    checked = address(text)
    if isinstance(checked, Refused):
        raise ValueError(checked.reason)
    return text


MailAddress = Annotated[str, AfterValidator(_mailbox)]


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Smtp(_Part):
    """The relay that mail leaves through. Off loopback `tls` cannot be `none`."""

    host: str = "127.0.0.1"
    port: int = Field(default=1025, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "none"
    username: str | None = None
    password: SecretStr | None = None
    connections: int = Field(default=10, ge=1, le=64)
    local_hostname: str = "localhost"
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600)
    """For connecting (with TLS and AUTH), for each answer and for the body to leave."""
    reply_timeout_seconds: float = Field(default=600.0, gt=0, le=7200)
    """For the answer to the final dot: RFC 5321 4.5.3.2.6 asks for 10 minutes. Impatience makes doubt."""

    per_day: int | None = Field(default=None, ge=1, le=FARTHEST)
    """Messages to people outside that leave on one day at most; None: as many as there are."""
    warm_up: WarmUp | None = None
    domains: dict[Domain, DomainLimit] = {}

    @model_validator(mode="after")
    def _is_private(self) -> Smtp:
        if self.tls == "none" and not self.is_loopback:
            raise ValueError(f"found tls 'none' for host {shown(self.host)}; allowed off loopback: starttls, implicit")
        return self

    @property
    def is_loopback(self) -> bool:
        return self.host in _LOOPBACK


class Sender(_Part):
    """Who the mail is from. `postal_address` stands in every nurture mail (CAN-SPAM, and similar laws elsewhere)."""

    name: str = "Warmline"
    email: MailAddress = "hello@warmline.example"
    earlier: tuple[MailAddress, ...] = ()
    """What `email` was before: Message-IDs carry its domain, and mail of then is still answered, returned, clicked."""
    reply_to: MailAddress | None = None
    postal_address: str = ""


class Bounces(_Part):
    """Where mail that cannot be delivered, and what else machines answer, comes back to; and what it leads to."""

    address: MailAddress | None = None
    """With it each mail goes out from an envelope sender of its own: `b+<id>.<mac>@bounces.example` for
    b@bounces.example. Its server must deliver `b+anything` to the same mailbox."""
    earlier: tuple[MailAddress, ...] = ()
    """What `address` was before: mail that went out then comes back there for weeks, and is read as well."""
    lmtp_host: str = "127.0.0.1"
    lmtp_port: int | None = Field(default=None, ge=0, le=65535)
    """Where `warmline serve` takes returned mail in from a mail server; None = it does not, 0 = any free port."""
    soft_days: int = Field(default=14, ge=1, le=365)
    """An address that has refused mail only temporarily, but for so many days and at least three times, is held."""
    strikes: int = Field(default=2, ge=1, le=10)
    """How many unclear refusals for good (such as 5.0.0) of different mails are as good as a clear one."""
    keep_content: HalfLife = 90 * DAY
    """How long a returned mail keeps its bytes; what was made of it stays. `none`: for ever."""

    @field_validator("address")
    @classmethod
    def _leaves_room(cls, address: str | None) -> str | None:
        if address is not None and len(address.rpartition("@")[0].encode()) > LONGEST_MAILBOX:
            allowed = f"at most {LONGEST_MAILBOX} octets before the `@`, so that the name of a message fits in behind"
            raise ValueError(f"found {shown(address)}; allowed: {allowed}")
        return address


class Retention(_Part):
    """How long what only tells of the past is kept, where it grows with every crossing. `none`: for ever."""

    webhooks: HalfLife = 90 * DAY
    """Webhooks that were delivered, or settled by a person; what waits or was given up stays."""
    actions: HalfLife = 730 * DAY
    """What actions of lifecycle.yaml did."""


class Mailbox(_Part):
    """A mailbox that is looked into for returned mail. Off loopback `tls` cannot be `none`."""

    host: str | None = None
    port: int = Field(default=993, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit"] = "implicit"
    username: str = ""
    password: SecretStr | None = None
    folder: str = "INBOX"
    processed: str | None = None
    """The folder that a mail is moved to once it is kept here; None = it stays and gets the flag \\Seen."""
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _is_private(self) -> Mailbox:
        if self.tls == "none" and self.host not in {None, *_LOOPBACK}:
            raise ValueError(f"found tls 'none' for host {shown(self.host)}; allowed off loopback: starttls, implicit")
        return self


_LABELS = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def _dns_name(text: str) -> str:
    if not _LABELS.fullmatch(text) or len(text) > 253:
        raise ValueError(f"found {shown(text)}; allowed: small letters, digits, `-` and `.`, as in the DNS")
    return text


DnsName = Annotated[str, AfterValidator(_dns_name)]


class Dkim(_Part):
    """A key that signs the mail. Its public half stands in the DNS at `selector`._domainkey.`domain`."""

    selector: DnsName
    domain: DnsName | None = None
    """None: the domain of `sender.email`."""

    @property
    def variable(self) -> str:
        """The environment variable that the private key comes from, or whose name with _FILE names its file."""
        return f"{PREFIX}DKIM_KEY_{re.sub('[.-]', '_', self.selector).upper()}"


class Prefect(_Part):
    """Where `warmline serve` puts its Prefect server."""

    host: str = "127.0.0.1"
    port: int = Field(default=4200, ge=1, le=65535)


class Web(_Part):
    """Where `warmline serve` answers people from outside; `base_url` is how they see it."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    """0 takes any free one."""
    trusted_proxies: list[str] = ["127.0.0.1", "::1"]
    """Addresses whose X-Forwarded-For says who asks: your TLS proxy's."""


class Settings(BaseSettings):
    """warmline.yaml."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__")

    database_url: str = "sqlite:///warmline.db"
    database_password: SecretStr | None = None
    time_zone: TimeZone = "UTC"
    language: Language = "en"
    inbox: str = "inbox"
    base_url: str | None = None
    secret_key: SecretStr | None = None
    smtp: Smtp = Smtp()
    sender: Sender = Sender()
    dkim: list[Dkim] = []
    bounces: Bounces = Bounces()
    mailbox: Mailbox = Mailbox()
    prefect: Prefect = Prefect()
    web: Web = Web()
    collector: CollectorRules = CollectorRules()
    machine: MachineRules = MachineRules()
    consent: ConsentRules = ConsentRules()
    tracking: TrackingRules = TrackingRules()
    sending: Sending = Sending()
    express: ExpressRules = ExpressRules()
    feedback: FeedbackRules = FeedbackRules()
    retention: Retention = Retention()
    webhooks: dict[Annotated[str, Field(pattern=ENDPOINT)], Endpoint] = {}
    hooks: dict[Annotated[str, Field(pattern=HOOK)], HookSetting] = {}
    schedules: dict[str, str] = {}

    @model_validator(mode="after")
    def _can_be_confirmed(self) -> Settings:
        if self.consent.require == "double_opt_in" and not self.base_url:
            raise ValueError(
                "consent.require: found 'double_opt_in' without `base_url`, which the link to confirm needs"
            )
        return self

    @model_validator(mode="after")
    def _knows_its_address(self) -> Settings:
        if not self.base_url and (asking := [name for name, hook in self.hooks.items() if hook.needs_url]):
            raise ValueError(f"hooks.{asking[0]}: its sender signs the address that it calls; `base_url` must say it")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `init` holds the file under "file" and the command line under "words": see load_settings.
        given = dict(init_settings())
        file, words = given.pop("file", {}), given.pop("words", {})
        return (
            InitSettingsSource(settings_cls, init_kwargs=words),
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=file),
        )


def load_settings(path: Path, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings of the workspace whose warmline.yaml is at `path`.

    `overrides`: the command line's, nested as in the file. Raises ConfigurationError with every mistake: of the file
    with its line, of the environment with the variable's name. A secret in the file is a mistake.
    """
    document = Document.parse(path.read_text(encoding="utf-8"), path.name)
    misplaced = [
        document.problem(
            place, f"a secret never stands in this file; set {PREFIX}{name.upper()} or {PREFIX}{name.upper()}_FILE"
        )
        for name, place in SECRETS.items()
        if document.line(place) is not None and _value_at(document.data, place) is not None
    ]
    if misplaced:
        raise ConfigurationError(misplaced)
    words = dict(overrides or {})
    for name, place in SECRETS.items():
        _put(words, place, _secret_from_file(f"{PREFIX}{name.upper()}_FILE"))
    settings: Callable[..., Settings] = Settings  # its sources take these two apart; they are no fields
    try:
        return settings(file=document.data, words=words)
    except ValidationError as error:
        problems = [_told(document, overrides or {}, e) for e in error.errors(include_url=False)]
        raise ConfigurationError(problems) from error


def _told(document: Document, overrides: Mapping[str, Any], error: Any) -> Problem:
    """The mistake at the layer that it came from: the command line, a variable, or a line of the file."""
    place = error["loc"]
    told = document.told(Settings, error)
    if _value_at(overrides, place) is not None:
        return Problem(f"--set {told.field}", None, "", told.message)
    variable = PREFIX + "__".join(str(part) for part in place).upper()
    if variable in os.environ:
        return Problem(variable, None, "", told.message)
    return told


def _value_at(data: Any, place: Location) -> Any:
    for part in place:
        data = data.get(part) if isinstance(data, Mapping) else None
    return data


def _put(data: dict[str, Any], place: Location, value: str | None) -> None:
    if value is None:
        return
    for part in place[:-1]:
        data = data.setdefault(str(part), {})
    data[str(place[-1])] = value


def secret_variable(variable: str) -> str | None:
    """The secret in the environment variable, or in the file that the same name with _FILE names; None without."""
    return os.environ.get(variable) or _secret_from_file(f"{variable}_FILE")


def _secret_from_file(variable: str) -> str | None:
    if not (file := os.environ.get(variable)):
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([Problem(variable, None, "", f"cannot read {shown(file)}: {error}")]) from error


def hook_secrets(hooks: Mapping[str, Hook]) -> dict[str, tuple[str, ...]]:
    """Hook → its secrets, several while one is replaced; ConfigurationError with every one that is amiss."""
    from models.rules.hooks.signatures import amiss

    found: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for name, hook in hooks.items():
        if not hook.needs_secret:
            found[name] = ()
            continue
        variable = hook_variable(name)
        words = tuple((secret_variable(variable) or "").split())
        if not words:
            why = f"hooks.{name}: not set, nor {variable}_FILE: the secret of the hook, or several with spaces between"
            problems.append(Problem(variable, None, "", why))
        problems += [
            Problem(variable, None, "", f"hooks.{name}: is no secret of this hook; {why}")
            for why in dict.fromkeys(amiss(hook, word) for word in words)
            if why
        ]
        found[name] = words
    if problems:
        raise ConfigurationError(problems)
    return found
