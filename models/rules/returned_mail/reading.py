"""What a mail that came back is: bounce, complaint, automatic answer, reply, wish to unsubscribe, or none of these.

Decides the kind, and for each recipient that a report names what became of the mail. Never looks anything up: which of
our messages it is about, models.rules.verp and the queries say. Takes any bytes without an exception.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import StrEnum

from models.rules.returned_mail import answers, narratives
from models.rules.returned_mail.notifications import Notification, notification
from models.rules.returned_mail.opening import Fields, Opened, canonical, every, first, opened
from models.rules.returned_mail.phrases import phrases
from models.rules.returned_mail.severity import Said, Severity, code_in, is_after_data, is_generic, severity, status_in
from models.rules.returned_mail.wordings import Meaning, meaning_of


class Kind(StrEnum):
    """What a mail that came back is."""

    BOUNCE = "bounce"
    DELIVERED = "delivered"
    COMPLAINT = "complaint"
    AUTO_REPLY = "auto_reply"
    UNSUBSCRIBE = "unsubscribe"
    REPLY = "reply"
    OTHER = "other"


@dataclass(frozen=True)
class Fate:
    """What became of the mail to one recipient. `action` as RFC 3464 2.3.3 has it; severity None for a success."""

    recipient: str
    action: str
    severity: Severity | None
    meaning: str
    status: str
    diagnostic: str

    @property
    def is_strike(self) -> bool:
        """A refusal for good that says nothing of the address: two of them, of different mails, are evidence."""
        return self.severity is Severity.UNCLEAR

    @property
    def effect(self) -> str:
        """In words, what it leads to if the mail is one of ours."""
        if self.action == "complained":
            return "suppress the address"
        if self.severity is None:
            return "a message in doubt becomes sent"
        return _EFFECTS[self.severity]


_EFFECTS = {
    Severity.HARD: "suppress the address",
    Severity.SOFT: "none; held if it lasts",
    Severity.POLICY: "none for the address; look at our sending",
    Severity.UNCLEAR: "a strike; the second one suppresses the address",
}


@dataclass(frozen=True)
class ReturnedMail:
    """A mail that came back, understood. `identity` names it for ever: the same mail twice has the same."""

    identity: str
    kind: Kind
    detail: str
    """In words: the kind of automatic answer, of complaint …"""
    sender: str
    subject: str
    fates: tuple[Fate, ...]
    addressed_to: tuple[str, ...]
    """Addresses that it came to, and that the mail it returns came from: one may be an envelope sender of ours."""
    refers_to: tuple[str, ...]
    """Message-IDs, `<a@b>`, that it answers or returns."""
    token: str
    """Of an unsubscribe link, or empty."""

    @property
    def effect(self) -> str:
        """In words, what it leads to if it is about a mail of ours."""
        if self.fates:
            return "; ".join(dict.fromkeys(fate.effect for fate in self.fates))
        return {
            Kind.UNSUBSCRIBE: "no more nurture mail",
            Kind.REPLY: "activity email_reply",
            Kind.AUTO_REPLY: "activity email_auto_reply",
        }.get(self.kind, "kept, nothing else")


_MAILER = phrases(
    r"""
    mailer-?daemon
    post_master
    mail delivery (?:sub)?system
    postmaster
    mail ?administrator
    mail-?daemon
    mdaemon
    delivery (?:status|system)
    internet mail delivery
    autoresponder-bounce
    mail system
    mailrouter
    system administrator
    systemadministrator
    microsoft ?exchange
    bounce
    """
)
_BOUNCE_SUBJECT = phrases(
    r"""
    undeliver
    delivery (?:status notification|failure|failed|has failed|error|problem|report|notification|incomplete|delayed
      |warning|unsuccessful)
    failure (?:notice|delivery)
    fail(?:ed|ure)\b.{0,30}\b(?:deliver|mail|message|to send)
    (?:mail|message|e-?mail)\b.{0,40}\b(?:return|fail|undeliver|not (?:be )?deliver|bounce|rejected|delayed|error
      |could not|can(?:no|')t|status|system)
    return(?:ed|ing)\b.{0,20}\b(?:mail|message|to sender|e-?mail)
    warning: (?:could not|message)
    non[ -]?delivery
    non ?(?:remis|delivr)
    unzustellbar
    nicht zu(?:stellbar|gestellt)
    zustellung
    fehlgeschlagen
    échec
    non remis
    no se (?:puede|pudo|ha podido) entreg
    no entregado
    devuelto
    mancato recapito
    não (?:foi )?entregue
    falha
    could not (?:be )?(?:deliver|send)
    unable to (?:deliver|send)
    delayed (?:mail|e-?mail|message)
    user unknown
    unknown user
    address not found
    mailbox (?:full|unavailable)
    nondeliverable
    not delivered
    postmaster notify
    配信
    送信
    配達
    メール.{0,10}エラー
    退信
    投递
    系统退信
    не доставлен
    недостав
    niedoręcz
    nie dostarcz
    onbestelbaar
    undelivered
    delivery delayed
    bounce
    rejected
    """
)
_COMPLAINT_SUBJECT = re.compile(
    r"^\W*(?:complaint about (?:a )?message|(?:email )?(?:abuse|feedback|spam) report)\b", re.I
)
_COMPLAINTS = {"abuse", "fraud", "virus", "spam", "complaint", "other", "opt-out", "opt-out-list", "miscategorized"}
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,500}@[^<>\s]{1,255}>")
_ADDRESSED = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to", "x-rcpt-to", "x-failed-recipients")
LONGEST_DIAGNOSTIC = 500


def read(raw: bytes) -> ReturnedMail:
    """Understand a mail that came back, whatever bytes it is."""
    mail = opened(raw)
    found = _understood(mail, raw)
    return replace(found, identity=_identity(mail, raw))


def _understood(mail: Opened, raw: bytes) -> ReturnedMail:
    if mail.feedback is not None or (mail.returned and _COMPLAINT_SUBJECT.search(mail.header("subject"))):
        return _complaint(mail, mail.feedback or ())
    if fates := reported(mail):
        done = all(fate.action in _SUCCESSES for fate in fates)
        return _returned(mail, Kind.DELIVERED if done else Kind.BOUNCE, ", ".join(_actions(fates)), fates)
    if (event := notification(mail.notice)) is not None:
        return _notified(mail, event)
    asks, token = answers.unsubscription(mail)
    if asks:
        return replace(_returned(mail, Kind.UNSUBSCRIBE, "asked by mail"), token=token)
    failed = _failed_recipients(mail)
    if not failed and not _is_mailers_notice(mail) and (answer := answers.automatic(mail)) is not None:
        kind = Kind.OTHER if answer is answers.Answer.READ_RECEIPT else Kind.AUTO_REPLY
        return _returned(mail, kind, answer.value)
    if (failed or _looks_like_bounce(mail)) and (fates := told(mail, raw, failed)):
        return _returned(mail, Kind.BOUNCE, "told in words", fates)
    if any(_references(mail)) and not _comes_from_machine(mail):
        return _returned(mail, Kind.REPLY, "answers a mail")
    return _returned(mail, Kind.OTHER, "nothing that we know")


def _returned(mail: Opened, kind: Kind, detail: str, fates: tuple[Fate, ...] = ()) -> ReturnedMail:
    refers = [*_references(mail), *every(mail.returned, "message-id")]
    addressed = [one for name in _ADDRESSED for value in every(mail.headers, name) for one in _addresses(value)]
    returned = [first(mail.returned, "return-path"), first(mail.feedback or (), "original-mail-from")]
    addressed += [one for value in returned for one in _addresses(value)]
    return ReturnedMail(
        "",
        kind,
        detail,
        next(iter(_addresses(mail.header("from"))), ""),
        mail.header("subject")[:200],
        fates,
        tuple(dict.fromkeys(addressed))[:20],
        tuple(dict.fromkeys(one for text in refers for one in _MESSAGE_ID.findall(text)))[:50],
        "",
    )


def _references(mail: Opened) -> list[str]:
    return [mail.header("in-reply-to"), mail.header("references"), mail.header("x-original-message-id")]


def _identity(mail: Opened, raw: bytes) -> str:
    """A digest of what no server changes on the way: its Message-ID alone is not always there, nor always unique."""
    named = [mail.header(name) for name in ("message-id", "date", "from", "to", "subject")]
    head, blank, rest = canonical(raw).partition(b"\n\n")
    body = rest if blank else head
    said = "\0".join(named).encode("utf-8", "replace")
    return hashlib.sha256(said + b"\0" + body.strip()).hexdigest()[:32]


def _addresses(value: str) -> list[str]:
    return [match[0] for match in narratives.ADDRESS.finditer(value[:5000])]


# --- RFC 3464 -------------------------------------------------------------------------------------------------------

_SUCCESSES = {"delivered", "relayed", "expanded"}
_ACTIONS = {"failed", "delayed", *_SUCCESSES}


def _actions(fates: tuple[Fate, ...]) -> list[str]:
    return sorted({fate.action for fate in fates})


def reported(mail: Opened) -> tuple[Fate, ...]:
    """What a report of RFC 3464 says of each recipient, in its order; empty without one."""
    blocks = [one for one in mail.reports if first(one, "final-recipient") or first(one, "original-recipient")]
    passages = {one.recipient.lower(): one.words for one in narratives.passages(mail.notice, frozenset())}
    alone = len(blocks) == 1
    found: dict[tuple[str, str], Fate] = {}
    for block in blocks:
        fate = _fate(block, mail, passages, alone)
        found.setdefault((fate.recipient.lower(), fate.action), fate)
    return tuple(found.values())


def _fate(block: Fields, mail: Opened, passages: dict[str, str], alone: bool) -> Fate:
    original = narratives.plain_address(first(block, "original-recipient"))
    final = narratives.plain_address(first(block, "final-recipient"))
    recipient = original if "@" in original else final or original
    action = re.sub(r"[^a-z]", "", first(block, "action").lower().split(" ")[0].split(";")[0])
    diagnostic = " ".join(first(block, "diagnostic-code").partition(";")[2].split()) or first(block, "diagnostic-code")
    status = status_in(first(block, "status"))
    if action not in _ACTIONS:
        action = {"2": "delivered", "4": "delayed"}.get(first(block, "status").strip()[:1], "failed")
    beside = passages.get(recipient.lower()) or passages.get(final.lower()) or (mail.notice if alone else "")
    return judged(recipient, action, status, diagnostic, beside)


def judged(recipient: str, action: str, status: str, diagnostic: str, beside: str) -> Fate:
    """What became of a mail to `recipient`: `action` as RFC 3464 has it, `beside` what else was said about it."""
    if action in _SUCCESSES:
        return Fate(recipient, action, None, "", status, diagnostic[:LONGEST_DIAGNOSTIC])
    specific = status_in(diagnostic)
    if specific and (not status or is_generic(status)) and not (status and is_generic(specific)):
        status = specific
    if not status:
        status = status_in(beside)
    telling = diagnostic if diagnostic and meaning_of(diagnostic) is not None else ""
    code = code_in(diagnostic) or (0 if diagnostic else code_in(beside))
    after_data = is_after_data(beside)
    said = Said(status, code, telling, "" if telling else beside, after_data)
    found, meaning = severity(said)
    if action == "delayed":
        found = Severity.SOFT
    words = diagnostic or _telling(beside)
    return Fate(recipient, action, found, meaning.value, status, words[:LONGEST_DIAGNOSTIC])


def _telling(text: str) -> str:
    """The first line of a text that says what went wrong, or the beginning of it."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    telling = (line for line in lines if meaning_of(line) not in {None, Meaning.UNCLEAR})
    return next(telling, " ".join(lines[:3]))


# --- in words -------------------------------------------------------------------------------------------------------


def _failed_recipients(mail: Opened) -> list[str]:
    """What Exim, Gmail and others put into a header of its own."""
    return [one for value in every(mail.headers, "x-failed-recipients") for one in _addresses(value)]


_SMTP_SAID = re.compile(r"(?im)^\W*[45]\d\d[ -].{3}|\bRCPT TO:|(?:remote (?:host|server)|server) said:")


_NOT_DELIVERED = re.compile(
    r"(?i)(?:could|can|was|were)(?: ?not|n['’]t) (?:be )?deliver|unable to deliver|failed to deliver"
)


def _looks_like_bounce(mail: Opened) -> bool:
    """A mail program's name or a subject of theirs, and one more sign: a person may return our mail too."""
    empty_path = first(mail.headers, "return-path").strip() in {"<>", "<MAILER-DAEMON>", "<#>"}
    machine = _comes_from_machine(mail)
    worded = _BOUNCE_SUBJECT.search(mail.header("subject")) is not None
    said = machine and _SMTP_SAID.search(mail.notice) is not None
    named = machine or worded or (empty_path and _NOT_DELIVERED.search(mail.notice) is not None)
    return named and sum((machine, worded, said, empty_path, bool(mail.returned))) >= 2


def _comes_from_machine(mail: Opened) -> bool:
    return any(_MAILER.search(mail.header(name)) for name in ("from", "sender"))


def _is_mailers_notice(mail: Opened) -> bool:
    """A mail program's notice that calls itself automatic, as Exim's and Postfix's do, is nobody's automatic answer.

    Who is away may have a null return path, return the whole mail and speak of full mailboxes: the sender tells.
    """
    if not _comes_from_machine(mail) or answers.has_automatic_subject(mail):
        return False
    return _looks_like_bounce(mail)


def told(mail: Opened, raw: bytes, failed: list[str]) -> tuple[Fate, ...]:
    """What a notice says in words of each recipient that it names; empty if it names none that could be understood."""
    ours = frozenset(
        one.lower()
        for name in ("to", "delivered-to", "from")
        for one in _addresses(" ".join(every(mail.headers, name)))
    )
    named = narratives.passages(mail.notice, ours - {one.lower() for one in failed})
    if failed:
        by_address = {one.recipient.lower(): one for one in named}
        named = [by_address.get(one.lower(), narratives.Passage(one, "")) for one in failed]
    if not named:
        permanent = narratives.found_by_flufl(raw)
        named = [narratives.Passage(one, "") for group in permanent for one in group]
    if not named:
        named = [narratives.Passage(one, "") for one in narratives.mentioned(mail.notice, ours)[:1]]
    if not named and (written_to := _addresses(first(mail.returned, "to"))):
        named = [narratives.Passage(one, "") for one in written_to[:1]]
    return tuple(_of_passage(one, mail) for one in named[:100])


_WARNING = phrases(
    r"""
    warning only
    do not need to resend
    has been delayed
    delivery .{0,40}delayed
    will (?:be retried|continue to (?:try|retry)|keep trying)
    still trying
    not yet been delivered
    no action is required
    nicht erneut senden
    delayed mail
    """
)


def _of_passage(passage: narratives.Passage, mail: Opened) -> Fate:
    beside = passage.words if passage.words and meaning_of(passage.words) is not None else mail.notice
    delayed = _WARNING.search(mail.notice) or _WARNING.search(mail.header("subject"))
    status = status_in(passage.words) or status_in(mail.notice)
    words = " ".join(passage.words.split()).lstrip(":. ")
    return judged(passage.recipient, "delayed" if delayed else "failed", status, words, beside)


def _notified(mail: Opened, event: Notification) -> ReturnedMail:
    kind = {"Bounce": Kind.BOUNCE, "Complaint": Kind.COMPLAINT, "Delivery": Kind.DELIVERED}[event.event]
    if kind is Kind.COMPLAINT:
        fates = tuple(Fate(one.recipient, "complained", None, event.detail, "", "") for one in event.recipients)
    else:
        fates = tuple(
            judged(one.recipient, one.action, status_in(one.status), one.diagnostic.removeprefix("smtp; "), "")
            for one in event.recipients
        )
    found = _returned(mail, kind, event.detail if kind is Kind.COMPLAINT else "told by a provider", fates)
    names = [name for text in event.message_ids for name in _MESSAGE_ID.findall(text)]
    return replace(found, refers_to=tuple(dict.fromkeys([*names, *found.refers_to])))


# --- RFC 5965 -------------------------------------------------------------------------------------------------------


def _complaint(mail: Opened, feedback: Fields) -> ReturnedMail:
    kind = first(feedback, "feedback-type").lower().split(" ")[0] or "abuse"
    recipients = [one for name in ("original-rcpt-to", "redacted-address") for one in every(feedback, name)]
    recipients += [first(mail.returned, name) for name in ("x-rcpt-to", "to")] if not recipients else []
    named = dict.fromkeys(one for text in recipients for one in _addresses(text))
    fates = tuple(Fate(one, "complained", None, kind, "", "") for one in named) if kind in _COMPLAINTS else ()
    return _returned(mail, Kind.COMPLAINT, kind, fates)
