"""How often a key came before in one file, in flat memory: a private SQLite table that spills to disk by itself."""

from __future__ import annotations

import sqlite3

_NEXT = """
INSERT INTO seen (key, number) VALUES (?, 0)
ON CONFLICT (key) DO UPDATE SET number = number + 1 RETURNING number
"""


class Ordinals:
    """Counts equal keys. Costs nothing until the first key; gone when the object is."""

    def __init__(self) -> None:
        self._seen: sqlite3.Connection | None = None

    def __call__(self, key: bytes) -> int:
        """0 when the key comes for the first time, then 1, 2 …"""
        if self._seen is None:
            self._seen = sqlite3.connect("", isolation_level=None)
            self._seen.execute("PRAGMA journal_mode=OFF")
            self._seen.execute("PRAGMA synchronous=OFF")
            self._seen.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID")
            self._seen.execute("BEGIN")
        return int(self._seen.execute(_NEXT, (key,)).fetchone()[0])

    def close(self) -> None:
        """Give its space back."""
        if self._seen is not None:
            self._seen.close()
            self._seen = None
