"""What the collector counts, in the words of Prometheus: requests, events, refusals, commits, and what waits.

Decides the names of the metrics (docs/collector.md lists them) and that nothing personal is in their labels: routes,
statuses, forms and sources, never a path, an address or a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector as Source

from models.database import Database
from models.queries import received
from models.rules.instants import SECOND

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)


class Meters:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second line for each counter, which says when it was made
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "warmline_http_requests",
            "Requests, by route, method and the status that they were answered with.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "warmline_http_request_seconds",
            "Seconds from the first byte of a request's head to its answer, by route.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Counter(
            "warmline_received_batches",
            "Batches that were kept and answered 200.",
            ["form", "source"],
            registry=self.registry,
        )
        self.items = Counter(
            "warmline_received_items", "Events in these batches.", ["form", "source"], registry=self.registry
        )
        self.bytes = Counter("warmline_received_bytes", "Bytes of these batches, unpacked.", registry=self.registry)
        self.commits = Histogram(
            "warmline_commit_seconds",
            "Seconds that a commit of batches took to reach the disk.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.committed = Histogram(
            "warmline_commit_batches", "Batches that shared a commit.", buckets=_COUNTS, registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def watch(self, database: Database, clock: Callable[[], int], in_memory: Callable[[], int]) -> None:
        """Tell with each reading what waits: in the database, and in memory for its commit (bytes)."""
        self.registry.register(_Waiting(database, clock, in_memory))

    def text(self) -> bytes:
        """All of it, in Prometheus's text format 0.0.4. StorageError if the database cannot be read."""
        return generate_latest(self.registry)


class _Waiting(Source):
    def __init__(self, database: Database, clock: Callable[[], int], in_memory: Callable[[], int]) -> None:
        self._database, self._clock, self._in_memory = database, clock, in_memory

    def describe(self) -> list[Metric]:
        return []  # registering asks no database

    def collect(self) -> Iterator[Metric]:
        with self._database.read() as connection:
            depth = received.depth(connection)
        age = 0.0 if depth.oldest is None else max(0, self._clock() - depth.oldest) / SECOND
        for name, words, value in (
            ("warmline_inbox_batches", "Batches that were answered 200 and are not resolved yet.", depth.batches),
            ("warmline_inbox_oldest_seconds", "Seconds since the oldest of them came in; 0 if there is none.", age),
            ("warmline_inbox_memory_bytes", "Bytes of batches that wait for their commit.", self._in_memory()),
        ):
            yield GaugeMetricFamily(name, words, value)
