"""The pages behind the three answers of a mail to sales: looking changes nothing, sending records once."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from models.database import Database
from models.queries import assignments
from models.rules.instants import DAY, MINUTE, SECOND
from models.rules.tokens import Tokens
from models.rules.verdicts import FeedbackRules, Verdict, VerdictLink, answer_links, rep_digest
from tasks.routing import route
from tests.programme_world import NOW, World
from web.app import application

ALICE = 1
HOSTILE = {"first_name": "Ada<script>", "last_name": "Lovelace", "job_title": "VP Sales", "company": "Loom & Sons"}


@dataclass
class Desk:
    """A lead that was handed over, the three links of its mail, and a browser."""

    world: World
    links: dict[Verdict, str]
    browser: httpx.AsyncClient
    clock: list[int]

    async def look(self, verdict: Verdict) -> httpx.Response:
        return await self.browser.get(self.links[verdict])

    async def send(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """Fill in the form of the page and press its button."""
        self.clock[0] += SECOND
        found = re.search(r'name="form" value="(\w+)"', page.text)
        assert found is not None
        return await self.browser.post(str(page.url), data={"form": found[1]} | fields)

    def recorded(self) -> list[tuple[object, ...]]:
        sql = "SELECT t.type, t.name, a.properties FROM activities a JOIN touchpoints t ON t.id = a.touchpoint_id"
        return self.world.rows(f"{sql} ORDER BY a.id")

    def refused(self) -> list[tuple[object, ...]]:
        return self.world.rows("SELECT why, assignment_id, times FROM refused_answers ORDER BY why")


@pytest.fixture
def world(tmp_path: Path, sqlite_template: Path) -> Iterator[World]:
    database = Database(f"sqlite:///{shutil.copyfile(sqlite_template, tmp_path / 'warmline.db')}")
    made = World(tmp_path / "workspace", database)
    made.lead(ALICE, 70, attributes=HOSTILE)
    route(made.workspace, NOW)
    yield made
    database.close()


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    clock = [NOW + MINUTE]
    with world.database.read() as connection:
        given = assignments.by_id(connection, 1)
    assert given is not None
    settings = SimpleNamespace(base_url="https://go.example", feedback=FeedbackRules())
    links = answer_links(settings, world.workspace.tokens, given)
    transport = httpx.ASGITransport(app=application(world.workspace, clock=lambda: clock[0]))
    async with httpx.AsyncClient(transport=transport, base_url="https://go.example") as browser:
        yield Desk(world, dict(zip(Verdict, (one["url"] for one in links), strict=True)), browser, clock)


@pytest.mark.feature("L6")
async def test_looking_changes_nothing_however_often(desk: Desk) -> None:
    before = [desk.world.rows(f"SELECT * FROM {table}") for table in ("leads", "assignments", "work_queue")]
    for verdict in Verdict:
        page = await desk.look(verdict)
        assert page.status_code == 200 and verdict.label in page.text
        assert "Ada&lt;script&gt; Lovelace" in page.text and "VP Sales, Loom &amp; Sons" in page.text
        for words in desk.world.workspace.team.verdicts.of(verdict).values():
            assert words in unescape(page.text)
        assert page.headers["cache-control"] == "no-store" and "script-src" not in page.text
        assert (
            page.text.count('type="radio"') == page.text.count("<label") - 1
        )  # each choice is labelled, and the comment
        await desk.browser.head(desk.links[verdict])
    assert [desk.world.rows(f"SELECT * FROM {table}") for table in ("leads", "assignments", "work_queue")] == before
    assert desk.recorded() == [] and desk.refused() == []


@pytest.mark.feature("L6")
async def test_an_answer_is_recorded_once_with_its_reason(desk: Desk) -> None:
    page = await desk.look(Verdict.NOT_READY)
    done = await desk.send(page, reason="no-budget-yet", comment=' "in <May>" ')
    assert done.status_code == 200 and "Recorded, thank you" in done.text and "“&#34;in &lt;May&gt;&#34;”" in done.text
    rep = desk.world.rows("SELECT rep FROM assignments")[0][0]
    told = (
        f'{{"assignment":1,"assignment_id":1,"by":"{rep}","comment":"\\"in <May>\\"","reason":"no-budget-yet",'
        f'"rep":"{rep}","way":"link"}}'
    )
    assert desk.recorded() == [("sales_not_ready", "no-budget-yet", told)]
    assert desk.world.rows("SELECT subject_id FROM work_queue WHERE queue = 'express'") == [(ALICE,)], "at once"
    again = await desk.send(page, reason="no-budget-yet", comment=' "in <May>" ')  # pressed twice
    assert again.status_code == 200 and len(desk.recorded()) == 1
    looked = await desk.look(Verdict.NOT_READY)
    assert "This was recorded on Fri 4 Oct, 13:01" in looked.text and "No budget yet" in looked.text


async def test_without_a_reason_or_its_page_nothing_is_recorded(desk: Desk) -> None:
    page = await desk.look(Verdict.UNQUALIFIED)
    for status, words, fields in (
        (422, "Please choose a reason", {}),
        (422, "Please choose a reason", {"reason": "no-budget-yet"}),  # a reason of another verdict
        (422, "below 1000 characters", {"reason": "no-need", "comment": "x" * 1_001}),
        (400, "open for too long", {"reason": "no-need", "form": ""}),
        (400, "open for too long", {"reason": "no-need", "form": "forged"}),
    ):
        answer = await desk.send(page, **fields)
        assert answer.status_code == status and words in answer.text and 'role="alert"' in answer.text
    blind = await desk.browser.post(desk.links[Verdict.ACCEPTED])  # a scanner that presses buttons
    assert blind.status_code == 400
    form = re.search(r'name="form" value="(\w+)"', page.text)
    assert form is not None
    for origin in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        fields = {"form": form[1], "reason": "no-need"}
        foreign = await desk.browser.post(desk.links[Verdict.UNQUALIFIED], data=fields, headers=origin)
        assert foreign.status_code == 403 and "our own page" in foreign.text
    other = await desk.look(Verdict.ACCEPTED)
    crossed = await desk.browser.post(desk.links[Verdict.UNQUALIFIED], content=other.text[-10_000:].encode())
    assert crossed.status_code == 400
    desk.clock[0] += DAY
    assert (await desk.send(page, reason="no-need")).status_code == 400
    assert (await desk.browser.post(str(page.url), content=b"x" * 30_000)).status_code == 400
    assert desk.recorded() == []


@pytest.mark.feature("L6")
async def test_a_change_of_mind_is_a_new_answer_and_none_is_overwritten_unseen(desk: Desk) -> None:
    first, stale = await desk.look(Verdict.NOT_READY), await desk.look(Verdict.UNQUALIFIED)
    await desk.send(first, reason="later")
    late = await desk.send(stale, reason="no-need")
    assert late.status_code == 409 and "Another answer was recorded in the meantime" in late.text
    assert "Wants to be asked again later" in late.text and len(desk.recorded()) == 1
    assert (await desk.send(late, reason="no-need")).status_code == 200  # now it was seen
    assert desk.world.stage(ALICE) == "disqualified"
    page = await desk.look(Verdict.ACCEPTED)
    assert "Recorded so far" in page.text and "Has no need" in page.text
    assert (await desk.send(page, reason="calling-now")).status_code == 200
    assert desk.world.rows("SELECT state FROM assignments") == [("accepted",)]
    assert desk.world.stage(ALICE) == "sales_qualified"


@pytest.mark.feature("L6")
async def test_a_link_that_cannot_be_obeyed_says_so_and_operators_see_it(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    link = desk.links[Verdict.ACCEPTED]
    tokens = Tokens(desk.world.workspace.secret_key)
    theirs = VerdictLink(1, rep_digest("somebody.else@harbourline.example"), Verdict.ACCEPTED, NOW + DAY)
    gone = VerdictLink(77, rep_digest("a@b.example"), Verdict.ACCEPTED, NOW + DAY)
    with caplog.at_level(logging.WARNING, "warmline.feedback"):
        for path, status in (
            (link[:-1] + ("a" if link[-1] != "a" else "b"), 404),
            (f"/verdict/{theirs.token(tokens)}", 404),
            (f"/verdict/{gone.token(tokens)}", 410),
        ):
            for answer in (await desk.browser.get(path), await desk.browser.post(path)):
                assert answer.status_code == status and "Nothing was recorded" in answer.text
        await expired_passed_on_and_called_back(desk)
    assert desk.refused() == [
        ("called-back", 1, 1),
        ("expired", 1, 1),
        ("forged", 0, 2),
        ("forged", 1, 2),
        ("passed-on", 1, 2),
        ("unknown", 77, 2),
    ]
    assert desk.recorded() == [] and "answer link refused (forged), assignment unknown" in caplog.text


async def expired_passed_on_and_called_back(desk: Desk) -> None:
    page = await desk.look(Verdict.ACCEPTED)
    desk.world.write("UPDATE assignments SET state = 'reassigned'")
    passed_on = await desk.send(page, reason="calling-now")  # between the page and the button
    assert passed_on.status_code == 409 and "passed on to somebody else" in passed_on.text
    assert (await desk.look(Verdict.UNQUALIFIED)).status_code == 409
    desk.world.write("UPDATE assignments SET state = 'recalled'")
    assert "called back" in (await desk.look(Verdict.ACCEPTED)).text
    assert (await desk.look(Verdict.UNQUALIFIED)).status_code == 200  # never is never
    desk.clock[0] = NOW + 30 * DAY
    expired = await desk.look(Verdict.UNQUALIFIED)
    assert expired.status_code == 410 and "The link has expired" in expired.text
