"""A connection of uvicorn that has to say what it wants: whoever connects and keeps silent, or spells its head out for
hours, would hold a socket for ever, and there are only so many. How long a body may take: web.bodies.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 15.0
"""From the first byte of a request (or from the connection, for the first one) to the end of its head."""


class Connection(H11Protocol):
    """Closes itself when a head takes too long."""

    head_seconds = HEAD_SECONDS
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_waiting_for_head():
            self._end()
        elif self._patience is None:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _is_waiting_for_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _begin(self) -> None:
        self._patience = self.loop.call_later(self.head_seconds, self._give_up)

    def _end(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if self._is_waiting_for_head() and not self.transport.is_closing():
            self.transport.close()
