"""Text as mail carries it: quoted-printable bodies (RFC 2045 6.7) and encoded words in headers (RFC 2047).

Decides how each is written, at the least cost: what `email` does for headers takes as long as all the rest of a mail,
and most lines of a newsletter are those of the one before. Never decides what may stand in a header: models.rules.mail
does. Next: tasks.composition.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache

LONGEST_WORD = 75
"""RFC 2047 2: characters of one encoded word; 76 of a line that has one."""
_AROUND = len("=?utf-8?q??=")
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
"""What may stand for itself anywhere, in a display name too (RFC 2047 5 (3))."""
_LETTERS = {code: chr(code) if code in _PLAIN else f"={code:02X}" for code in range(256)} | {ord(" "): "_"}


def encoded_words(text: str, indent: int) -> str:
    """`text` in encoded words of UTF-8, each on a line of its own after the first, which begins at column `indent`.

    Q where it is the shorter one: a word or two beyond ASCII stay readable to the eye. No character is cut in two.
    """
    octets = text.encode()
    quoted = "".join([_LETTERS[octet] for octet in octets])
    is_quoted = len(quoted) <= -(-len(octets) // 3) * 4
    # So many characters of what is encoded fit: base64 makes four out of three.
    room = LONGEST_WORD - _AROUND - indent
    if is_quoted and len(quoted) <= room:
        return f"=?utf-8?q?{quoted}?="
    words, piece, length = [], "", 0
    for character in text:
        raw = character.encode()
        size = sum(len(_LETTERS[octet]) for octet in raw) if is_quoted else len(raw)
        if length + size > (room if is_quoted else room // 4 * 3):
            words.append(piece)
            piece, length, room = "", 0, LONGEST_WORD - _AROUND
        piece += character
        length += size
    return "\r\n ".join(_word(piece, is_quoted) for piece in [*words, piece] if piece)


def _word(piece: str, is_quoted: bool) -> str:
    if is_quoted:
        return f"=?utf-8?q?{''.join([_LETTERS[octet] for octet in piece.encode()])}?="
    return f"=?utf-8?b?{base64.b64encode(piece.encode()).decode()}?="


def quoted_printable(text: str) -> bytes:
    """`text` in quoted-printable UTF-8, lines ended by CRLF, the last one too, however they ended before.

    A lone CR is no line break in a mail, and a body that ended without one would run into the boundary. Each line is
    encoded for itself, so a line that was met before costs nothing.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.rstrip("\n").split("\n")
    encode = _known if max(map(len, lines)) <= LONGEST_KNOWN else _encoded
    return b"\r\n".join([*map(encode, lines), b""])


def _encoded(line: str) -> bytes:
    return binascii.b2a_qp(line.encode("utf-8", "replace"), istext=True).replace(b"\n", b"\r\n")


_known = lru_cache(maxsize=8_192)(_encoded)
LONGEST_KNOWN = 1_000
"""Characters: a text with a longer line is not remembered, or what is could grow to gigabytes."""
