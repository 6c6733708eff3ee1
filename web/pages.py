"""The pages that people see by a signed link: rendered here, without scripts, cookies or anything from elsewhere.

Decides their headers and the language that each speaks. What they say: web.texts.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from web.texts import Said, Texts, preferred

HEADERS = {
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    # The address of the page is a signed link: no other site learns it. With `no-referrer` browsers would not say where
    # our own forms come from either (Origin: null).
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
POLICY = "default-src 'none'; style-src {styles}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)


class Pages:
    """The templates of templates/pages and those of the workspace, each with the name that mail comes from."""

    def __init__(self, sender: str, language: str = "en", own: Path | None = None) -> None:
        """`language`: the workspace's. `own`: its folder pages/, whose texts and templates come before ours."""
        ours = jinja2.PackageLoader("templates", "pages")
        loaders = [ours] if own is None else [jinja2.FileSystemLoader(own), ours]
        self._templates = jinja2.Environment(
            loader=jinja2.ChoiceLoader(loaders),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._texts = Texts(own, language)
        self._sender = sender

    def texts(self, language: object = None, request: Request | None = None) -> Said:
        """The texts for a reader of `language`; where none is known, for whom the browser of the request speaks for."""
        return self._texts.of(
            language, [] if request is None else preferred(request.headers.get("accept-language", ""))
        )

    def page(self, name: str, status: int = 200, texts: Said | None = None, /, **facts: Any) -> HTMLResponse:
        """The page `name` with `facts`, in the words of `texts`, else of the workspace's language."""
        said = self.texts() if texts is None else texts

        def say(key: str, **more: object) -> str:
            return said(key, sender=self._sender, **more)

        template = self._templates.get_template(f"{name}.html.j2")
        text = template.render(say=say, language=said.language, sender=self._sender, **facts)
        styles = " ".join(f"'sha256-{_digest(style)}'" for style in _STYLE.findall(text)) or "'none'"
        policy = {"Content-Security-Policy": POLICY.format(styles=styles), "Content-Language": said.language}
        return HTMLResponse(text, status, headers=HEADERS | policy)

    def told(self, about: str, status: int, said: Said | None = None, **headers: str) -> HTMLResponse:
        """A page that only says something: `about` is its place in the texts."""
        answer = self.page("told", status, said, about=about)
        answer.headers.update(headers)
        return answer

    def invalid(self, request: Request | None = None) -> HTMLResponse:
        """The answer to a token that is none of ours: 404, whatever it was meant to open."""
        return self.told("invalid", 404, self.texts(request=request))


@lru_cache(maxsize=64)
def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
