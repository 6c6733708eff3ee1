"""Unsubscribe, choose topics, confirm a sign-up: the pages behind the signed links of our mails.

Decides how a request becomes a wish with its evidence; models.queries.wishes writes it down. A GET shows, a POST
records; none needs a login, a cookie or a redirect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from models.queries import consents, messages, suppressions, wishes
from models.queries.suppressions import OWN_WISH
from models.queries.wishes import Wish
from models.rules import consent
from models.rules.tokens import PREFERENCES, UNSUBSCRIBE, Confirmation, Tokens, Unsubscription
from models.workspace import Workspace
from web.forms import form
from web.pages import Pages

Token = Annotated[str, Path(max_length=400)]
CONFIRMATION = "I want to get mail from {sender} about: {topics}."
"""The text on the page of a confirmation, kept as evidence with its version."""
CHOICE = "What may {sender} write to you about? {topics}"
VERSION = "1"


def consent_pages(workspace: Workspace, clock: Callable[[], int], pages: Pages) -> APIRouter:
    """The routes. `clock` gives programme time in microseconds."""
    router = APIRouter()
    service = _Service(workspace, clock, pages)

    @router.get("/unsubscribe/{token}")
    def ask(token: Token) -> HTMLResponse:
        return pages.page("unsubscribe", state="ask") if service.wish_of(token, UNSUBSCRIBE) else pages.invalid()

    @router.post("/unsubscribe/{token}")
    def unsubscribe(token: Token, request: Request, by: str = "") -> HTMLResponse:
        # The page's button and a mailbox provider (RFC 8058, body `List-Unsubscribe=One-Click`) ask for the same: the
        # body is not needed, nor a login, a cookie or a redirect.
        return service.unsubscribe(token, request, "unsubscribe page" if by == "page" else "one-click (RFC 8058)")

    @router.get("/preferences/{token}")
    def preferences(token: Token) -> HTMLResponse:
        return service.show_preferences(token)

    @router.post("/preferences/{token}")
    async def prefer(token: Token, request: Request) -> HTMLResponse:
        given = parse_qs(await form(request))
        wanted = [] if given.get("do") == ["none"] else given.get("topic", [])
        return await run_in_threadpool(service.prefer, token, request, wanted)

    @router.get("/confirm/{token}")
    def show(token: Token) -> HTMLResponse:
        return service.show_confirmation(token)

    @router.post("/confirm/{token}")
    def confirm(token: Token, request: Request) -> HTMLResponse:
        return service.confirm(token, request)

    return router


class _Service:
    """The acts behind the routes."""

    def __init__(self, workspace: Workspace, clock: Callable[[], int], pages: Pages) -> None:
        self.workspace, self.clock, self.pages = workspace, clock, pages
        self.rules = workspace.settings.consent
        self.sender = workspace.settings.sender.name
        self.domains = workspace.message_domains

    def wish_of(self, token: str, purpose: str) -> Unsubscription | None:
        return Unsubscription.read(Tokens(self.workspace.secret_key), token, self.domains[0], purpose)

    def unsubscribe(self, token: str, request: Request, source: str) -> HTMLResponse:
        said = self.wish_of(token, UNSUBSCRIBE)
        if said is None:
            return self.pages.invalid()
        wish = self._wish(said.suppression, said.message_id, request, source)
        with self.workspace.database.write(durable=True) as connection:
            wishes.unsubscribe(connection, self.workspace.secret_key, wish)
        return self.pages.page("unsubscribe", state="done")

    def show_preferences(self, token: str, state: str = "ask") -> HTMLResponse:
        said = self.wish_of(token, PREFERENCES)
        if said is None:
            return self.pages.invalid()
        with self.workspace.database.read() as connection:
            topics = wishes.standing_choices(connection, self.rules, said.suppression, self.clock())
            why = suppressions.reason(connection, said.suppression)
        barred = why if why is not None and not why.startswith(OWN_WISH) else ""
        return self.pages.page("preferences", state=state, topics=topics, barred=barred)

    def prefer(self, token: str, request: Request, wanted: list[str]) -> HTMLResponse:
        said = self.wish_of(token, PREFERENCES)
        if said is None:
            return self.pages.invalid()
        wording = CHOICE.format(sender=self.sender, topics="; ".join(self.rules.topics.values()))
        wish = self._wish(said.suppression, said.message_id, request, "preference page", wording)
        with self.workspace.database.write(durable=True) as connection:
            wishes.prefer(connection, self.workspace.secret_key, self.rules, wish, wanted)
        return self.show_preferences(token, "saved")

    def show_confirmation(self, token: str) -> HTMLResponse:
        said = Confirmation.read(Tokens(self.workspace.secret_key), token, self.domains[0])
        if said is None:
            return self.pages.invalid()
        waiting = self._waiting(said)
        if not waiting:
            return self.pages.page("confirm", 410, state="over")
        return self.pages.page("confirm", state="ask", wording=self._wording(waiting))

    def confirm(self, token: str, request: Request) -> HTMLResponse:
        said = Confirmation.read(Tokens(self.workspace.secret_key), token, self.domains[0])
        if said is None:
            return self.pages.invalid()
        wording = self._wording(self._waiting(said))
        wish = self._wish(said.suppression, said.message_id, request, "confirmation link", wording)
        with self.workspace.database.write(durable=True) as connection:
            granted = (
                wishes.confirm(connection, self.workspace.secret_key, self.rules, wish)
                if wish.at < said.expires_at
                else []
            )
            done = bool(granted) or wishes.was_confirmed(connection, wish)
        return self.pages.page("confirm", state="done") if done else self.pages.page("confirm", 410, state="over")

    def _waiting(self, said: Confirmation) -> list[str]:
        now = self.clock()
        if now >= said.expires_at:
            return []
        with self.workspace.database.read() as connection:
            known = consents.histories(connection, [said.suppression]).get(said.suppression, [])
        return consent.open_requests(known, self.rules, now)

    def _wording(self, topics: list[str]) -> str:
        named = ", ".join(self.rules.topics.get(topic, topic) for topic in topics)
        return CONFIRMATION.format(sender=self.sender, topics=named)

    def _wish(self, digest: bytes, message_id: str, request: Request, source: str, wording: str = "") -> Wish:
        evidence = {
            "source": source,
            "ip": request.client.host if request.client else "",
            "user_agent": request.headers.get("user-agent", ""),
            "wording": wording,
            "version": VERSION if wording else "",
        }
        with self.workspace.database.read() as connection:
            name = messages.called(connection, message_id, self.domains)
        return Wish(digest, name, self.clock(), consent.evidence(evidence))
