"""The pages behind the three answers of a mail to sales: a GET asks for the reason, a POST records the verdict.

Decides what is shown and with which status; models.queries.verdicts decides and writes. The signed link is the right to
answer, the form's own token says that its page was seen. A link that cannot be obeyed is counted for the operators.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from models.queries import rosters, standings, verdicts
from models.queries.verdicts import Overtaken, Question, Refused, Said, Saying
from models.rules.instants import Micros, instant
from models.rules.verdicts import (
    EXPIRED,
    FORGED,
    LONGEST_COMMENT,
    UNKNOWN,
    Verdict,
    VerdictLink,
    form_token,
    read_form,
    refusal,
    rep_digest,
)
from models.workspace import Workspace
from web import forms
from web.forms import Fields
from web.pages import Pages

log = logging.getLogger("warmline.feedback")
Token = Annotated[str, Path(max_length=200)]
STATUS = {FORGED: 404, UNKNOWN: 410, EXPIRED: 410}
"""Why a verdict is refused → the page's status; else 409: the lead is not where the mail saw it."""
WAY = "link"


def verdict_pages(workspace: Workspace, clock: Callable[[], int], pages: Pages) -> APIRouter:
    """The routes. `clock` gives programme time in microseconds."""
    router = APIRouter(include_in_schema=False)
    desk = _Desk(workspace, clock, pages)

    @router.get("/verdict/{token}")
    def show(token: Token, request: Request) -> HTMLResponse:
        return desk.show(token, request)

    @router.post("/verdict/{token}")
    async def record(token: Token, request: Request) -> HTMLResponse:
        given = await forms.fields(request)
        return await run_in_threadpool(desk.record, token, request, given)

    return router


@dataclass(frozen=True)
class _Asked:
    """A link that is good, and what it asks about."""

    link: VerdictLink
    question: Question


