"""The published Python clients send what their documentation says, each through its own address.

Run in a process of its own (tests.forks): they keep threads and a handler for the end of the interpreter. Waits are
short, tries many: faults are the test's business. What each of them said is told by message id.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import httpx
import orjson

PACKAGES = ("segment.analytics.client", "rudderstack.analytics.client", "posthog", "cloudevents.core.bindings.http")
COUNT, BATCH = 45, 6
TRIES = 10
Told = dict[str, list[str]]
"""`ids`: the message ids of acts; `failed`: what the client gave up, in its own words. Each says first who acts, by the
address NAME@acme.example."""


def drive(asked: Mapping[str, tuple[str, str]], file: str) -> None:
    """Name → (address, key) of each client; all at once. Writes name → what it told to `file`, as JSON."""
    told: dict[str, Told] = {}
    for package in PACKAGES:  # here, in one thread: their imports get into each other's way
        importlib.import_module(package)

    def one(name: str, address: str, key: str) -> None:
        told[name] = DRIVERS[name](address, key)

    threads = [Thread(target=one, args=(name, *where)) for name, where in asked.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Path(file).write_bytes(orjson.dumps(told))


def _segment(address: str, key: str, gzip: bool = False) -> Told:
    from segment.analytics.client import Client

    failed: list[str] = []
    client = Client(
        key,
        host=address,
        gzip=gzip,
        upload_size=BATCH,
        upload_interval=0.05,
        max_retries=TRIES,
        timeout=1,
        on_error=lambda error, batch: failed.append(str(error)),
    )
    who = f"segment{'-gzip' if gzip else ''}"
    traits = {"email": f"{who}@acme.example", "jobTitle": "CTO"}
    client.identify(who, traits)
    said = [client.track(who, "Report Read", {"number": number}) for number in range(1, COUNT - 1)]
    said.append(client.page(None, name="Pricing", anonymous_id=f"{who}-device"))
    client.flush()
    client.join()
    return {"ids": [message["messageId"] for _, message in said], "failed": failed}


def _segment_gzip(address: str, key: str) -> Told:
    return _segment(address, key, gzip=True)


def _rudder(address: str, key: str) -> Told:
    from rudderstack.analytics.client import Client

    failed: list[str] = []
    client = Client(
        key,
        host=address,
        upload_size=BATCH,
        upload_interval=0.05,
        max_retries=TRIES,
        timeout=1,
        on_error=lambda error, batch: failed.append(str(error)),
    )
    traits = {"email": "rudder@acme.example", "jobTitle": "CTO"}
    client.identify("rudder", traits)
    said = [client.track("rudder", "Report Read", {"number": number}) for number in range(1, COUNT)]
    client.flush()
    client.join()
    return {"ids": [message["messageId"] for _, message in said], "failed": failed}


def _posthog(address: str, key: str, mode: str = "v0") -> Told:
    from posthog import Posthog

    failed: list[str] = []
    client = Posthog(
        key,
        host=address,
        gzip=True,
        capture_mode=mode,
        flush_at=BATCH,
        flush_interval=0.05,
        max_retries=TRIES,
        timeout=1,
        on_error=lambda error, batch: failed.append(str(error)),
    )
    who = "posthog" if mode == "v0" else "posthog-v1"
    client.set(distinct_id=who, properties={"email": f"{who}@acme.example", "job_title": "CTO"})
    acts = range(1, COUNT)
    ids = [str(client.capture("report read", distinct_id=who, properties={"number": one})) for one in acts]
    client.flush(60)
    client.shutdown()
    return {"ids": ids, "failed": failed}


def _posthog_v1(address: str, key: str) -> Told:
    return _posthog(address, key, "v1")


def _cloudevents(address: str, key: str) -> Told:
    """The package makes headers and body; it sends nothing, so that trying again is ours."""
    from cloudevents.core.bindings.http import to_binary_event, to_structured_event
    from cloudevents.core.v1.event import CloudEvent

    ids: list[str] = []
    with httpx.Client(trust_env=False, timeout=1, headers={"authorization": f"Bearer {key}"}) as http:
        for number in range(8):
            ids.append(str(uuid4()))
            attributes = {"id": ids[-1], "type": "com.acme.report.read", "source": "/python"}
            event = CloudEvent(attributes, {"email": "cloudevents@acme.example", "number": number})
            message = (to_structured_event if number % 2 else to_binary_event)(event)
            _until_taken(http, address, message.headers, message.body)
    return {"ids": ids, "failed": []}


def _until_taken(http: httpx.Client, address: str, headers: Mapping[str, str], body: bytes) -> None:
    for _ in range(3 * TRIES):
        try:
            if http.post(address, headers=headers, content=body).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("it was never taken")


DRIVERS: Mapping[str, Callable[[str, str], Any]] = {
    "segment": _segment,
    "segment-gzip": _segment_gzip,
    "rudder": _rudder,
    "posthog": _posthog,
    "posthog-v1": _posthog_v1,
    "cloudevents": _cloudevents,
}
