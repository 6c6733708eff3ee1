"""A request's body that is a form, as browsers send them, taken apart.

Decides nothing about what it says. Takes any bytes; what is no form is a RecordError.
"""

from __future__ import annotations

from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import parse_qs

from models.rules.records import RecordError

MOST_FIELDS = 500
_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


def is_form(content_type: str) -> bool:
    """Whether the header says that the body is a form."""
    return content_type.partition(";")[0].strip().lower() in (_URLENCODED, _MULTIPART)


def form_fields(body: bytes, content_type: str) -> dict[str, list[str]]:
    """The fields of a form, each with its values in their order; files are left out. RecordError if it is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _URLENCODED:
        try:
            return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        except ValueError as error:
            raise RecordError(f"body: no form: {error}") from error
    if kind == _MULTIPART:
        return _multipart(body, content_type)
    raise RecordError("body: found neither JSON nor a form")


def _multipart(body: bytes, content_type: str) -> dict[str, list[str]]:
    head = f"Content-Type: {' '.join(content_type.split())}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    found: dict[str, list[str]] = {}
    parts = list(message.iter_parts()) if message.is_multipart() else []
    if len(parts) > MOST_FIELDS:
        raise RecordError(f"body: a form of {len(parts)} fields; allowed: {MOST_FIELDS}")
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and part.get_filename() is None:
            content = part.get_payload(decode=True)
            found.setdefault(name, []).append(content.decode("utf-8", "replace") if isinstance(content, bytes) else "")
    return found
