"""Model files as a tired or hostile hand might leave them: mutations of sound ones, each named by its seed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from models.documents import Document

ROOT = Path(__file__).parents[1]
SCALARS = (
    *(
        "",
        " ",
        "~",
        "null",
        "true",
        "no",
        "-",
        "?",
        ":",
        "[",
        "]",
        "{",
        "}",
        "{}",
        "[]",
        "[[]]",
        "{a: {}}",
        "*a",
        "&a b",
    ),
    *(".inf", "-.inf", ".nan", "1e999", "-0", "-0.0", "0", "1", "-1", "0x1F", "0o17", "1_000", "1e5", "1" + "0" * 30),
    *("9" * 400, "1" * 5000, "0.00000001", "1000000001", "2026-01-01", "0001-01-01", "9999-12-31T23:59:59Z", "30d"),
    *("0d", "36525d", "99999d", "1d 12h", "1.5h", "none", "below", "lead", "account", "page_view", "שלום", "\u202eabc"),
    *(
        "'",
        '"',
        "|",
        ">",
        "#",
        "!!binary aGk=",
        "!!python/object:os.system x",
        "!!set {a}",
        "%",
        "@",
        "`",
        "\\",
        "(a+)+$",
    ),
    *("'(?<=a+)b'", "'[[:alpha:]'", "'\\p{Greek}'", "'(?P<n>a)(?P<n>b)'", "{is: missing}", "{from: 5, below: 2}"),
)
NOISE = "\t\x00\ufeff\u202e\u2028\x85\x7f\ud7ff😀:-#[]{},&*!|>'\"%@`\n\r "
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2.5, -0.0, 10**30, -(10**30), 10**400, 1e308, 5e-324, float("inf"), float("nan")),
    *(
        "",
        " ",
        "x",
        "none",
        "below",
        "30d",
        "1d 12h",
        "0.000001s",
        "36525d",
        "2026-01-01",
        "0001-01-01",
        "\ud800x",
        "ß\u202e",
    ),
    *([], {}, [[]], [None], [1, "1", 1.0], {"": 1}, {"a": {}}, {"any": []}, {"not": {"a": 1}}, {"is": "missing"}),
    *({"2": 3, "02": 5}, {"of": "fit", "A": 1, "B": "below"}, {"7d": 1, "1w": 2}, {"from": 1, "to": 10**30}),
)


def texts() -> list[str]:
    """The scoring models that are shipped, and the example of the documentation."""
    found = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "playbooks").glob("*/scoring.yaml"))]
    example = (ROOT / "docs" / "scoring.md").read_text(encoding="utf-8")
    return [*found, example.partition("```yaml\n")[2].partition("```")[0]]


def mutated(r: Random, bases: list[str]) -> bytes:
    """One of the texts with one to three mutations, of its text or of its tree."""
    text = r.choice(bases)
    if r.random() < 0.5:
        data = Document.parse(text, "base.yaml").data
        for _ in range(r.choice((1, 1, 2, 3))):
            _tree(r, data)
        text = json.dumps(data, indent=1, ensure_ascii=False)
    else:
        for _ in range(r.choice((1, 1, 2, 3))):
            text = r.choice(TEXTUAL)(r, text)
    encoded = text.encode("utf-8", "surrogatepass")
    if r.random() < 0.05:
        encoded = r.choice(BINARY)(r, encoded)
    return encoded


def _lines(change: Callable[[Random, list[str], int], None]) -> Callable[[Random, str], str]:
    def textual(r: Random, text: str) -> str:
        lines = text.split("\n")
        change(r, lines, r.randrange(len(lines)))
        return "\n".join(lines)

    return textual


def _swap(r: Random, lines: list[str], at: int) -> None:
    other = r.randrange(len(lines))
    lines[at], lines[other] = lines[other], lines[at]


def _indent(r: Random, lines: list[str], at: int) -> None:
    lines[at] = r.choice(("  ", "\t", " ", "", "- ")) + lines[at].lstrip() if r.random() < 0.5 else "  " + lines[at]


def _value(r: Random, lines: list[str], at: int) -> None:
    """Another value after a colon of the line."""
    parts = lines[at].split(": ")
    if len(parts) > 1:
        place = r.randrange(1, len(parts))
        end = min((i for i in map(parts[place].find, ",}]") if i >= 0), default=len(parts[place]))
        parts[place] = r.choice(SCALARS) + parts[place][end:]
    lines[at] = ": ".join(parts)


def _characters(r: Random, text: str) -> str:
    at = r.randrange(len(text))
    return r.choice(
        (
            text[:at] + r.choice(NOISE) + text[at:],
            text[:at] + text[at + 1 :],
            text[:at] + r.choice(NOISE) + text[at + 1 :],
        )
    )


def _word(r: Random, text: str) -> str:
    words = text.split(" ")
    words[r.randrange(len(words))] = r.choice((r.choice(words), r.choice(SCALARS), ""))
    return " ".join(words)


TEXTUAL: tuple[Callable[[Random, str], str], ...] = (
    _lines(lambda r, lines, at: lines.pop(at) and None),
    _lines(lambda r, lines, at: lines.insert(at, lines[at])),
    _lines(lambda r, lines, at: lines.insert(at, r.choice(SCALARS))),
    _lines(_swap),
    _lines(_indent),
    _lines(_value),
    _lines(_value),
    _lines(_value),
    _characters,
    _characters,
    _word,
    lambda r, text: text[: r.randrange(len(text))],
    lambda r, text: text.replace("\n", "\r\n"),
    lambda r, text: "\ufeff" + text,
    lambda r, text: text + "\n---\n" + text[:50],
)
BINARY: tuple[Callable[[Random, bytes], bytes], ...] = (
    lambda r, raw: r.randbytes(200),
    lambda r, raw: raw[: len(raw) // 2] + b"\xff\xfe" + raw[len(raw) // 2 :],
    lambda r, raw: raw.decode("utf-8", "replace").encode("utf-16"),
)


def _places(node: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [place] if place else []
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        found += _places(value, (*place, key))
    return found


def _tree(r: Random, data: dict[str, Any]) -> None:
    places = _places(data)
    if not places:
        return
    *outer, key = r.choice(places)
    node: Any = data
    for part in outer:
        node = node[part]
    kind = r.random()
    if kind < 0.55:
        node[key] = r.choice(JUNK) if r.random() < 0.7 else copy.deepcopy(_at(data, r.choice(places)))
    elif kind < 0.7:
        del node[key]
    elif isinstance(node, dict):
        keys = [str(place[-1]) for place in places]
        node[r.choice((r.choice(keys), f"{key}x", str(key)[:-1], str(key).upper()))] = node.pop(key)
    else:
        node.insert(key, copy.deepcopy(node[key]))


def _at(data: Any, place: tuple[Any, ...]) -> Any:
    for part in place:
        data = data[part]
    return data
