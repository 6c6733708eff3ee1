"""The bytes of a mail that came back → its headers, what it says to people and to machines, and what it returns.

Decides nothing about meaning. Takes any bytes: torn MIME, lone CRs, unknown charsets and nesting without end give less,
never an exception. models.rules.returned_mail.reading makes sense of what is found here.
"""

from __future__ import annotations

import email.errors
import email.header
import email.message
import email.parser
import html
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_BYTES = 1_000_000
"""More is not looked at: reports stand at the beginning, and what follows is the mail that was returned."""
MAX_TEXT = 100_000
"""Characters of text that are looked at for words, and of a returned mail for its headers."""
_MAX_PARTS = 200
_MAX_FIELDS = 500

Fields = tuple[tuple[str, str], ...]
"""The fields of a header or of a block of a report: (name in lower case, value on one line)."""


@dataclass(frozen=True)
class Opened:
    """A mail, taken apart. Texts are decoded, header values unfolded and decoded; all of it is hostile."""

    headers: Fields
    notice: str
    """What the mail says to people: its text parts, without the mail that it returns."""
    reports: tuple[Fields, ...]
    """Blocks of message/delivery-status, in order: the first is about the message, others about one recipient each."""
    feedback: Fields | None
    """message/feedback-report (RFC 5965)."""
    disposition: Fields | None
    """message/disposition-notification (RFC 8098): somebody's program says that a mail was shown or deleted."""
    returned: Fields
    """Headers of the mail that is returned, as far as they came back."""
    is_calendar_answer: bool = False

    def header(self, name: str) -> str:
        """The first header of that name (lower case), or an empty text."""
        return first(self.headers, name)


def first(fields: Fields, name: str) -> str:
    """The first field of that name (lower case), or an empty text."""
    return next((value for key, value in fields if key == name), "")


def every(fields: Fields, name: str) -> list[str]:
    """Every field of that name (lower case)."""
    return [value for key, value in fields if key == name]


def canonical(raw: bytes) -> bytes:
    """The mail with LF for every kind of line end, without the `From ` line of an mbox before it."""
    content = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b"\n")
    return content.partition(b"\n")[2] if content.startswith(b"From ") else content


def opened(raw: bytes) -> Opened:
    """Take a mail apart. Line ends may be CRLF, LF or CR; a leading mbox `From ` line is skipped."""
    content = canonical(raw)[:MAX_BYTES]
    try:
        message = email.parser.BytesParser().parsebytes(content)
        parts = list(_parts(message))
    except (RecursionError, ValueError, LookupError, TypeError, AttributeError, email.errors.MessageError):
        # The parser of the standard library stumbles over some torn mails; their headers still tell who wrote.
        message = email.parser.BytesParser().parsebytes(content, headersonly=True)
        parts = [("text/plain", message)]
    gathered = _Gathered()
    for kind, part in parts:
        gathered.take(kind, part)
    notice, rest = without_returned("\n".join(gathered.texts))
    if not gathered.returned and rest:
        gathered.returned = fields_of(rest)
    return Opened(
        _headers(message),
        notice,
        tuple(gathered.reports or _loose_reports(notice) or _loose_reports(rest)),
        gathered.feedback,
        gathered.disposition,
        gathered.returned,
        gathered.is_calendar_answer,
    )


@dataclass
class _Gathered:
    texts: list[str] = field(default_factory=list)
    reports: list[Fields] = field(default_factory=list)
    feedback: Fields | None = None
    disposition: Fields | None = None
    returned: Fields = ()
    is_calendar_answer: bool = False

    def take(self, kind: str, part: email.message.Message) -> None:
        if kind in {"message/delivery-status", "message/global-delivery-status"}:
            self.reports += blocks(_inner(part))
        elif kind == "message/feedback-report":
            self.feedback = self.feedback or fields_of(_inner(part))
        elif kind in {"message/disposition-notification", "message/global-disposition-notification"}:
            self.disposition = self.disposition or fields_of(_inner(part))
        elif kind in _RETURNED:
            self.returned = self.returned or fields_of(_inner(part))
        elif kind == "text/calendar":
            self.is_calendar_answer |= "method:reply" in _inner(part)[:MAX_TEXT].lower()
        elif kind.startswith("text/"):
            text = _inner(part)
            self.texts.append(plain(text) if kind == "text/html" else text)


_RETURNED = {
    "message/rfc822",
    "text/rfc822-headers",
    "message/rfc822-headers",
    "message/global",
    "message/global-headers",
}


