"""Bodies of strangers: JSON as clients write it, and packings that must not cost more than they may."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import zlib
from typing import Any

import orjson
import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from models.rules.bodies import NotJsonError, TooDeepError, read_json
from web.bodies import MEMBERS, unpacked

MOST = 10_000


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'{"a": NaN, "b": [Infinity, -Infinity]}', {"a": None, "b": [None, None]}),
        (b'{"a": 1e999}', {"a": None}),
        (b'{"a": 123456789012345678901234567890}', {"a": 1.2345678901234568e29}),
        (b'{"a": NaN, "b": 99999999999999999999}', {"a": None, "b": 1e20}),
        (b"1" * 5_000, None),
        (rb'{"a": "cut \ud83d"}', {"a": "cut \ufffd"}),
        (rb'{"\udc00": 1}', {"\ufffd": 1}),
        (b"\xef\xbb\xbf{}", {}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b'{"a": "caf\xe9"}', {"a": "caf\ufffd"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (rb'{"a": "\u0000"}', {"a": "\x00"}),
        (b" [] ", []),
    ],
)
def test_what_clients_write_is_read(content: bytes, value: Any) -> None:
    assert read_json(content) == value


@pytest.mark.parametrize("content", [b"", b"  ", b"{", b"{'a': 1}", b"a=1", b"\xff\xff\xff\xff", b"\x00\x00{", b"<a/>"])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(NotJsonError) as refused:
        read_json(content)
    assert not isinstance(refused.value, TooDeepError)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[" * 2_000 + b"]" * 2_000, b'{"a":NaN,"b":' + b"[" * 2_000])
def test_a_nest_without_end_is_refused(content: bytes) -> None:
    with pytest.raises(TooDeepError):
        read_json(content)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON)
def test_whatever_python_writes_is_read_and_can_be_written_again(value: Any) -> None:
    read = read_json(json.dumps(value).encode())
    assert orjson.loads(orjson.dumps(read)) == read
    if isinstance(value, float) and math.isfinite(value):
        assert read == value


@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(NotJsonError):
        orjson.dumps(read_json(content))


def test_packed_bodies_are_unpacked() -> None:
    plain = b'{"a": 1}'
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    assert unpacked(gzip.compress(plain), "gzip", MOST) == plain
    assert unpacked(gzip.compress(plain), "", MOST) == plain, "some clients do not say that they pack"
    assert unpacked(plain, "gzip", MOST) == plain, "some proxies unpack and leave the header"
    assert unpacked(gzip.compress(b'{"a"') + gzip.compress(b": 1}"), "x-gzip", MOST) == plain
    assert unpacked(zlib.compress(plain), "deflate", MOST) == plain
    assert unpacked(raw.compress(plain) + raw.flush(), "Deflate", MOST) == plain
    assert unpacked(gzip.compress(b"x" * MOST), "gzip", MOST) == b"x" * MOST


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (gzip.compress(b"0" * 10_000_000, mtime=0), "gzip", 413),
        (gzip.compress(b"x" * (MOST + 1), mtime=0), "gzip", 413),
        (gzip.compress(b"", mtime=0) * (MEMBERS + 1), "gzip", 413),
        (gzip.compress(b"", mtime=0) * 250_000, "gzip", 413),
        (zlib.compress(b"0" * 10_000_000), "deflate", 413),
        (b"x" * (MOST + 1), "", 413),
        (gzip.compress(b"{}", mtime=0)[:-4], "gzip", 400),
        (b"\x1f\x8bnothing", "gzip", 400),
        (b"nothing", "deflate", 400),
        (b"{}", "br", 415),
        (b"{}", "gzip, gzip", 415),
        (b"{}", "\r\nX-Evil: 1", 415),
    ],
)
def test_a_packing_that_is_a_trap_is_refused(body: bytes, coding: str, status: int) -> None:
    with pytest.raises(HTTPException) as refused:
        unpacked(body, coding, MOST)
    assert refused.value.status_code == status
    assert "\n" not in refused.value.detail
