"""A workspace whose messages come back, for tests of returned mail: sent ones, and the mails that answer them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from models.queries import intakes
from models.queries.activities import Touchpoints
from models.queries.messages import NewMessage, intend
from models.rules.instants import DAY, SECOND
from models.rules.records import Intake, LeadFacts
from models.rules.verp import verp_address
from models.workspace import Workspace
from tasks.returned_mail import keep_mails, read_next
from tests.mail_world import make_workspace

MAILBOX = "b@bounces.example"
NOW = 1_775_000_000 * SECOND
MADE = Path(__file__).parent / "fixtures" / "returned_mail"


@dataclass
class World:
    """Leads lead1@example.net … to whom mails were sent, and what comes back of them."""

    workspace: Workspace
    now: int = NOW

    def send(self, number: int, state: str = "sent", step: int = 0, kind: str = "nurture") -> str:
        """A message to a lead (made with it) in the given state; its Message-ID."""
        address = f"lead{number}@example.net"
        key = f"{kind}:{number}:welcome:1:{step}"
        with self.workspace.database.write() as connection:
            lead = Intake(0, (("email", address),), (), LeadFacts({"name": f"Lead {number}"}, self.now))
            intakes.store(connection, [lead], intakes.Terms("test", self.now), Touchpoints())
            lead_id = connection.execute(
                text("SELECT lead_id FROM identities WHERE value = :a"), {"a": address}
            ).scalar_one()
            message = NewMessage(key, kind, address, "welcome", {}, self.now, lead_id=lead_id)
            intend(connection, [message], message_ids=self.workspace.message_ids, now=self.now)
            given = {"state": state, "key": key, "at": self.now if state == "sent" else None}
            connection.execute(
                text("UPDATE messages SET state = :state, sent_at = :at WHERE idempotency_key = :key"), given
            )
        return self.workspace.message_ids.of(key)

    def verp(self, message_id: str) -> str:
        return verp_address(MAILBOX, message_id, self.workspace.secret_key)

    def made(self, name: str, number: int, message_id: str, verp: str | None = None) -> bytes:
        """A made mail about the message to lead `number`; `verp`: where it comes to, else the true envelope sender."""
        raw = (MADE / f"{name}.eml").read_text()
        raw = raw.replace("b+q@bounces.example", self.verp(message_id) if verp is None else verp)
        raw = raw.replace("<original@warmline.example>", message_id)
        for person in ("ann@acme", "carol@globex", "dave@initech", "erin@hooli", "frank@umbrella"):
            raw = raw.replace(f"{person}.example", f"lead{number}@example.net")
        head, blank, body = raw.partition("\n\n")
        return (head.replace("Message-ID: <", f"Message-ID: <{message_id[1:9]}{number}.") + blank + body).encode()

    def receive(self, *mails: bytes, days: int = 0) -> dict[str, int]:
        """Keep the mails and read them, `days` later; the counts."""
        at = self.now + days * DAY
        keep_mails(self.workspace, [(mail, ()) for mail in mails], "file", at)
        return dict(read_next(self.workspace, at))

    def rows(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        with self.workspace.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(statement), given)]

    def message(self, message_id: str) -> tuple[Any, ...]:
        """(state, whether it bounced, what was said then)."""
        statement = "SELECT state, bounced_at IS NOT NULL, bounce FROM messages WHERE message_id = :name"
        return self.rows(statement, name=message_id)[0]

    def acts(self) -> list[tuple[str, str]]:
        """(address, type) of all activities, sorted."""
        return self.rows(
            "SELECT l.email, t.type FROM activities a JOIN leads l ON l.id = a.lead_id"
            " JOIN touchpoints t ON t.id = a.touchpoint_id ORDER BY 1, 2"
        )  # type: ignore[return-value]

    def suppressed(self) -> list[tuple[str, str]]:
        """(scope, reason) of all suppressions, sorted."""
        return self.rows("SELECT scope, reason FROM suppressions ORDER BY reason")  # type: ignore[return-value]


def returning_workspace(folder: Path, url: str, port: int = 1, settings: str = "") -> Workspace:
    """A workspace with an envelope sender for each message."""
    make_workspace(folder, url, port)
    with (folder / "warmline.yaml").open("a") as file:
        file.write(f"bounces:\n  address: {MAILBOX}\n{settings}")
    return Workspace.open(folder)
