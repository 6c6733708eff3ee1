"""What a page's form sends, read as far as a form of ours can be long."""

from __future__ import annotations

from fastapi import Request

LONGEST_BODY = 20_000
"""Bytes of a form: fifty topics, or the longest comment, are less."""


async def form(request: Request) -> str:
    """The body as text; empty if it is longer than LONGEST_BODY."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            return ""
    return body.decode("utf-8", "replace")
