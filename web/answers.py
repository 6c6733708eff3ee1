"""The page behind a link that answers a question of a mail: a GET shows the answer, a POST records it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import HTMLResponse

from models.queries import answers, messages
from models.rules.tokens import Answer, Tokens
from models.workspace import Workspace
from web.pages import Pages

Token = Annotated[str, Path(max_length=600)]


def answer_pages(workspace: Workspace, clock: Callable[[], int], pages: Pages) -> APIRouter:
    """The routes. `clock` gives programme time in microseconds."""
    router = APIRouter()
    domains = workspace.message_domains

    def answer_of(token: str) -> Answer | None:
        return Answer.read(Tokens(workspace.secret_key), token, domains[0])

    def shown(state: str, answer: Answer) -> HTMLResponse:
        asked = answer.attribute.replace("_", " ").capitalize()
        return pages.page("answer", state=state, asked=asked, value=answer.value)

    @router.get("/answer/{token}")
    def show(token: Token) -> HTMLResponse:
        answer = answer_of(token)
        return pages.invalid() if answer is None else shown("ask", answer)

    @router.post("/answer/{token}")
    def record(token: Token) -> HTMLResponse:
        answer = answer_of(token)
        if answer is None:
            return pages.invalid()
        with workspace.database.write(durable=True) as connection:
            asked = replace(answer, message_id=messages.called(connection, answer.message_id, domains))
            recorded = answers.record(connection, asked, clock())
        return shown("done", answer) if recorded else pages.invalid()

    return router
