"""Links of our mails over the real thing: a mail goes out, its links are followed, the drain reads it, scores move."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import text

from models.errors import StorageError
from models.queries import erasure, intakes, wishes
from models.queries.activities import Touchpoints
from models.queries.wishes import Wish
from models.rules.instants import DAY, HOUR, MINUTE, SECOND, Micros
from models.rules.records import Intake, LeadFacts
from models.rules.tokens import suppression_digest
from models.workspace import Workspace
from tasks.delivery import deliver_batch
from tasks.drain import drain
from tasks.marking import mark
from tasks.scoring import score_leads
from tests.faulty_smtp import FaultyServer
from tests.mail_world import fill, make_workspace, nurture
from web.app import application
from web.reception import Overloaded, Reception

OLD_KEY = "an-old-secret"
NOW = Micros(1_790_000_000_000_000)
ANN, SAM = "ann@northwind.example", "sam@loom.example"
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SCORING = {"name": "clicks", "dimensions": {"engagement": {"groups": {"mail": {"rules": [
    {"name": "pricing", "on": "email_click", "where": {"path": {"starts": "/pricing"}}, "points": 5, "at_most": 1},
    {"name": "opened", "on": "email_open", "points": 1, "at_most": 1}]}}}}}  # fmt: skip
BODY = """{% extends "layout.html.j2" %}{% block content %}<p>Hi {{ lead.name }}</p>
<p><a href="https://www.site.example/pricing?plan=a&amp;utm_source=mail">Prices</a>
<a href="https://www.site.example/for/{{ lead.name }}">For you</a> <a href="{{ lead.website }}">Your own</a></p>
{% endblock %}"""
TEXT = """{% extends "layout.txt.j2" %}{% block content %}Hi {{ lead.name }}: https://www.site.example/pricing?plan=a&utm_source=mail
{% endblock %}"""


@dataclass
class World:
    """Two leads, a relay, and programme time."""

    workspace: Workspace
    server: FaultyServer
    clock: list[int] = field(default_factory=lambda: [int(NOW)])

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.workspace.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(sql))]

    def lead(self, address: str, **attributes: object) -> int:
        with self.workspace.database.write() as connection:
            intake = Intake(1, (("email", address),), lead=LeadFacts(dict(attributes), NOW))
            intakes.store(connection, [intake], intakes.Terms("crm", NOW, NOW), Touchpoints())
        return int(self.rows(f"SELECT lead_id FROM identities WHERE value = '{address}'")[0][0])

    async def send(self, *leads: tuple[int, str], **payload: object) -> dict[str, tuple[str, str]]:
        """A mail to each: address → (HTML, text) of what arrived."""
        self.server.contents.clear()
        fields = {"sequence": "letters", "step": 1, **payload}
        fill(
            self.workspace,
            [
                nurture(
                    number,
                    self.clock[0],
                    lead_id=number,
                    recipient=address,
                    payload={"lead": {"name": f"Zoë {number}", "website": "https://phish.example/"}, **fields},
                )
                for number, address in leads
            ],
            self.clock[0],
        )
        await deliver_batch.fn(str(self.workspace.root), self.clock[0])
        arrived = {}
        for content in self.server.contents:
            mail = message_from_bytes(content, policy=default)
            html, plain = (mail.get_body((kind,)) for kind in ("html", "plain"))
            assert html is not None and plain is not None
            arrived[str(mail["To"])] = html.get_content(), plain.get_content()
        return arrived

    def settle(self) -> dict[str, float]:
        """Everything that the flows do now: address → points."""
        drain(self.workspace, self.clock[0])
        mark(self.workspace, self.clock[0])
        score_leads(self.workspace, self.clock[0])
        return dict(self.rows("SELECT l.email, s.total FROM scores s JOIN leads l ON l.id = s.subject_id"))  # type: ignore[arg-type]

    def acts(self) -> list[tuple[str, dict[str, Any]]]:
        sql = """SELECT t.type, a.properties FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id
            ORDER BY a.occurred_at, a.id"""
        return [(kind, orjson.loads(told)) for kind, told in self.rows(sql)]

    def marked(self) -> list[tuple[str, str]]:
        sql = """SELECT l.email, m.reason FROM machine_marks m JOIN activities a ON a.id = m.activity_id
            JOIN leads l ON l.id = a.lead_id WHERE m.lifted_at IS NULL"""
        return sorted(set(self.rows(sql)))  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("WARMLINE_SECRET_KEY", OLD_KEY)
    with FaultyServer().running() as server:
        opened = make_workspace(tmp_path, database_url, server.port)
        (tmp_path / "emails/welcome/body.html.j2").write_text(BODY)
        (tmp_path / "emails/welcome/body.txt.j2").write_text(TEXT)
        (tmp_path / "scoring.yaml").write_bytes(orjson.dumps(SCORING))
        yield World(opened, server)
        opened.database.close()


@pytest.fixture
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application(world.workspace, clock=lambda: world.clock[0]))
    headers = {"user-agent": FIREFOX}
    async with httpx.AsyncClient(transport=transport, base_url="https://go.example", headers=headers) as client:
        yield client


def links(html: str) -> list[str]:
    return [unescape(link) for link in re.findall(r'href="([^"]+)"', html)]


def ours(html: str) -> list[str]:
    return [link for link in links(html) if link.startswith("https://go.example/c/")]


@pytest.mark.feature("I3", "S19")
async def test_a_persons_click_raises_the_score_and_a_scanners_does_not(
    world: World, browser: httpx.AsyncClient
) -> None:
    ann, sam = world.lead(ANN), world.lead(SAM)
    mails = await world.send((ann, ANN), (sam, SAM))
    pricing, for_you, _ = ours(mails[ANN][0])
    assert "https://phish.example/" in links(mails[ANN][0]), "nobody gets an address of ours by filling in a form"
    assert pricing in mails[ANN][1], "the text leads over the same address"
    assert "northwind" not in pricing and "site.example" not in "".join(ours(mails[ANN][0]))
    assert {link for link in links(mails[ANN][0]) if "/unsubscribe/" in link or "/preferences/" in link}

    world.clock[0] += 2 * SECOND  # the scanner before Sam's mailbox: everything at once, and what nobody sees
    for link in ours(mails[SAM][0]):
        assert (await browser.head(link)).status_code in (200, 302)
        assert (await browser.get(link, headers={"user-agent": "ScannerCorp LinkCheck"})).status_code in (200, 302)
    world.clock[0] += HOUR
    answer = await browser.get(pricing)
    assert (answer.status_code, answer.content) == (302, b"")
    assert answer.headers["location"] == "https://www.site.example/pricing?plan=a&utm_source=mail"
    assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert (await browser.get(for_you)).headers["location"] == f"https://www.site.example/for/Zo%C3%AB%20{ann}"
    assert world.rows("SELECT count(*) FROM received_batches") == [(8,)]

    assert world.settle() == {ANN: 5.0, SAM: 0.0}
    assert world.marked() == [(SAM, why) for why in ("head-request", "hidden-link", "many-links", "robot", "too-soon")]
    assert len(world.acts()) == 8, "kept, all of them"
    people = [act for act in world.acts() if act[1]["user_agent"] == FIREFOX and "method" not in act[1]]
    [(kind, told)] = [act for act in people if "plan" in act[1]["url"]]
    assert (kind, told["sequence"], told["step"], told["template"]) == ("email_click", "letters", 1, "welcome")
    assert told["url"] == "https://www.site.example/pricing?plan=a&utm_source=mail" and told["user_agent"] == FIREFOX
    assert world.rows("SELECT message_id FROM messages WHERE id = 1") == [(told["message_id"],)]

    world.clock[0] += DAY
    await browser.get(ours(mails[SAM][0])[0])
    assert world.settle() == {ANN: 5.0, SAM: 5.0}, "what Sam clicks himself counts"
    assert drain(world.workspace, world.clock[0]).counts.received == 0


@ON_SQLITE
@pytest.mark.feature("I3")
async def test_links_outlive_a_database_that_takes_nothing_and_hits_come_later(
    world: World, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead = world.lead(ANN)
    link = ours((await world.send((lead, ANN)))[ANN][0])[0]
    world.clock[0] += HOUR
    busy, commit = [True, True], Reception._commit

    def refuse_twice(self: Reception, batches: Any) -> None:
        if busy and busy.pop():
            raise StorageError("the database is locked")
        commit(self, batches)

    monkeypatch.setattr(Reception, "_commit", refuse_twice)
    monkeypatch.setattr("web.tracking.PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr("web.tracking.AGAIN_SECONDS", (0.05, 0.05))
    assert (await browser.get(link)).status_code == 302
    assert world.rows("SELECT count(*) FROM received_batches") == [(0,)], "nobody waits for the database"
    for _ in range(100):
        if world.rows("SELECT count(*) FROM received_batches") == [(1,)]:
            break
        await asyncio.sleep(0.02)
    assert world.settle() == {ANN: 5.0}
    monkeypatch.setattr(Reception, "keep", overloaded)
    monkeypatch.setattr("web.tracking.AGAIN_SECONDS", ())
    assert (await browser.get(link)).status_code == 302


async def overloaded(*_: object) -> None:
    raise Overloaded


@pytest.mark.feature("I3")
async def test_an_opening_is_heard_of_only_while_it_is_granted(world: World, browser: httpx.AsyncClient) -> None:
    with (world.workspace.root / "warmline.yaml").open("a") as file:
        file.write("tracking: {opens: consented, clicks: false}\n")
    world.workspace = Workspace.open(world.workspace.root)
    transport = httpx.ASGITransport(app=application(world.workspace, clock=lambda: world.clock[0]))
    ann, sam = world.lead(ANN), world.lead(SAM)
    secret = world.workspace.secret_key

    def says(topic: str, state: str) -> None:
        wish = Wish(suppression_digest(secret, ANN), None, world.clock[0])
        with world.workspace.database.write() as connection:
            wishes.take_down(connection, secret, wish, ANN, [(topic, state)])

    says("news", "granted")
    says("email_opens", "granted")
    mails = await world.send((ann, ANN), (sam, SAM))
    assert "/o/" not in mails[SAM][0] and ours(mails[ANN][0]) == [], "no consent, no picture; and clicks are off"
    [picture] = re.findall(r'src="(https://go\.example/o/\w+)"', mails[ANN][0])
    headers = {"user-agent": FIREFOX}
    async with httpx.AsyncClient(transport=transport, base_url="https://go.example", headers=headers) as client:
        world.clock[0] += HOUR
        shown = await client.get(picture)
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/gif")
        assert world.settle()[ANN] == 1.0
        world.clock[0] += MINUTE
        says("email_opens", "withdrawn")
        assert (await client.get(picture)).status_code == 200, "the picture is still in the mailbox"
        assert (await client.get(f"{picture[:-1]}{'b' if picture[-1] == 'a' else 'a'}")).status_code == 404
    assert world.rows("SELECT count(*) FROM received_batches") == [(0,)]
    assert [kind for kind, _ in world.acts()].count("email_open") == 1
    world.workspace.database.close()


@ON_SQLITE
@pytest.mark.feature("N6")
async def test_no_request_leads_anywhere_else_and_what_is_none_of_ours_is_a_404(
    world: World, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead = world.lead(ANN)
    link = ours((await world.send((lead, ANN)))[ANN][0])[0]
    mail, name = link.split("/")[-2:]
    for path in (
        f"/c/{mail}/{'a' * 16}",
        f"/c/{mail[:-1]}{'a' if mail[-1] != 'a' else 'b'}/{name}",
        f"/c/{mail}/{name}x",
        "/c/x/y",
        f"/c/{mail}/https:%2F%2Fevil.example",
        f"/o/{'a' * 48}",
    ):
        assert (await browser.get(f"{path}?url=https://evil.example&to=https://evil.example")).status_code == 404
    answer = await browser.get(f"{link.upper().replace('HTTPS://GO.EXAMPLE/C', '/c')}?url=https://evil.example")
    assert answer.headers["location"].startswith("https://www.site.example/"), "case does not matter, a query neither"
    assert (await browser.post(link)).status_code == 405
    for keys, status in ((f"{'n' * 32} {OLD_KEY}", 302), ("n" * 32, 404)):
        monkeypatch.setenv("WARMLINE_SIGNING_KEYS", keys)
        opened = Workspace.open(world.workspace.root).on(world.workspace.database)
        rotated = httpx.ASGITransport(app=application(opened, clock=lambda: world.clock[0]))
        async with httpx.AsyncClient(transport=rotated, base_url="https://go.example") as other:
            assert (await other.get(link)).status_code == status
    monkeypatch.setenv("WARMLINE_SIGNING_KEYS", "short")
    problems = " ".join(map(str, Workspace.open(world.workspace.root).check()))
    assert "WARMLINE_SIGNING_KEYS: the first one signs" in problems
    told = await browser.get("/c/x/y", headers={"accept-language": "pl"})
    assert 'lang="pl"' in told.text and "default-src 'none'" in told.headers["content-security-policy"]


@ON_SQLITE
async def test_one_mails_links_fill_no_disk(
    world: World, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.tracking.PER_MINUTE", 3)
    lead = world.lead(ANN)
    link = ours((await world.send((lead, ANN)))[ANN][0])[0]
    assert {(await browser.get(link)).status_code for _ in range(5)} == {302}
    assert world.rows("SELECT count(*) FROM received_batches") == [(3,)]


@ON_SQLITE
@pytest.mark.feature("I3")
async def test_a_sequence_and_a_template_may_say_no(world: World) -> None:
    lead = world.lead(ANN)
    plain = await world.send((lead, ANN), tracking=False)
    assert ours(plain[ANN][0]) == [] and "https://www.site.example/pricing?plan=a&utm_source=mail" in links(
        plain[ANN][0]
    )
    (world.workspace.root / "emails/welcome/body.html.j2").write_text(
        BODY.replace("{% block", "{% set tracking = false %}{% block", 1)
    )
    sam = world.lead(SAM)
    assert ours((await world.send((sam, SAM)))[SAM][0]) == []
    assert world.rows("SELECT count(*) FROM links") == [(0,)]


async def test_what_leads_to_a_person_is_erased_with_them(world: World, browser: httpx.AsyncClient) -> None:
    lead = world.lead(ANN)
    mails = await world.send((lead, ANN))
    await browser.get(ours(mails[ANN][0])[0])
    assert world.rows("SELECT count(*) FROM links WHERE lead_id IS NOT NULL") == [(1,)]
    with world.workspace.database.write() as connection:
        erasure.erase(connection, world.workspace.secret_key, lead, world.clock[0])
    world.clock[0] += MINUTE
    done = drain(world.workspace, world.clock[0])
    assert (done.counts.accepted, done.counts.rejected) == (0, 1)
    assert world.rows("SELECT reason FROM rejected_records") == [("mail: it, or whom it went to, is no longer there",)]
    assert "Zo" not in str(world.rows("SELECT * FROM links")) and ANN not in str(
        world.rows("SELECT * FROM rejected_records")
    )