def _parts(message: email.message.Message) -> Iterator[tuple[str, email.message.Message]]:
    """The leaves of a mail in order; a mail inside a mail counts as one leaf."""
    waiting, seen = [message], 0
    while waiting and seen < _MAX_PARTS:
        part = waiting.pop(0)
        seen += 1
        kind = part.get_content_type()
        payload = part.get_payload()
        inner = [one for one in payload if isinstance(one, email.message.Message)] if isinstance(payload, list) else []
        if inner and (not kind.startswith("message/") or _forwards_report(inner)):
            waiting[:0] = inner
        else:
            yield ("text/plain" if kind.startswith("multipart/") else kind), part


def _forwards_report(payload: list[email.message.Message]) -> bool:
    """Whether a mail inside a mail is a report itself: a filter or a postmaster has passed a bounce on."""
    return [one.get_content_type() for one in payload] == ["multipart/report"]


def _inner(part: email.message.Message) -> str:
    payload = part.get_payload()
    if isinstance(payload, list):  # message/*: the parser made mails of its blocks
        return "\n\n".join(_as_written(one) for one in payload if isinstance(one, email.message.Message))
    decoded = part.get_payload(decode=True)
    if not isinstance(decoded, bytes):
        return str(payload)[:MAX_TEXT]
    return text_of(decoded[: 4 * MAX_TEXT], _charset(part))[:MAX_TEXT]


def _as_written(message: email.message.Message) -> str:
    head = "".join(f"{name}: {_escaped(_text(value))}\n" for name, value in _fields(message))
    payload = message.get_payload()
    if isinstance(payload, str):
        body = payload
    elif isinstance(payload, list):
        body = "\n\n".join(_as_written(one) for one in payload[:20] if isinstance(one, email.message.Message))
    else:
        body = ""
    return (f"{head}\n{body}")[:MAX_TEXT]


def _escaped(text: str) -> str:
    """Japanese servers write ISO-2022-JP into reports as it is (RFC 1468): seven bits, told by its escapes."""
    if "\x1b$" not in text:
        return text
    try:
        return text.encode("ascii").decode("iso-2022-jp", "replace")
    except UnicodeError:
        return text


def _charset(part: email.message.Message) -> str:
    try:
        return str(part.get_content_charset() or "")
    except (UnicodeError, LookupError, TypeError, ValueError):
        return ""


def text_of(raw: bytes, charset: str) -> str:
    """Decoded as declared; else as UTF-8; else byte by byte. Never fails."""
    if b"\x1b$" in raw and charset in {"", "us-ascii", "utf-8"}:
        charset = "iso-2022-jp"
    for name in (charset, "utf-8"):
        if name:
            try:
                return raw.decode(name)
            except (UnicodeError, LookupError, ValueError):
                continue
    return raw.decode("utf-8" if charset in {"utf-8", "us-ascii", ""} else "latin-1", "replace")


def _headers(message: email.message.Message) -> Fields:
    return tuple((name.lower(), _decoded(_text(value))) for name, value in _fields(message))


def _fields(message: email.message.Message) -> list[tuple[str, object]]:
    # As they were written: `items` would give headers beyond ASCII as unreadable ones.
    return list(itertools.islice(message.raw_items(), _MAX_FIELDS))


def _text(value: object) -> str:
    """A header's value on one line; raw bytes beyond ASCII (which the parser keeps as surrogates) are decoded."""
    text = " ".join(str(value).split())
    try:
        return text.encode("ascii", "surrogateescape").decode("utf-8", "replace")
    except UnicodeError:
        return text.encode("utf-8", "replace").decode("utf-8")


def _decoded(value: str) -> str:
    """Encoded words (RFC 2047) read as text; what cannot be read stays as it is."""
    if "=?" not in value:
        return value
    try:
        return str(email.header.make_header(email.header.decode_header(value)))
    except (UnicodeError, LookupError, ValueError, TypeError, AssertionError, email.errors.MessageError):
        return value


def plain(text: str) -> str:
    """HTML as text: blocks become lines, everything else that is marked up goes."""
    text = re.sub(r"(?is)<(script|style|head)\b.*?</\1\s*>", " ", text)
    text = re.sub(r"(?i)<(br|/p|/div|/tr|/li|/h\d|/td|/pre)\b[^<>]*>", "\n", text)
    return html.unescape(re.sub(r"(?s)<[a-zA-Z/!][^<>@]{0,2000}>", " ", text))


_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,70})[ \t]*:[ \t]*(.*)")


def fields_of(text: str) -> Fields:
    """The fields at the beginning of `text`, up to the first blank line behind them; continuation lines are joined."""
    found: list[tuple[str, str]] = []
    for line in text.lstrip("\n")[:MAX_TEXT].split("\n"):
        if not line.strip():
            if found:
                break
            continue
        if line[0] in " \t" and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}".strip())
        elif matched := _FIELD.match(line.lstrip("> \t")):
            found.append((matched[1].lower(), matched[2].strip()))
    return tuple((name, _decoded(value)) for name, value in found[:_MAX_FIELDS])


