"""A workspace that asks for double opt-in, people who sign up and leave, and the pages that they see."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import orjson

from models.database import Database
from models.queries import consents, messages
from models.queries.activities import Touchpoints
from models.queries.clearance import Terms
from models.queries.consents import Word
from models.queries.intakes import Terms as IntakeTerms
from models.queries.intakes import store
from models.queries.messages import Taken
from models.rules.consent import ConsentRules
from models.rules.instants import DAY, Micros
from models.rules.records import ActivityFacts, Intake, message_key
from models.rules.tokens import suppression_digest
from models.rules.touchpoints import Touchpoint
from tasks.consents import collect_consents
from tests.programme_world import NOW, World
from web.app import application

ADA = "ada@northwind.example"
TOPICS = {"news": "News and advice", "offers": "Offers"}


class ConsentWorld(World):
    """Programme time stands still until `now` is moved; the pages go by it."""

    def __init__(self, root: Path, database: Database, require: str = "double_opt_in") -> None:
        super().__init__(root, database)
        rules = ConsentRules.model_validate({"require": require, "topics": TOPICS})
        given = {"consent": rules, "base_url": "https://go.example"}
        self.workspace.settings = self.workspace.settings.model_copy(update=given)
        self.now = NOW

    def later(self, days: float) -> None:
        self.now = Micros(self.now + int(days * DAY))

    def did(self, kind: str, address: str = ADA, key: str | None = None, **properties: Any) -> None:
        """An activity comes in, as from a file."""
        dedupe = message_key("test", key or f"{address}:{kind}:{self.now}")
        assert dedupe is not None
        packed = orjson.dumps(properties).decode() if properties else None
        intake = Intake(1, (("email", address),), (ActivityFacts(dedupe, self.now, Touchpoint(kind), packed),))
        with self.database.write() as connection:
            store(connection, [intake], IntakeTerms("test", self.now), Touchpoints())

    def collect(self) -> dict[str, int]:
        return dict(collect_consents(self.workspace, self.now))

    def words(self, address: str = ADA) -> list[Word]:
        with self.database.read() as connection:
            return consents.words(connection, [self.digest(address)])

    def said(self, address: str = ADA) -> list[tuple[str, str]]:
        return [(word.topic, word.state) for word in self.words(address)]

    def digest(self, address: str = ADA) -> bytes:
        return suppression_digest(self.workspace.secret_key, address)

    def confirmations(self) -> list[dict[str, Any]]:
        """The payloads of the confirmation mails that were intended."""
        found = self.rows("SELECT payload FROM messages WHERE kind = 'transactional' ORDER BY id")
        return [orjson.loads(row[0]) for row in found]

    def path(self, number: int = -1) -> str:
        """Where the link of a confirmation mail leads to."""
        return str(self.confirmations()[number]["confirm_url"]).removeprefix("https://go.example")

    def lease(self) -> Taken:
        terms = Terms(self.workspace.secret_key, consent=self.workspace.settings.consent)
        with self.database.write(durable=True) as connection:
            return messages.lease(connection, owner="test", now=self.now, until=2**62, count=100, terms=terms)

    def acts(self) -> list[str]:
        found = self.rows("SELECT t.type FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id ORDER BY a.id")
        return [row[0] for row in found]

    def browser(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(application(self.workspace, clock=lambda: self.now), client=("192.0.2.7", 1))
        headers = {"user-agent": "Firefox"}
        return httpx.AsyncClient(transport=transport, base_url="https://go.example", headers=headers)


async def press(browser: httpx.AsyncClient, path: str, **fields: Any) -> httpx.Response:
    """Look at the page, fill in its form and press its button, as a browser does."""
    found = re.search(r'name="form" value="(\w+)"', (await browser.get(path)).text)
    return await browser.post(path, data=({"form": found[1]} if found else {}) | fields)
