"""Who a lead is and how to reach it, as a salesperson reads it: name, position, and links that dial or write.

Decides words and links only. What others filled into forms stands here: cut to a readable length, a number that cannot
be dialled is shown and not linked. tasks.briefing, tasks.digest and the notices of sequences put it into mails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from models.queries.standings import Standing
from models.rules.mail import Address, address, harmless
from models.rules.notification import Contact

LONGEST_NAME = 80
LONGEST_PLACE = 120
LONGEST_VALUE = 160
PHONES = ("phone", "mobile", "mobile_phone", "phone_number", "telephone")
"""Attributes that hold a number, the best first."""
_FACTS = (("Country", "country"), ("Language", "language"))
_EXTENSION = re.compile(r"(?:ext\.?|x|durchwahl|#)\s*([0-9]{1,6})\s*$", re.IGNORECASE)
_DIALLED = re.compile(r"\+?[0-9]{5,15}")
"""At least five digits; ITU-T E.164 allows fifteen."""
_DIRECTIONS = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
"""Marks that turn the direction of what follows, or are not seen: one in a name would turn the rest of the line."""
_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9](-?[a-z0-9])*\.)+[a-z]{2,}")


def name_of(standing: Standing) -> str:
    """The lead's name; without one the address, without that the number."""
    return name_from(standing.attributes, standing.email, standing.lead_id)


def name_from(attributes: Mapping[str, Any], email: str | None, lead_id: int) -> str:
    """The name that the attributes give; without one the address, without that the number."""
    names = [plain(attributes[key]) for key in ("first_name", "last_name") if attributes.get(key)]
    said = " ".join(filter(None, names)) or plain(attributes.get("name") or "")
    return short(said or email or f"lead {lead_id}", LONGEST_NAME)


def position_of(standing: Standing) -> str:
    """ "VP Engineering, Northwind Ltd"; whatever of it is known."""
    return position_from(standing.attributes, (standing.account or {}).get("name"))


def position_from(attributes: Mapping[str, Any], account: object) -> str:
    """The position that the attributes give, at the account of this name, else at the company that they name."""
    known = (attributes.get("job_title"), account or attributes.get("company"))
    return ", ".join(short(plain(word), LONGEST_PLACE) for word in known if word and plain(word))


def contact_of(standing: Standing) -> list[Contact]:
    """How to reach the lead: labels and values that are known, the number first."""
    attributes = standing.attributes
    found = [phone] if (phone := phone_of(attributes)) is not None else []
    if standing.email:
        found.append(_linked("E-mail", standing.email, f"mailto:{quote(standing.email, safe='@+.-_~')}"))
    found += [Contact(label=label, value=_value(attributes[key])) for label, key in _FACTS if attributes.get(key)]
    if domain := (standing.account or {}).get("domain"):
        said = _value(domain)
        is_domain = _DOMAIN.fullmatch(said.lower()) is not None
        found.append(_linked("Company", said, f"https://{said.lower()}" if is_domain else None))
    return found


def phone_of(attributes: Mapping[str, Any]) -> Contact | None:
    """The number to call, with a tel: link (RFC 3966) where it can be dialled; None if none is known."""
    for key in PHONES:
        if value := plain(attributes.get(key) or ""):
            return _linked("Phone", short(value, LONGEST_NAME), _tel(value))
    return None


def plain(value: object) -> str:
    """Foreign text for one line: without control characters, and without marks that turn its direction."""
    return harmless(_DIRECTIONS.sub("", str(value)))


def short(text: str, longest: int) -> str:
    """The text, cut at a word where there is one near, with an ellipsis if something is missing."""
    if len(text) <= longest:
        return text
    cut = text[: longest - 1]
    head, _, tail = cut.rpartition(" ")
    return f"{(head if head and len(tail) <= longest // 3 else cut).rstrip(' ,;.')}…"


def _value(value: object) -> str:
    return short(plain(value), LONGEST_VALUE)


def _linked(label: str, value: str, href: str | None) -> Contact:
    known = Contact(label=label, value=value)
    if href is not None and not (label == "E-mail" and not isinstance(address(value), Address)):
        known["href"] = href
    return known


def _tel(value: str) -> str | None:
    """`+49 (0)30 1234-56 ext. 7` → `tel:+49301234567` with its extension; None if nobody could dial it."""
    extension = _EXTENSION.search(value)
    number = value[: extension.start()] if extension else value
    number = re.sub(r"^\s*00", "+", number)
    if number.lstrip().startswith("+"):
        number = number.replace("(0)", "")
    if re.search(r"[^\s0-9()+./\-\u2010-\u2015\u00a0]", number) or "+" in number.strip()[1:]:
        return None
    dialled = re.sub(r"[^0-9+]", "", number)
    if not _DIALLED.fullmatch(dialled):
        return None
    return f"tel:{dialled};ext={extension[1]}" if extension else f"tel:{dialled}"
