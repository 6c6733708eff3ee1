"""The page behind a link that answers a question of a mail: a GET shows the answer, a POST records it.

Decides what is shown; models.queries.answers writes, and who answered is looked after at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from models.queries import answers, messages, recipients
from models.rules.tokens import Answer
from models.workspace import Workspace
from web import forms
from web.forms import Fields
from web.pages import Pages

Token = Annotated[str, Path(max_length=600)]


def answer_pages(workspace: Workspace, clock: Callable[[], int], pages: Pages) -> APIRouter:
    """The routes. `clock` gives programme time in microseconds."""
    router = APIRouter(include_in_schema=False)
    desk = _Desk(workspace, clock, pages)

    @router.get("/answer/{token}")
    def show(token: Token, request: Request) -> HTMLResponse:
        answer = desk.answer_of(token)
        return pages.invalid(request) if answer is None else desk.ask(answer, token)

    @router.post("/answer/{token}")
    async def record(token: Token, request: Request) -> HTMLResponse:
        given = await forms.fields(request)
        return await run_in_threadpool(desk.record, token, request, given)

    return router


class _Desk:
    """The acts behind the routes."""

    def __init__(self, workspace: Workspace, clock: Callable[[], int], pages: Pages) -> None:
        self.workspace, self.clock, self.pages = workspace, clock, pages
        self.domains = workspace.message_domains

    def answer_of(self, token: str) -> Answer | None:
        return Answer.read(self.workspace.tokens, token, self.domains[0])

    def record(self, token: str, request: Request, given: Fields) -> HTMLResponse:
        answer, now = self.answer_of(token), self.clock()
        if answer is None:
            return self.pages.invalid(request)
        base_url = self.workspace.settings.base_url
        if why := forms.mistake(request, given, self.workspace.tokens, token, now, base_url):
            return self.ask(answer, token, why)
        with self.workspace.database.write(durable=True) as connection:
            asked = replace(answer, message_id=messages.called(connection, answer.message_id, self.domains))
            since = self.workspace.settings.express.since(now)
            recorded = answers.record(connection, asked, now, since)
        return self._page("done", answer) if recorded else self.pages.invalid(request)

    def ask(self, answer: Answer, token: str, why: str | None = None) -> HTMLResponse:
        form = forms.form_token(self.workspace.tokens, token, self.clock())
        return self._page("ask", answer, why, form=form)

    def _page(self, state: str, answer: Answer, why: str | None = None, form: str = "") -> HTMLResponse:
        with self.workspace.database.read() as connection:
            said = self.pages.texts(recipients.language(connection, answer.message_id, self.domains))
        words = answer.attribute.replace("_", " ")
        asked = said.own(f"asked.{answer.attribute}") or words[:1].upper() + words[1:]
        notice = None if why is None else said(why)
        status = 200 if why is None else 403
        return self.pages.page(
            "answer", status, said, state=state, asked=asked, value=answer.value, form=form, notice=notice
        )
