"""Mail of strangers in the browser: shown, and kept from doing anything."""

from __future__ import annotations

import httpx
import pytest

from cli.sink import Received, Sink
from cli.sink_pages import serving

HOSTILE = (
    b'From: "<script>alert(1)</script>" <a@b.example>\r\nSubject: <img src=x onerror=alert(1)>\r\n'
    b"Content-Type: text/html; charset=nosuch\r\n\r\n<script>parent.document.title = 1</script><h1>hi</h1>\r\n"
)


@pytest.mark.feature("N4")
def test_the_browser_gets_the_list_and_each_mail_in_a_sandbox() -> None:
    plain = b"Subject: Hello\r\nDate: Wed, 22 Apr 2026 10:17:12 +0000\r\n\r\nplain words\r\n"
    sink = Sink("127.0.0.1", 2525, [Received("a@b.example", ("x@y.example",), content) for content in (plain, HOSTILE)])
    with serving(sink, 0) as address, httpx.Client(base_url=address) as client:
        listed = client.get("/")
        assert "Hello" in listed.text
        assert "22 Apr 2026 10:17" in listed.text
        assert "&lt;img src=x onerror=alert(1)&gt;" in listed.text
        assert 'http-equiv="refresh"' in listed.text
        mail = client.get("/mail/2").text
        assert '<iframe sandbox src="/mail/2/html"' in mail
        assert "<script>" not in mail
        html = client.get("/mail/2/html")
        assert "<h1>hi</h1>" in html.text
        assert html.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert client.get("/mail/1/text").text.strip() == "plain words"
        for view in ("raw", "headers", "text"):
            answer = client.get(f"/mail/2/{view}")
            assert answer.headers["content-type"].startswith("text/plain")
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert client.get("/mail/2/raw").content == HOSTILE
        assert [client.get(path).status_code for path in ("/mail/3", "/mail/0", "/mail/x", "/../etc/passwd")] == [
            404
        ] * 4
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
