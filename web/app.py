"""The HTTP application of a workspace: assembled here, served by `warmline serve`.

Decides which pages exist. A GET never changes anything: scanners and mail programs follow every link.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from models.workspace import Workspace
from web.answers import answer_pages
from web.consent import consent_pages
from web.pages import Pages
from web.verdicts import verdict_pages


def application(workspace: Workspace, clock: Callable[[], int]) -> FastAPI:
    """The application for `workspace`. `clock` gives programme time in microseconds."""
    app = FastAPI(title="Warmline", docs_url=None, redoc_url=None, openapi_url=None)
    pages = Pages(workspace.settings.sender.name)

    @app.get("/healthz")
    def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    app.include_router(consent_pages(workspace, clock, pages))
    app.include_router(answer_pages(workspace, clock, pages))
    app.include_router(verdict_pages(workspace, clock, pages))
    return app
