"""A mail server at work: a protocol of aiosmtpd on an event loop of its own, in a thread, until a clean stop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


class Listener:
    """Listens in a thread (aiosmtpd's Controller cannot take a free port). `protocol` makes one for each connection."""

    def __init__(
        self, protocol: Callable[[asyncio.AbstractEventLoop], asyncio.Protocol], host: str, port: int, name: str
    ) -> None:
        self._protocol, self._host, self._port = protocol, host, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._server: asyncio.Server | None = None

    def start(self) -> int:
        """The port it listens on; OSError if it cannot."""
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except OSError:
            self._end()
            raise
        return int(self._server.sockets[0].getsockname()[1])

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(lambda: self._protocol(self._loop), self._host, self._port)

    def stop(self) -> None:
        """Close the port, drop the connections (what a thread is writing is written to its end), end the thread."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._end()

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
