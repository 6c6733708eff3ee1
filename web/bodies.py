"""Bodies of requests, read as far as they may be long and unpacked as far as they may be large.

Decides what is refused for its size, its packing or its slowness; never what a body says. Whoever takes something in
from outside reads it through here, so that no sender can fill the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from models.rules.collector import CollectorRules
from web.reception import Overloaded

_GZIP = b"\x1f\x8b"
MEMBERS = 16
"""Pieces that gzip may put one behind the other (RFC 1952 2.2). Each costs a copy of all that follow."""
_CODINGS = {"", "identity", "gzip", "x-gzip", "deflate"}


class Bodies:
    """Reads the bodies of one application's requests by the limits of its workspace."""

    def __init__(self, rules: CollectorRules) -> None:
        self.rules = rules
        self._held = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body, unpacked; it counts as held until the block ends.

        HTTPException with what to answer: 400 cut off or badly packed, 408 too slow, 413 too large, 415 packed in a way
        that is unknown here. Overloaded if too much is held at once.
        """
        self._check_headers(request)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.rules.body_seconds):
                async for part in request.stream():
                    if size + len(part) > self.rules.largest_request:
                        raise too_large(f"a body of more than {self.rules.largest_request:,} bytes")
                    self._hold(len(part))
                    size += len(part)
                    parts.append(part)
            body = unpacked(b"".join(parts), request.headers.get("content-encoding", ""), self.rules.largest_body)
            parts.clear()  # or each body that waits for its commit would be held twice
            yield body
        except TimeoutError as error:
            raise HTTPException(408, f"the body took longer than {self.rules.body_seconds:g} s") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "the connection ended before the body did") from error
        finally:
            self._held -= size

    def _check_headers(self, request: Request) -> None:
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.rules.largest_request:
            raise too_large(f"a body of {length[:20]} bytes; allowed: {self.rules.largest_request:,}")

    def _hold(self, size: int) -> None:
        if self._held and self._held + size > self.rules.most_waiting:
            raise Overloaded
        self._held += size


def too_large(what: str) -> HTTPException:
    """The answer 413 to `what` is too large."""
    return HTTPException(413, what)


def unpacked(body: bytes, coding: str, most: int) -> bytes:
    """The body as its sender wrote it, of at most `most` bytes.

    gzip is told by its first bytes: some clients pack without saying so, and some proxies unpack and leave the header.
    """
    if (named := coding.strip().lower()) not in _CODINGS:
        allowed = {"Accept-Encoding": "gzip, deflate, identity"}  # RFC 9110 15.5.16
        raise HTTPException(415, f"Content-Encoding: found {named[:40]!a}; allowed: gzip, deflate, identity", allowed)
    if body.startswith(_GZIP):
        body = _inflated(body, zlib.MAX_WBITS | 16, most)
    elif named == "deflate" and body[:1] not in (b"{", b"["):
        body = _inflated(body, zlib.MAX_WBITS if body[0:1] == b"\x78" else -zlib.MAX_WBITS, most)
    if len(body) > most:
        raise too_large(f"a body of {len(body):,} bytes; allowed: {most:,}")
    return body


def _inflated(packed: bytes, window: int, most: int) -> bytes:
    parts: list[bytes] = []
    left = most
    try:
        for _ in range(MEMBERS):
            member = zlib.decompressobj(window)
            parts.append(member.decompress(packed, left + 1))
            left -= len(parts[-1])
            if left < 0:
                raise too_large(f"a body that is unpacked more than {most:,} bytes")
            if not member.eof:
                raise HTTPException(400, "the packed body is cut off")
            if not member.unused_data.startswith(_GZIP):
                return b"".join(parts)
            packed = member.unused_data
    except zlib.error as error:
        raise HTTPException(400, f"the packed body cannot be unpacked: {error}") from error
    raise too_large(f"a body packed in more than {MEMBERS} pieces")
