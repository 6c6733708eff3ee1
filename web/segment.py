"""The endpoints that the libraries of Segment and RudderStack call: change their host, and they speak to Warmline.

Decides the paths (https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/), those of browsers
too, and the settings that browser libraries ask for before they send. What a message says: models.rules.segment.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from models.rules.collector import LONGEST_KEY
from web.collector import Collector, Form, member
from web.documentation import LIMITED, REFUSALS, SECURITY, body, json_answer

FORM = Form("segment", lambda value: member(value, "writeKey", "write_key"), lambda value: member(value, "batch"))
CALLS = {
    "batch": "Several messages, each with its `type`",
    "import": "The same as /v1/batch: messages of the past",
    "track": "What somebody did",
    "identify": "Who somebody is",
    "page": "A page that somebody looked at",
    "screen": "A screen of an app that somebody looked at",
    "group": "Which company somebody belongs to",
    "alias": "Two ids that are one person",
}
SHORT = {"b": "batch", "t": "track", "i": "identify", "p": "page", "s": "screen", "g": "group", "a": "alias"}
"""As analytics.js calls them."""
BEACON = "/beacon/v1/batch"
SETTINGS, SOURCE_CONFIG = "/v1/projects/{key}/settings", "/sourceConfig"
PATHS = frozenset([f"/v1/{name}" for name in (*CALLS, *SHORT)] + [BEACON, SOURCE_CONFIG])
ALIASES = {f"/v1/{call}/": f"/v1/{call}" for call in CALLS} | {f"{SOURCE_CONFIG}/": SOURCE_CONFIG}
_TAKEN = {"success": True}
_BODY = "JSON by any Content-Type, as it is or packed with gzip; may hold `writeKey`."
_ANSWER = json_answer(
    "Kept on the disk. What is wrong with single messages is told by `warmline rejected`.",
    {"type": "object", "properties": {"success": {"const": True}}, "required": ["success"]},
)
_MESSAGES: dict[str, dict[str, Any]] = {
    "track": {"event": "Demo Requested", "properties": {"plan": "team"}},
    "identify": {"traits": {"email": "ann@acme.example", "jobTitle": "CTO"}},
    "page": {"name": "Pricing", "properties": {"url": "https://www.shop.example/pricing"}},
    "screen": {"name": "Pricing"},
    "group": {"groupId": "acme", "traits": {"name": "Acme", "employees": 120}},
    "alias": {"previousId": "device-7"},
}


def segment_routes(collector: Collector, base_url: str | None) -> APIRouter:
    """The routes. `base_url`: where browsers find us, if that is known.

    Each is answered with {"success": true} and nothing else: libraries look at the status alone.
    """
    router = APIRouter(tags=["Segment and RudderStack"])

    def add(path: str, call: str, words: str) -> None:
        async def take(request: Request) -> JSONResponse:
            await collector.take(request, FORM, {"endpoint": call})
            return JSONResponse(_TAKEN)

        router.add_api_route(path, take, methods=["POST"], **_described(path.strip("/"), words, call))

    for call, words in CALLS.items():
        add(f"/v1/{call}", call, words)
    for short, call in SHORT.items():
        add(f"/v1/{short}", call, f"The same as /v1/{call}, as analytics.js calls it")

    async def beacon(request: Request, key: Annotated[str | None, Query(alias="writeKey")] = None) -> JSONResponse:
        await collector.take(request, FORM, {"endpoint": "batch"}, key)
        return JSONResponse(_TAKEN)

    words = "The same as /v1/batch, with the key in the address: a beacon of a browser has no headers"
    router.add_api_route(BEACON, beacon, methods=["POST"], **_described(BEACON.strip("/"), words, "batch"))
    _add_settings(router, base_url)
    return router


def _described(name: str, words: str, call: str) -> dict[str, Any]:
    example = {"type": call, "messageId": "m-1", "userId": "u-7", **_MESSAGES.get(call, {})}
    if call in ("batch", "import"):
        example = {
            "batch": [{"type": kind, "messageId": kind, "userId": "u-7", **_MESSAGES[kind]} for kind in _MESSAGES]
        }
    contents = {"application/json": {call: example}}
    return {
        "operation_id": name.replace("/", "_"),
        "summary": words,
        "responses": {200: _ANSWER, **REFUSALS},
        "response_class": JSONResponse,
        "openapi_extra": {
            "security": SECURITY,
            "requestBody": body(_BODY, contents),
        },
    }


def _add_settings(router: APIRouter, base_url: str | None) -> None:
    anything = json_answer("Nothing but our own address to send to.", {"type": "object"})

    async def settings(key: Annotated[str, Path(max_length=LONGEST_KEY)], request: Request) -> JSONResponse:
        scheme, _, host = (base_url or "").rstrip("/").partition("://")
        if not host:
            scheme, host = request.scope["scheme"], request.headers.get("host", "")
        own = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": scheme}
        return JSONResponse({"integrations": {"Segment.io": own}, "metrics": {"sampleRate": 0}})

    async def source_config() -> JSONResponse:
        quiet = {"errors": {"enabled": False}, "metrics": {"enabled": False}}
        source = {"id": "warmline", "name": "warmline", "enabled": True, "config": {"statsCollection": quiet}}
        return JSONResponse({"source": {**source, "workspaceId": "warmline", "destinations": [], "connections": []}})

    router.add_api_route(
        SETTINGS,
        settings,
        operation_id="segment_settings",
        summary="What analytics.js asks for before it sends",
        responses={200: anything, **LIMITED},
        response_class=JSONResponse,
    )
    router.add_api_route(
        SOURCE_CONFIG,
        source_config,
        operation_id="rudderstack_source_config",
        summary="What RudderStack's browser library asks for before it sends",
        responses={200: anything, **LIMITED},
        response_class=JSONResponse,
    )
