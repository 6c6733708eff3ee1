"""What a refusal says about an address: that it is gone for good, that it is busy, or that this is about us.

Decides by the enhanced status code (RFC 3463), the reply code and the words of the server. `hard` suppresses the
address; `policy` speaks of us or of this mail and never does; `soft` may pass; `unclear` is a refusal for good that
says nothing of the address: two of them, of different mails, count as hard. Sources: RFC 3463, RFC 7372,
RFC 7505, and the wordings of the mail servers themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from models.rules.returned_mail.phrases import phrases
from models.rules.returned_mail.wordings import Meaning, meaning_of


class Severity(StrEnum):
    """What a refusal means for the address that it names."""

    HARD = "hard"
    SOFT = "soft"
    POLICY = "policy"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Said:
    """What is known of a refusal: RFC 3463 status ("" if none), three-digit reply code (0 if none), and words.

    `after_data` is true where the server had taken the recipient and refused the mail after seeing it.
    """

    status: str = ""
    code: int = 0
    diagnostic: str = ""
    notice: str = ""
    after_data: bool = False


_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.]|\w)")
_CODE = re.compile(r"(?<![\d.:#/-])([45]\d\d)(?=[ \-#:<\"')]|$)(?!-?\d{4})")
_GENERIC = re.compile(r"[45]\.(?:[0-7]\.0|0\.\d+|1\.9|5\.\d+)")


def status_in(text: str) -> str:
    """The enhanced status code that stands in `text`: the last one that is not generic, else the first; or ""."""
    found = [match[0] for match in _STATUS.finditer(text) if match[1] in "45"]
    telling = [one for one in found if not is_generic(one)]
    return telling[0] if telling else (found[0] if found else "")


def code_in(text: str) -> int:
    """The SMTP reply code (400 to 599) that stands in `text`, or 0."""
    found = _CODE.search(text)
    return int(found[1]) if found else 0


def is_generic(status: str) -> bool:
    """True for codes that tell nothing but for good or for now: 5.0.0, 5.1.0, 5.3.0, 5.5.x …"""
    return _GENERIC.fullmatch(status) is not None


_AFTER_DATA = phrases(
    r"""
    in reply to (?:end of )?DATA
    SMTP command\W+DATA\b
    end of DATA
    after (?:I sent the message|end of data|DATA)
    >>> DATA(?! *\n<<< (?:3|\d+ 5\.5\.1))
    after (?:the )?(?:pipelined )?(?:end of data|DATA)
    SMTP error from remote (?:mail )?server after (?:end of )?data
    """
)


def is_after_data(text: str) -> bool:
    """Whether the refusal came after the recipient had been accepted."""
    return _AFTER_DATA.search(text) is not None


_BY_STATUS = {
    "1.1": Meaning.UNKNOWN_USER,
    "1.2": Meaning.UNKNOWN_HOST,
    "1.3": Meaning.UNKNOWN_USER,
    "1.4": Meaning.UNCLEAR,
    "1.6": Meaning.MOVED,
    "1.7": Meaning.SENDER,
    "1.8": Meaning.SENDER,
    "1.10": Meaning.NO_MAIL,
    "2.1": Meaning.DISABLED,
    "2.2": Meaning.FULL,
    "2.3": Meaning.CONTENT,
    "2.4": Meaning.TEMPORARY,
    "3.1": Meaning.TEMPORARY,
    "3.2": Meaning.TEMPORARY,
    "3.3": Meaning.CONTENT,
    "3.4": Meaning.CONTENT,
    "3.5": Meaning.TEMPORARY,
    "4.1": Meaning.NETWORK,
    "4.2": Meaning.NETWORK,
    "4.3": Meaning.NETWORK,
    "4.4": Meaning.UNKNOWN_HOST,
    "4.5": Meaning.NETWORK,
    "4.6": Meaning.NETWORK,
    "4.7": Meaning.EXPIRED,
    "5.3": Meaning.TEMPORARY,
    "7.13": Meaning.SUSPENDED,
    "7.17": Meaning.MOVED,
    "7.18": Meaning.UNKNOWN_HOST,
}

_SEVERITY = {
    Meaning.UNKNOWN_USER: Severity.HARD,
    Meaning.UNKNOWN_HOST: Severity.HARD,
    Meaning.MOVED: Severity.HARD,
    Meaning.NO_MAIL: Severity.HARD,
    Meaning.DISABLED: Severity.HARD,
    Meaning.SUSPENDED: Severity.SOFT,
    Meaning.FULL: Severity.SOFT,
    Meaning.EXPIRED: Severity.SOFT,
    Meaning.NETWORK: Severity.SOFT,
    Meaning.TEMPORARY: Severity.SOFT,
    Meaning.SENDER: Severity.POLICY,
    Meaning.REPUTATION: Severity.POLICY,
    Meaning.CONTENT: Severity.POLICY,
    Meaning.UNCLEAR: Severity.UNCLEAR,
}


def severity(said: Said) -> tuple[Severity, Meaning]:
    """What the refusal of a mail, given up for good, says about its address; and what it was taken to mean."""
    meaning = _meaning(said)
    if said.status.startswith("4.") or (not said.status and 400 <= said.code < 500):
        found = _SEVERITY[meaning]
        return (Severity.POLICY if found is Severity.POLICY else Severity.SOFT), meaning
    return _SEVERITY[meaning], meaning


def _meaning(said: Said) -> Meaning:
    words = meaning_of(said.diagnostic) if said.diagnostic else None
    status = None if not said.status or is_generic(said.status) else _of_status(said.status)
    if status is None and words is None and said.notice:
        words = meaning_of(said.notice)
    if words is None:
        return status or Meaning.UNCLEAR
    if status is None:
        if said.after_data and words is Meaning.UNKNOWN_USER:
            return Meaning.UNCLEAR
        return words
    return _reconciled(status, words, said.after_data)


def _reconciled(status: Meaning, words: Meaning, after_data: bool) -> Meaning:
    """Where code and words differ: words that are plain win over codes that servers give for everything."""
    if status is words:
        return status
    if status in {Meaning.SENDER, Meaning.REPUTATION, Meaning.CONTENT}:
        # 5.7.1 is what many servers say to everything, an unknown user too.
        return words if words in {Meaning.UNKNOWN_USER, Meaning.FULL} and status is Meaning.REPUTATION else status
    if words in {Meaning.UNCLEAR, Meaning.TEMPORARY}:
        return status
    if status in {Meaning.UNKNOWN_USER, Meaning.NO_MAIL, Meaning.MOVED}:
        return words if words in _OVERRULES_UNKNOWN else status
    return words if status in {Meaning.UNKNOWN_HOST, Meaning.NETWORK, Meaning.DISABLED, Meaning.EXPIRED} else status


_OVERRULES_UNKNOWN = {Meaning.FULL, Meaning.REPUTATION, Meaning.SENDER, Meaning.CONTENT}


def _of_status(status: str) -> Meaning | None:
    rest = status[2:]
    if found := _BY_STATUS.get(rest):
        return found
    if rest.startswith("7."):
        return Meaning.REPUTATION
    if rest.startswith("6."):
        return Meaning.CONTENT
    return None
