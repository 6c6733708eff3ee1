"""The text part that is made of HTML."""

from __future__ import annotations

import pytest

from tasks.plaintext import preheader_of, text_of


@pytest.mark.feature("N4")
@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One\n  line</p><p>two<br>lines</p>", "One line\n\ntwo\nlines\n"),
        ('<p>See <a href="https://x.example/a">the page</a>.</p>', "See the page (https://x.example/a).\n"),
        ('<a href="https://x.example">https://x.example</a>', "https://x.example\n"),
        ('<a href="mailto:a@x.example">a@x.example</a> <a href="#top">up</a>', "a@x.example up\n"),
        ('<a href="https://x.example"><img src="l.png" alt="Logo"></a>', "Logo (https://x.example)\n"),
        ("<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>", "- a\n- b\n  - c\n"),
        ("<ol><li>a</li><li><p>b</p><p>c</p></li></ol>", "1. a\n2. b\n\n   c\n"),
        (
            "<table><tr><th>Plan</th><th>Price</th></tr><tr><td>Team</td><td>9 €</td></tr></table>",
            "Plan  Price\nTeam  9 €\n",
        ),
        (
            '<table role="presentation"><tr><td>Name</td></tr><tr><td><p>a</p><p>b</p></td></tr></table>',
            "Name\n\na\n\nb\n",
        ),
        ("<blockquote>said</blockquote><hr><pre>a\n  b</pre>", f"> said\n\n{'-' * 40}\n\na\n  b\n"),
        ('<div style="display:none">pre</div><style>x{}</style><script>x</script><!--[if mso]>o<![endif]-->a', "a\n"),
        ("a&nbsp;&amp;&lt;b&gt;", "a &<b>\n"),
        ("", "\n"),
        ("no tags", "no tags\n"),
        ("<div>" * 1000 + "deep" + "</div>" * 1000, "deep\n"),
    ],
)
def test_html_reads_well_without_html(html: str, text: str) -> None:
    assert text_of(html) == text


def test_the_preheader_is_what_is_hidden_at_the_begin() -> None:
    assert preheader_of('<body><div style="display:none;">Short &#8199;&#847; </div><p>a</p></body>') == "Short"
    assert preheader_of("<p>a</p>") == ""