class _Desk:
    """The acts behind the routes."""

    def __init__(self, workspace: Workspace, clock: Callable[[], int], pages: Pages) -> None:
        self.workspace, self.clock, self.pages = workspace, clock, pages
        self.tokens = workspace.tokens
        self.texts = pages.texts()
        """In the workspace's language, as mails to salespeople are."""

    @property
    def reasons(self) -> Any:
        return self.workspace.team.verdicts

    def show(self, token: str, request: Request) -> HTMLResponse:
        asked = self._asked(token, request)
        return asked if isinstance(asked, HTMLResponse) else self._ask(asked)

    def record(self, token: str, request: Request, given: Fields) -> HTMLResponse:
        asked, now = self._asked(token, request), self.clock()
        if isinstance(asked, HTMLResponse):
            return asked
        comment = given.get("comment", [""])[0].strip()
        if forms.is_foreign(request, self.workspace.settings.base_url):
            return self._ask(asked, self.texts(forms.FOREIGN), 403, comment)
        seen = read_form(self.tokens, given.get("form", [""])[0], asked.link, now)
        if seen is None:
            return self._ask(asked, self.texts(forms.EXPIRED), 400, comment)
        if len(comment) > LONGEST_COMMENT:
            return self._ask(asked, self.texts("verdict.too_long", longest=LONGEST_COMMENT), 422, comment)
        try:
            reason = self.reasons.find(asked.link.verdict, given.get("reason", [""])[0])
        except ValueError:
            return self._ask(asked, self.texts("verdict.choose_reason"), 422, comment)
        assignment = asked.question.given
        saying = Saying(assignment.id, asked.link.verdict, reason, comment, assignment.rep, WAY, seen)
        with self.workspace.database.write(durable=True) as connection:
            outcome = verdicts.record(connection, saying, now)
        if isinstance(outcome, Refused):
            return self._refused(outcome.why, asked.link, request)
        if isinstance(outcome, Overtaken):
            return self._ask(self._again(asked), self.texts("verdict.overtaken"), 409, comment)
        return self._page(self._again(asked), "done")

    def _asked(self, token: str, request: Request) -> _Asked | HTMLResponse:
        """What the link asks, or the page that says why it opens nothing."""
        link, now = VerdictLink.read(self.tokens, token), self.clock()
        if link is None:
            return self._refused(FORGED, None, request)
        if now >= link.expires_at:
            return self._refused(EXPIRED, link, request)
        with self.workspace.database.read() as connection:
            question = verdicts.question(connection, link.assignment_id, now)
        if question is None:
            return self._refused(UNKNOWN, link, request)
        if link.whose != rep_digest(question.given.rep):
            return self._refused(FORGED, link, request)
        why = refusal(question.given.state, link.verdict, question.is_latest)
        return _Asked(link, question) if why is None else self._refused(why, link, request)

    def _again(self, asked: _Asked) -> _Asked:
        with self.workspace.database.read() as connection:
            question = verdicts.question(connection, asked.link.assignment_id, self.clock())
        return asked if question is None else _Asked(asked.link, question)

    def _refused(self, why: str, link: VerdictLink | None, request: Request) -> HTMLResponse:
        about = 0 if link is None else link.assignment_id
        with self.workspace.database.write() as connection:
            verdicts.note_refusal(connection, why, about, self.clock())
        whence = request.client.host if request.client else "somewhere"
        log.warning("answer link refused (%s), assignment %s, asked from %s", why, about or "unknown", whence)
        return self.pages.page("verdict_refused", STATUS.get(why, 409), self.texts, why=why.replace("-", "_"))

    def _ask(self, asked: _Asked, error: str = "", status: int = 200, comment: str = "") -> HTMLResponse:
        said = asked.question.standing
        is_said = said is not None and said.verdict is asked.link.verdict
        return self._page(asked, "said" if is_said and not error else "ask", error, status, comment)

    def _page(self, asked: _Asked, state: str, error: str = "", status: int = 200, comment: str = "") -> HTMLResponse:
        verdict, said, now = asked.link.verdict, asked.question.standing, self.clock()
        name, position = self._person(asked.question.given.lead_id)
        known = dict(self.reasons.of(verdict))
        chosen = said.reason if said is not None and said.verdict is verdict else None
        if chosen is None and verdict is Verdict.ACCEPTED:
            chosen = next(iter(known))
        return self.pages.page(
            "verdict",
            status,
            self.texts,
            state=state,
            verdict=verdict,
            label=self._label(verdict),
            lead=name,
            position=position,
            reasons=known,
            chosen=chosen,
            comment=comment or (said.comment or "" if said is not None and said.verdict is verdict else ""),
            longest=LONGEST_COMMENT,
            said=None if said is None else self._told(said),
            others=list(self._others(asked)),
            form=form_token(self.tokens, asked.link, len(asked.question.said), now),
            error=error,
        )

    def _told(self, said: Said) -> dict[str, str]:
        at, say = instant(Micros(said.at)).astimezone(self.workspace.zone), self.texts
        weekday, month = say("dates.weekdays").split()[at.weekday()], say("dates.months").split()[at.month - 1]
        return {
            "label": self._label(said.verdict),
            "verdict": said.verdict.value,
            "reason": self.reasons.told(said.verdict, said.reason),
            "comment": said.comment or "",
            "at": say("dates.moment", weekday=weekday, day=at.day, month=month, time=f"{at:%H:%M}"),
        }

    def _others(self, asked: _Asked) -> Iterator[tuple[str, str]]:
        """(words, token) of the other answers that are still open."""
        link = asked.link
        for verdict in Verdict:
            if verdict is not link.verdict and refusal(asked.question.given.state, verdict) is None:
                yield self._label(verdict), replace(link, verdict=verdict).token(self.tokens)

    def _label(self, verdict: Verdict) -> str:
        return self.texts(f"verdict.{verdict}")

    def _person(self, lead_id: int) -> tuple[str, str]:
        """The lead's name (else its address), and position with company."""
        with self.workspace.database.read() as connection:
            standing = standings.read(connection, [lead_id], self.workspace.scoring.name, self.clock())[lead_id]
        known = standing.attributes
        company = (standing.account or {}).get("name") or known.get("company")
        position = ", ".join(str(word) for word in (known.get("job_title"), company) if word)
        return str(rosters.name_of(known) or standing.email or f"lead {lead_id}"), position
