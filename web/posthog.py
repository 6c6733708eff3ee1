"""The endpoints that PostHog's libraries call: change their host, and they speak to Warmline.

Decides the paths (https://posthog.com/docs/api/capture), and answers the questions that these libraries ask besides:
there are no feature flags, surveys or recordings here. What an event says: models.rules.posthog.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import JSONResponse

from models.rules.collector import LONGEST_KEY
from web.bodies import unpacked
from web.collector import Collector, Form, member
from web.documentation import LIMITED, REFUSALS, SECURITY, body, json_answer

CAPTURES = {
    "/batch/": "Several events",
    "/i/v1/analytics/events": "The same as /batch/, in the newer protocol of the libraries (capture mode v1)",
    "/i/v0/ai/batch/": "The same as /batch/, for what is told of language models",
    "/i/v0/e/": "One event, or a list of events",
    "/e/": "The same as /i/v0/e/",
    "/capture/": "The same as /i/v0/e/",
    "/track/": "The same as /i/v0/e/",
}
FLAGS = ("/flags/", "/decide/")
CONFIG = "/array/{key}/config"
_TAKEN = {"status": 1, "results": {}}
"""`results` is looked at in capture mode v1: an event that it does not name was taken."""
_NOTHING: dict[str, Any] = {
    "flags": {},
    "featureFlags": {},
    "featureFlagPayloads": {},
    "errorsWhileComputingFlags": False,
    "supportedCompression": ["gzip", "gzip-js"],
    "config": {"enable_collect_everything": False},
    "sessionRecording": False,
    "heatmaps": False,
    "surveys": False,
    "autocapture_opt_out": True,
    "capturePerformance": False,
    "toolbarParams": {},
    "isAuthenticated": False,
    "siteApps": [],
}
"""What a project of PostHog says in which everything is turned off but events."""
_KEYS = ("api_key", "token")
_FIELD = b"data="
_ANSWER = json_answer(
    "Kept on the disk. What is wrong with single events is told by `warmline rejected`.",
    {"type": "object", "properties": {"status": {"const": 1}}, "required": ["status"]},
)
_EVENT = {"event": "$pageview", "distinct_id": "u-7", "uuid": "0192f3b0-5b7c-7a4e-9d41-7c1f0a3be001"}
_EXAMPLES = {"one": {"api_key": "wk_…", **_EVENT}, "several": {"api_key": "wk_…", "batch": [_EVENT]}}
_BODY = "JSON by any Content-Type, as it is, packed with gzip, or in Base64 as the field `data` of a form."


def _key(value: Any) -> Any:
    first = value[0] if isinstance(value, list) and value else value
    return member(first, *_KEYS) or member(member(first, "properties"), "token")


def _plain(body: bytes, most: int) -> bytes:
    """JSON that a browser sent as the field `data` of a form, as it is or in Base64."""
    if not body.startswith(_FIELD):
        return body
    value = unquote_to_bytes(body[len(_FIELD) :].partition(b"&")[0].replace(b"+", b" "))
    if value[:1] in (b"{", b"["):
        return value
    try:
        decoded = base64.b64decode(value.replace(b" ", b"+"), validate=True)
    except binascii.Error as error:
        raise HTTPException(400, "the field `data` of the form is neither JSON nor Base64") from error
    return unpacked(decoded, "", most)


FORM = Form("posthog", _key, lambda value: value if isinstance(value, list) else member(value, "batch"), _plain)
PATHS = frozenset([*CAPTURES, *FLAGS])
ALIASES = {path.rstrip("/"): path for path in PATHS}


def posthog_routes(collector: Collector) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["PostHog"])

    async def take(request: Request) -> JSONResponse:
        call = "batch" if request.scope["path"].startswith("/batch") else "capture"
        await collector.take(request, FORM, {"endpoint": call})
        return JSONResponse(_TAKEN)

    async def nothing() -> JSONResponse:
        return JSONResponse(_NOTHING)

    async def config(key: Annotated[str, Path(max_length=LONGEST_KEY)]) -> JSONResponse:
        return JSONResponse({"token": key, **_NOTHING})

    contents = {"application/json": _EXAMPLES}
    for path, words in CAPTURES.items():
        router.add_api_route(
            path,
            take,
            methods=["POST"],
            operation_id=f"posthog_{path.strip('/').replace('/', '_')}",
            summary=words,
            responses={200: _ANSWER, **REFUSALS},
            response_class=JSONResponse,
            openapi_extra={"security": SECURITY, "requestBody": body(_BODY, contents)},
        )
    none = json_answer("No flags, no recordings, no surveys: events alone.", {"type": "object"})
    quiet: dict[str, Any] = {"responses": {200: none, **LIMITED}, "response_class": JSONResponse}
    for path in FLAGS:
        router.add_api_route(
            path,
            nothing,
            methods=["POST"],
            operation_id=f"posthog_{path.strip('/')}",
            summary="Which feature flags somebody has: none",
            **quiet,
        )
    router.add_api_route(
        CONFIG, config, operation_id="posthog_config", summary="What posthog-js asks for before it sends", **quiet
    )
    return router
