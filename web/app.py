"""The HTTP application of a workspace: assembled here, served by `warmline serve`.

Decides which pages and endpoints exist, and how what went wrong is told: nothing of the database, nothing personal. A
GET never changes anything: scanners and mail programs follow every link.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from models.errors import StorageError
from models.workspace import Workspace
from web import cloudevents, posthog, segment
from web.answers import answer_pages
from web.bodies import Bodies
from web.cloudevents import cloudevents_routes
from web.collector import Collector
from web.consent import consent_pages
from web.documentation import SCHEMES
from web.gate import Gate, refused
from web.health import health_routes
from web.hooks import hook_routes
from web.meters import Meters
from web.pages import Pages
from web.posthog import posthog_routes
from web.reception import Overloaded, Reception
from web.segment import segment_routes
from web.texts import FOLDER
from web.tracking import tracking_routes
from web.verdicts import verdict_pages

log = logging.getLogger("warmline.web")
UNWRITABLE_SECONDS = 5
"""When to come again where the database cannot be written."""
_SCRIPTED = segment.PATHS | posthog.PATHS | cloudevents.PATHS
_ALIASES = segment.ALIASES | posthog.ALIASES | cloudevents.ALIASES
_SCRIPTED_BELOW = (segment.SETTINGS.partition("{")[0], posthog.CONFIG.partition("{")[0])


def application(workspace: Workspace, clock: Callable[[], int]) -> FastAPI:
    """The application for `workspace`. `clock` gives programme time in microseconds."""
    app = FastAPI(title="Warmline", version=version("warmline"), docs_url=None, redoc_url=None)
    rules, database = workspace.settings.collector, workspace.database
    database.is_urgent = True  # whoever asks here waits for the answer
    meters, bodies = Meters(), Bodies(rules)
    pages = Pages(workspace.settings.sender.name, workspace.settings.language, workspace.root / FOLDER)
    reception = Reception(database, rules.most_waiting, meters)
    meters.watch(database, clock, lambda: reception.waiting_bytes)
    collector = Collector(workspace, clock, bodies, reception, meters)

    app.include_router(health_routes(workspace, meters))
    app.include_router(segment_routes(collector, workspace.settings.base_url))
    app.include_router(posthog_routes(collector))
    app.include_router(cloudevents_routes(collector))
    app.include_router(hook_routes(workspace, clock, bodies, reception, meters))
    app.include_router(consent_pages(workspace, clock, pages))
    app.include_router(answer_pages(workspace, clock, pages))
    app.include_router(verdict_pages(workspace, clock, pages))
    app.include_router(tracking_routes(workspace, clock, reception, pages))
    app.add_middleware(Gate, rules=rules, meters=meters, is_scripted=_is_scripted, aliases=_ALIASES)
    app.add_exception_handler(Overloaded, _overloaded)
    app.add_exception_handler(StorageError, _unwritable)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]  # FastAPI's own way to change it
    return app


def _is_scripted(path: str) -> bool:
    return path in _SCRIPTED or path.startswith(_SCRIPTED_BELOW)


async def _overloaded(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Overloaded)
    return refused(error.retry_after, "too much at once; nothing of it was kept")


async def _unwritable(_request: Request, error: Exception) -> JSONResponse:
    log.error("a request could not be answered: %s", error)
    detail = "the database cannot be written; nothing of it was kept"
    return JSONResponse({"detail": detail}, 503, {"Retry-After": str(UNWRITABLE_SECONDS)})


def _document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document.setdefault("components", {})["securitySchemes"] = SCHEMES
        app.openapi_schema = document
    return app.openapi_schema