def blocks(text: str) -> list[Fields]:
    """The blocks of a report, parted by blank lines; one recipient's that was torn by a blank line is joined again."""
    found: list[Fields] = []
    for block in re.split(r"\n[ \t]*\n", text[:MAX_TEXT]):
        fields = fields_of(block)
        names = {name for name, _ in fields}
        if not fields:
            continue
        if found and not names & _BEGINNINGS and names & _OF_RECIPIENT and _names_recipient(found[-1]):
            found[-1] = found[-1] + fields
        else:
            found.append(fields)
    return found


_BEGINNINGS = {"final-recipient", "original-recipient", "reporting-mta"}
_OF_RECIPIENT = {"action", "status", "diagnostic-code", "remote-mta", "last-attempt-date"}


def _names_recipient(fields: Fields) -> bool:
    return any(name in {"final-recipient", "original-recipient"} for name, _ in fields)


def _loose_reports(notice: str) -> list[Fields]:
    """The fields of a report that stand in the text because the mail's MIME structure was lost."""
    found = re.search(r"(?im)^[ \t]*(reporting-mta|original-recipient|final-recipient)[ \t]*:", notice)
    return [one for one in blocks(notice[found.start() :]) if _names_recipient(one)] if found else []


_RETURNED_FOLLOWS = re.compile(
    r"""^[ \t>*=_+#-]*(?:
        below\ (?:this\ line|is)\b.{0,40}\b(?:copy|message|original|headers?)
        | enclosed\ is\ a\ copy\ of
        | (?:the\ )?(?:original|returned|unsent|undelivered|rejected|bounced)\ (?:message|mail|e-?mail)
            (?:\ (?:headers?|body|text|follows|below|as\ follows|contents?|is\ attached|was|information|details))*
            [ \t:.=*_+#-]*$
        | message\ (?:header|text|contents?)s?(?:\ follows?)?[ \t:=*_-]*$
        | (?:the\ )?(?:header|text|body|first\ \d+\ \w+)\ of\ (?:the|your)\ (?:original\ )?(?:message|mail).{0,40}$
        | your\ (?:original\ )?(?:message|mail)(?:'s\ \w+)?\ (?:follows|reads|was|begins|is\ attached)\b.{0,60}$
        | (?:here|this)\ is\ (?:a|the|your)\ (?:copy|headers?)\b.{0,60}$
        | (?:the\ )?(?:following|attached)\ is\ (?:a\ copy|the\ (?:original|message|header)).{0,60}$
        | copy\ of\ (?:the|your)\ (?:original\ )?(?:message|mail)\b.{0,60}$
        | original\ message\ follows.*$ | unsent\ message\ (?:follows|below).*$ | included\ is\ a\ copy\ of.*$
        | urspr(?:ü|ue)ngliche\ (?:nachricht|e-?mail).*$ | message\ d'origine.*$ | mensaje\ original.*$
        | (?:元の|オリジナル).{0,20}(?:メッセージ|メール).*$ | 原邮件.*$
        )""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_HEADER_LINE = re.compile(
    r"^[> \t]*(?:return-path|received|from|to|subject|date|message-id|mime-version|content-type|x-[\w-]+|reply-to"
    r"|delivered-to|dkim-signature|content-transfer-encoding)[ \t]*:",
    re.IGNORECASE,
)


def without_returned(text: str) -> tuple[str, str]:
    """A text parted where the mail that it returns begins: (what was said, the returned mail from its first header).

    Either after a line such as "--- Below this line is a copy of the message", or where header lines follow each other.
    """
    text = text[:MAX_TEXT]
    lines = text.split("\n")
    for number, line in enumerate(lines):
        marked = _RETURNED_FOLLOWS.match(line) is not None
        if not marked and _HEADER_LINE.match(line) is None:
            continue
        begins = _header_block(lines, number + 1 if marked else number, 6 if marked else 0)
        if begins is not None and (marked or number > 0):
            return "\n".join(lines[:number]), "\n".join(lines[begins:])
    return text, ""


def _header_block(lines: list[str], start: int, skip: int) -> int | None:
    """Where, at most `skip` lines on, at least three known header lines follow each other."""
    for begin in range(start, min(start + skip + 1, len(lines))):
        if _HEADER_LINE.match(lines[begin]) is None:
            continue
        count = 0
        for line in lines[begin : begin + 30]:
            if not line.strip():
                break
            count += _HEADER_LINE.match(line) is not None
        if count >= 3:
            return begin
    return None
