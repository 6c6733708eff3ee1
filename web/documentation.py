"""What the OpenAPI document says of the collector: bodies, answers, keys. A test holds the answers to the document.

Bodies are described by examples and not by a type: any JSON is answered 200, and what is wrong with an event is told
where somebody can mend it (`warmline rejected`).
"""

from __future__ import annotations

from typing import Any

SCHEMES = {
    "writeKey": {
        "type": "http",
        "scheme": "basic",
        "description": "The write key (`warmline keys add SOURCE`) as user name, no password.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "The write key as a token."},
}
SECURITY: list[dict[str, list[str]]] = [{"writeKey": []}, {"bearer": []}]
_DETAIL = {
    "type": "object",
    "properties": {"detail": {"type": "string", "description": "What is wrong, for people."}},
    "required": ["detail"],
}
_RETRY = {"Retry-After": {"description": "Seconds until it may be sent again.", "schema": {"type": "integer"}}}


def _refusal(words: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"description": words, "content": {"application/json": {"schema": _DETAIL}}}
    return {**told, "headers": headers} if headers else told


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: _refusal("No JSON at all, or a body that is cut off. Sent again, it would be refused again."),
    401: _refusal(
        "No write key, or none that lets in.",
        {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}},
    ),
    408: _refusal("The body took too long to come in."),
    413: _refusal("Larger, or more events, or nested deeper than is allowed: split it."),
    415: _refusal("Packed in a way that is unknown here."),
    429: _refusal("Too much at once. Nothing of it was kept: send it again.", _RETRY),
    503: _refusal("The database cannot be written. Nothing of it was kept: send it again.", _RETRY),
}
LIMITED: dict[int | str, dict[str, Any]] = {429: REFUSALS[429]}


def body(words: str, contents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The `requestBody` of an operation: content type → examples by name."""
    described = {
        kind: {
            "schema": {"description": "Any JSON."},
            "examples": {name: {"value": example} for name, example in examples.items()},
        }
        for kind, examples in contents.items()
    }
    return {"description": words, "required": True, "content": described}


def json_answer(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    """An answer with a JSON body."""
    return {"description": words, "content": {"application/json": {"schema": schema}}}
