"""The pages that people see by a signed link: rendered here, without scripts, cookies or anything from elsewhere."""

from __future__ import annotations

from typing import Any

import jinja2
from fastapi.responses import HTMLResponse

HEADERS = {
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "Referrer-Policy": "no-referrer",  # the address of the page is a signed link
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Pages:
    """The templates of templates/pages, each with `sender`, the name that mail comes from."""

    def __init__(self, sender: str) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("templates", "pages"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._sender = sender

    def page(self, name: str, status: int = 200, **facts: Any) -> HTMLResponse:
        """The page `name` with `facts`."""
        text = self._templates.get_template(f"{name}.html.j2").render(sender=self._sender, **facts)
        return HTMLResponse(text, status, headers=HEADERS)

    def invalid(self) -> HTMLResponse:
        """The answer to a token that is none of ours: 404, whatever it was meant to open."""
        return self.page("invalid", 404)
