"""Unsubscribe, choose topics, confirm a sign-up: the pages behind the signed links of our mails.

Decides how a request becomes a wish with its evidence; models.queries.wishes writes it down. A GET shows, a POST
records; none needs a login, a cookie or a redirect. Who wants no more mail is obeyed whoever sent the form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from models.queries import consents, messages, recipients, suppressions, wishes
from models.queries.suppressions import OWN_WISH
from models.queries.wishes import Wish
from models.rules import consent
from models.rules.tokens import PREFERENCES, UNSUBSCRIBE, Confirmation, Unsubscription
from models.workspace import Workspace
from web import forms
from web.forms import Fields
from web.pages import Pages
from web.texts import Said

Token = Annotated[str, Path(max_length=400)]
VERSION = "2"
"""Of the texts that are kept as evidence, word for word, with the language they were shown in."""


def consent_pages(workspace: Workspace, clock: Callable[[], int], pages: Pages) -> APIRouter:
    """The routes. `clock` gives programme time in microseconds."""
    router = APIRouter(include_in_schema=False)
    service = _Service(workspace, clock, pages)

    @router.get("/unsubscribe/{token}")
    def ask(token: Token, request: Request) -> HTMLResponse:
        return service.ask_unsubscribe(token, request)

    @router.post("/unsubscribe/{token}")
    def unsubscribe(token: Token, request: Request, by: str = "") -> HTMLResponse:
        # The page's button and a mailbox provider (RFC 8058, body `List-Unsubscribe=One-Click`) ask for the same: the
        # body is not needed, nor a login, a cookie or a redirect.
        return service.unsubscribe(token, request, "unsubscribe page" if by == "page" else "one-click (RFC 8058)")

    @router.get("/preferences/{token}")
    def preferences(token: Token, request: Request) -> HTMLResponse:
        return service.show_preferences(token, request)

    @router.post("/preferences/{token}")
    async def prefer(token: Token, request: Request) -> HTMLResponse:
        given = await forms.fields(request)
        return await run_in_threadpool(service.prefer, token, request, given)

    @router.get("/confirm/{token}")
    def show(token: Token, request: Request) -> HTMLResponse:
        return service.show_confirmation(token, request)

    @router.post("/confirm/{token}")
    async def confirm(token: Token, request: Request) -> HTMLResponse:
        given = await forms.fields(request)
        return await run_in_threadpool(service.confirm, token, request, given)

    return router


class _Service:
    """The acts behind the routes."""

    def __init__(self, workspace: Workspace, clock: Callable[[], int], pages: Pages) -> None:
        self.workspace, self.clock, self.pages = workspace, clock, pages
        self.rules = workspace.settings.consent
        self.domains = workspace.message_domains
        self.asks_about_opens = workspace.settings.tracking.opens == "consented"

    def ask_unsubscribe(self, token: str, request: Request) -> HTMLResponse:
        said = self._wish_of(token, UNSUBSCRIBE)
        return self.pages.invalid(request) if said is None else self._unsubscribe_page(said, "ask")

    def unsubscribe(self, token: str, request: Request, source: str) -> HTMLResponse:
        said = self._wish_of(token, UNSUBSCRIBE)
        if said is None:
            return self.pages.invalid(request)
        wish = self._wish(said.suppression, said.message_id, request, source)
        with self.workspace.database.write(durable=True) as connection:
            wishes.unsubscribe(connection, self.workspace.secret_key, wish)
        return self._unsubscribe_page(said, "done")

    def _unsubscribe_page(self, said: Unsubscription, state: str) -> HTMLResponse:
        choose = f"../preferences/{said.token(self.workspace.tokens, PREFERENCES)}"
        return self.pages.page("unsubscribe", 200, self._texts(said.message_id), state=state, choose=choose)

    def show_preferences(
        self, token: str, request: Request, state: str = "ask", why: str | None = None
    ) -> HTMLResponse:
        said = self._wish_of(token, PREFERENCES)
        if said is None:
            return self.pages.invalid(request)
        texts, now = self._texts(said.message_id), self.clock()
        with self.workspace.database.read() as connection:
            topics = wishes.standing_choices(connection, self.rules, said.suppression, now)
            opens = wishes.tells_of_opening(connection, said.suppression, now) if self.asks_about_opens else None
            reason = suppressions.reason(connection, said.suppression)
        return self.pages.page(
            "preferences",
            200 if why is None else 403,
            texts,
            state=state,
            topics=[one._replace(words=self._words(one.topic, texts)) for one in topics],
            opens=opens,
            barred=reason is not None and not reason.startswith(OWN_WISH),
            form=forms.form_token(self.workspace.tokens, token, now),
            notice=None if why is None else texts(why),
        )

    def prefer(self, token: str, request: Request, given: Fields) -> HTMLResponse:
        said = self._wish_of(token, PREFERENCES)
        if said is None:
            return self.pages.invalid(request)
        if why := self._mistake(token, request, given):
            return self.show_preferences(token, request, why=why)
        wanted = [] if given.get("do") == ["none"] else given.get("topic", [])
        opens = given.get("opens") == ["yes"] if self.asks_about_opens else None
        texts = self._texts(said.message_id)
        asked = [self._words(topic, texts) for topic in self.rules.topics]
        asked += [texts("preferences.opens")] if self.asks_about_opens else []
        wording = f"{self._say(texts, 'preferences.heading')} {'; '.join(asked)}"
        wish = self._wish(said.suppression, said.message_id, request, "preference page", wording, texts.language)
        with self.workspace.database.write(durable=True) as connection:
            wishes.prefer(connection, self.workspace.secret_key, self.rules, wish, wanted, opens)
        return self.show_preferences(token, request, "saved")

    def show_confirmation(self, token: str, request: Request, why: str | None = None) -> HTMLResponse:
        said = Confirmation.read(self.workspace.tokens, token, self.domains[0])
        if said is None:
            return self.pages.invalid(request)
        waiting, texts = self._waiting(said), self._texts(said.message_id)
        if not waiting:
            with self.workspace.database.read() as connection:
                name = messages.called(connection, said.message_id, self.domains)
                done = wishes.was_confirmed(connection, Wish(said.suppression, name, self.clock()))
            return self._confirmed(done, texts)
        return self.pages.page(
            "confirm",
            200 if why is None else 403,
            texts,
            state="ask",
            wording=self._wording(waiting, texts),
            form=forms.form_token(self.workspace.tokens, token, self.clock()),
            notice=None if why is None else texts(why),
        )

    def confirm(self, token: str, request: Request, given: Fields) -> HTMLResponse:
        said = Confirmation.read(self.workspace.tokens, token, self.domains[0])
        if said is None:
            return self.pages.invalid(request)
        if why := self._mistake(token, request, given):
            return self.show_confirmation(token, request, why)
        texts = self._texts(said.message_id)
        wording = self._wording(self._waiting(said), texts)
        wish = self._wish(said.suppression, said.message_id, request, "confirmation link", wording, texts.language)
        with self.workspace.database.write(durable=True) as connection:
            granted = (
                wishes.confirm(connection, self.workspace.secret_key, self.rules, wish)
                if wish.at < said.expires_at
                else []
            )
            done = bool(granted) or wishes.was_confirmed(connection, wish)
        return self._confirmed(done, texts)

    def _confirmed(self, done: bool, texts: Said) -> HTMLResponse:
        return self.pages.page("confirm", 200 if done else 410, texts, state="done" if done else "over")

    def _wish_of(self, token: str, purpose: str) -> Unsubscription | None:
        return Unsubscription.read(self.workspace.tokens, token, self.domains[0], purpose)

    def _mistake(self, token: str, request: Request, given: Fields) -> str | None:
        tokens, base_url = self.workspace.tokens, self.workspace.settings.base_url
        return forms.mistake(request, given, tokens, token, self.clock(), base_url)

    def _texts(self, message_id: str) -> Said:
        with self.workspace.database.read() as connection:
            return self.pages.texts(recipients.language(connection, message_id, self.domains))

    def _say(self, texts: Said, key: str, **facts: object) -> str:
        return texts(key, sender=self.workspace.settings.sender.name, **facts)

    def _words(self, topic: str, texts: Said) -> str:
        """The words by which people know a topic, in their language where pages/ of the workspace has them."""
        if topic == consent.OPENS:
            return texts("preferences.opens")
        return texts.own(f"topics.{topic}") or self.rules.topics.get(topic, topic)

    def _waiting(self, said: Confirmation) -> list[str]:
        now = self.clock()
        if now >= said.expires_at:
            return []
        with self.workspace.database.read() as connection:
            known = consents.histories(connection, [said.suppression]).get(said.suppression, [])
        return consent.open_requests(known, self.rules, now)

    def _wording(self, topics: list[str], texts: Said) -> str:
        return self._say(texts, "confirm.wording", topics=", ".join(self._words(topic, texts) for topic in topics))

    def _wish(
        self, digest: bytes, message_id: str, request: Request, source: str, wording: str = "", language: str = ""
    ) -> Wish:
        evidence = {
            "source": source,
            "ip": request.client.host if request.client else "",
            "user_agent": request.headers.get("user-agent", ""),
            "wording": wording,
            "version": VERSION if wording else "",
            "language": language,
        }
        with self.workspace.database.read() as connection:
            name = messages.called(connection, message_id, self.domains)
        return Wish(digest, name, self.clock(), consent.evidence(evidence))
