"""Refusals that are told in prose: which addresses a notice names, and what it says about each.

Decides for mails without a report of RFC 3464: qmail, old Exim and Sendmail, Domino, Exchange, providers of their own
mind. `flufl.bounce` is asked where no address stands out. The caller decides what the words mean.
"""

from __future__ import annotations

import email.message
import email.parser
import logging
import re
from dataclasses import dataclass

from flufl.bounce import all_failures

# It logs each detector that stumbles with a traceback; what it then has not found is all that matters here.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL + 1)

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-]"
ADDRESS = re.compile(rf"(?:{_ATOM}{{1,64}}|\"[^\"\s]{{1,62}}\")@[A-Za-z0-9](?:[A-Za-z0-9.\-]{{0,250}}[A-Za-z0-9])?")
_LEADING = re.compile(
    rf"""^[ \t>*|\-]*(?:\(?(?:to|recipient|rcpt\ to|failed\ recipient|address|empfänger|adresse|destinataire
        |destinatario|original-recipient|final-recipient|user|e-?mail(?:\ address)?|宛先|收件人)\)?
        [ \t]*[:=-][ \t]*(?:rfc822;[ \t]*)?)?
        [<"'(\[]?(?:smtp:|mailto:)?({ADDRESS.pattern})[>"')\]]*[ \t]*(?P<rest>.*)$""",
    re.IGNORECASE | re.VERBOSE,
)
_MENTIONS = re.compile(
    rf"""(?:deliver\w*|recipients?|address(?:es)?|send|sent|mail|message|user|mailbox|rcpt\ to|account|envoy\w+
        |zugestellt|an|à|to|for|unknown)\b[^\n@]{{0,60}}?
        [<"'(\[]?({ADDRESS.pattern})""",
    re.IGNORECASE | re.VERBOSE,
)
_SERVICE = re.compile(r"^(?:mailer-daemon|postmaster|mail-?daemon|abuse|support|helpdesk|no-?reply)@", re.IGNORECASE)
MAX_BYTES = 100_000
"""Of a mail that `flufl.bounce` is shown: it compares every line with some sixty patterns."""
_LONGEST_PASSAGE = 40
"""Lines that are read behind an address."""


@dataclass(frozen=True)
class Passage:
    """An address that a notice names as one that could not be reached, and what stands beside it."""

    recipient: str
    words: str


def passages(notice: str, ours: frozenset[str]) -> list[Passage]:
    """The addresses at the head of a line, each with the words up to the next one.

    `ours`: addresses (lower case) that the mail was written to or from: they are the sender's, not a recipient's.
    """
    lines = notice.split("\n")
    heads: list[tuple[int, str, str]] = []
    for number, line in enumerate(lines):
        matched = _LEADING.match(line)
        if matched is None or _is_service(matched[1], ours) or not _is_headline(matched["rest"]):
            continue
        heads.append((number, matched[1], matched["rest"]))
    found: dict[str, list[str]] = {}
    for index, (number, address, rest) in enumerate(heads):
        end = heads[index + 1][0] if index + 1 < len(heads) else len(lines)
        words = "\n".join([rest, *lines[number + 1 : min(end, number + _LONGEST_PASSAGE)]])
        found.setdefault(address.lower(), [address]).append(words)
    return [Passage(first, "\n".join(words).strip()) for first, *words in found.values()]


def _is_headline(rest: str) -> bool:
    """An address heads a passage if it stands alone, or is followed by what happened; not by the rest of a sentence."""
    if not rest or rest[0] in ":.,;(-<[\t" or rest[0].isupper():
        return True
    return re.match(r"(?:\d{3}\b|\.\.\.|was|is|could|failed)", rest) is not None


def mentioned(notice: str, ours: frozenset[str]) -> list[str]:
    """Addresses that the text speaks of as those it could not deliver to, in order, each once."""
    found: dict[str, str] = {}
    for matched in _MENTIONS.finditer(notice):
        if not _is_service(matched[1], ours):
            found.setdefault(matched[1].lower(), matched[1])
    return list(found.values())


def found_by_flufl(raw: bytes) -> tuple[list[str], list[str]]:
    """(addresses that failed for now, addresses that failed for good) as `flufl.bounce` sees them; never fails."""
    try:
        message = email.parser.BytesParser().parsebytes(raw[:MAX_BYTES])
        temporary, permanent = all_failures(message)
    except Exception:  # noqa: BLE001  its detectors stumble over torn mails in ways of their own; then it has found none
        return [], []
    return _texts(temporary), _texts(permanent)


def _texts(found: frozenset[bytes]) -> list[str]:
    texts = sorted(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in found)
    return [text for text in texts if ADDRESS.fullmatch(text)]


def _is_service(address: str, ours: frozenset[str]) -> bool:
    return address.lower() in ours or _SERVICE.match(address) is not None


def plain_address(text: str) -> str:
    """The address in a report's field (`rfc822; <ann@example.com>`), or the text as it stands without its type."""
    value = text.partition(";")[2].strip() or text.strip() if ";" in text else text.strip()
    found = ADDRESS.search(value)
    return found[0] if found else value.strip("<> ")
