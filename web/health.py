"""What machines ask about the collector itself: does it live, can it keep what comes in, what has it counted."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from models.queries import received
from models.workspace import Workspace
from web.documentation import LIMITED, REFUSALS, json_answer
from web.meters import Meters

_TEXT = {"schema": {"type": "string"}}
_NO_STORE = {"Cache-Control": "no-store"}


def health_routes(workspace: Workspace, meters: Meters) -> APIRouter:
    """The routes. None tells anything about people."""
    router = APIRouter(tags=["Health"])
    database, rules = workspace.database, workspace.settings.collector

    alive: dict[int | str, dict[str, Any]] = {200: {"description": "It lives.", "content": {"text/plain": _TEXT}}}

    @router.get("/healthz", operation_id="healthz", response_class=PlainTextResponse, responses={**alive, **LIMITED})
    async def healthz() -> PlainTextResponse:
        """Whether the process answers; asks nobody else."""
        return PlainTextResponse("ok\n", headers=_NO_STORE)

    ready = json_answer("It can take events in.", {"type": "object", "properties": {"status": {"const": "ready"}}})

    @router.get(
        "/readyz",
        operation_id="readyz",
        response_class=JSONResponse,
        responses={200: ready, **LIMITED, 503: REFUSALS[503]},
    )
    def readyz() -> JSONResponse:
        """Whether the database answers and may be written."""
        with database.read() as connection:
            received.depth(connection)
        if database.is_read_only:
            raise HTTPException(503, "the database may only be read", {"Retry-After": "5"})
        return JSONResponse({"status": "ready"}, headers=_NO_STORE)

    counted: dict[int | str, dict[str, Any]] = {
        200: {"description": "Prometheus's text format.", "content": {"text/plain": _TEXT}},
        403: {**REFUSALS[401], "description": "Not from this address: `collector.metrics_for`.", "headers": {}},
    }

    @router.get(
        "/metrics",
        operation_id="metrics",
        response_class=PlainTextResponse,
        responses={**counted, **LIMITED, 503: REFUSALS[503]},
    )
    async def metrics(request: Request) -> Response:
        """What was counted, for Prometheus."""
        if not rules.shows_metrics(request.client.host if request.client else ""):
            raise HTTPException(403, "not from this address: see `collector.metrics_for` in warmline.yaml")
        content = await run_in_threadpool(meters.text)
        return Response(content, headers={**_NO_STORE, "Content-Type": CONTENT_TYPE_LATEST})

    return router
