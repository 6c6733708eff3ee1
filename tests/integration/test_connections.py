"""Connections that hold a socket without saying what they want are closed; others are not concerned."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI

from web.connections import Connection
from web.service import serving


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    app = FastAPI()

    @app.get("/")
    def answer() -> str:
        return "heard"

    usual, Connection.head_seconds = Connection.head_seconds, 0.2
    try:
        with serving(app, "127.0.0.1", 0) as url:
            yield str(urlsplit(url).hostname), int(urlsplit(url).port or 0)
    finally:
        Connection.head_seconds = usual


def until_closed(connection: socket.socket) -> bytes:
    connection.settimeout(30)
    said = b""
    while part := connection.recv(4_096):
        said += part
    return said


@pytest.mark.parametrize("spoken", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_without_an_end_is_not_waited_for(address: tuple[str, int], spoken: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(spoken)
        assert until_closed(connection) == b""


def test_the_next_request_of_a_connection_has_to_be_said_too(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in connection.recv(4_096)
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert b"HTTP" not in until_closed(connection).removeprefix(b'"heard"')


def test_nonsense_is_answered_400(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert until_closed(connection).startswith(b"HTTP/1.1 400 ")
