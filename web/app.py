"""The HTTP application of a workspace: assembled here, served by `warmline serve`.

Decides which pages exist. A GET never changes anything: scanners and mail programs follow every link.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import jinja2
from fastapi import FastAPI, Path
from fastapi.responses import HTMLResponse, PlainTextResponse

from models.queries import suppressions
from models.queries.suppressions import NewSuppression
from models.rules.mail import idna_domain
from models.rules.tokens import Tokens, Unsubscription
from models.workspace import Workspace

Token = Annotated[str, Path(max_length=400)]


def application(workspace: Workspace, clock: Callable[[], int]) -> FastAPI:
    """The application for `workspace`. `clock` gives programme time in microseconds."""
    app = FastAPI(title="Warmline", docs_url=None, redoc_url=None, openapi_url=None)
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("templates", "pages"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    domain = idna_domain(workspace.settings.sender.email.rpartition("@")[2]) or ""

    def wish_of(token: str) -> Unsubscription | None:
        return Unsubscription.read(Tokens(workspace.secret_key), token, domain)

    def page(state: str, status: int = 200) -> HTMLResponse:
        text = pages.get_template("unsubscribe.html.j2").render(state=state, sender=workspace.settings.sender.name)
        return HTMLResponse(text, status, headers={"Cache-Control": "no-store", "X-Robots-Tag": "noindex"})

    @app.get("/healthz")
    def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.get("/unsubscribe/{token}")
    def ask(token: Token) -> HTMLResponse:
        return page("ask") if wish_of(token) else page("unknown", 404)

    @app.post("/unsubscribe/{token}")
    def unsubscribe(token: Token) -> HTMLResponse:
        # The page's button and a mailbox provider (RFC 8058, body `List-Unsubscribe=One-Click`) ask for the same: the
        # body is not needed, nor a login, a cookie or a redirect.
        wish = wish_of(token)
        if wish is None:
            return page("unknown", 404)
        with workspace.database.write(durable=True) as connection:
            suppressions.suppress(connection, [NewSuppression(wish.suppression, "unsubscribed by link", clock())])
        return page("done")

    return app
