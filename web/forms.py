"""What a page's form sends, read as far as a form of ours can be long, and whether it came from that page.

Decides by a token that the page gave the form (signed, bound to the page's link, for a day) and by what the browser
says of where the request comes from. No cookie is needed: nobody is logged in, the link itself is the right to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from urllib.parse import parse_qs, urlsplit

from fastapi import Request

from models.rules.instants import DAY, SECOND
from models.rules.tokens import EXPIRY_BYTES, Tokens

LONGEST_BODY = 20_000
"""Bytes of a form: fifty topics, or the longest comment, are less."""
MOST_FIELDS = 100
PURPOSE = "form"
LIVES = DAY
EXPIRED, FOREIGN = "form.expired", "form.foreign"
"""Why a form is not obeyed: a place in the texts."""
Fields = Mapping[str, list[str]]


async def form(request: Request) -> str:
    """The body as text; empty if it is longer than LONGEST_BODY."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            return ""
    return body.decode("utf-8", "replace")


async def fields(request: Request) -> Fields:
    """The fields of a form; none at all of one that is no form of ours."""
    try:
        return parse_qs(await form(request), max_num_fields=MOST_FIELDS)
    except ValueError:
        return {}


def form_token(tokens: Tokens, link: str, now: int) -> str:
    """What the form of the page behind `link` (its token) carries."""
    return tokens.sign(PURPOSE, _bound(link) + ((now + LIVES) // SECOND).to_bytes(EXPIRY_BYTES, "big"))


def mistake(request: Request, given: Fields, tokens: Tokens, link: str, now: int, base_url: str | None) -> str | None:
    """Why the form is not obeyed; None if it was sent from the page behind `link`."""
    if is_foreign(request, base_url):
        return FOREIGN
    content = tokens.read(PURPOSE, given.get("form", [""])[0])
    if content is None or not content.startswith(_bound(link)):
        return EXPIRED
    return None if now < int.from_bytes(content[len(_bound(link)) :], "big") * SECOND else EXPIRED


def is_foreign(request: Request, base_url: str | None) -> bool:
    """Whether the browser says that another site sent the request (Fetch metadata, and Origin of RFC 6454).

    Programs that are no browsers say neither.
    """
    if request.headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        return True
    origin = request.headers.get("origin", "null")
    ours = {request.headers.get("host", "").lower(), urlsplit(base_url or "").netloc.lower()}
    return origin != "null" and urlsplit(origin).netloc.lower() not in ours


def _bound(link: str) -> bytes:
    return blake2b(link.lower().encode(), digest_size=8, person=PURPOSE.encode()).digest()
