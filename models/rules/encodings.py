"""Text as mail carries it: quoted-printable bodies (RFC 2045 6.7) and encoded words in headers (RFC 2047).

Decides how each is written, at the least cost: what `email` does for headers takes as long as all the rest of a mail,
and most lines of a newsletter are those of the one before. Never decides what may stand in a header: models.rules.mail
does. Next: tasks.composition.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
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


UNBROKEN = "QXJZ" * 12
"""Holds the place of as many other letters and digits: no soft line break is made within it, so that they can be put in
when everything is encoded, and what was encoded once serves for every mail (models.rules.links.mail_token). Of few and
rare letters, so that a search for it skips nearly everything."""
_BROKEN = re.compile(b"(?:=\r\n)?".join(re.escape(bytes([letter])) for letter in UNBROKEN.encode()))
_ON_A_LINE = b"=\r\n%b=\r\n" % UNBROKEN.encode()


@dataclass(frozen=True, slots=True)
class Encoded:
    """Complete lines of a body, each with its CRLF, and the same lines as DKIM's relaxed form has them."""

    octets: bytes
    canonical: bytes

    def with_name(self, name: bytes) -> Encoded:
        """The same with `name`, which is as long, wherever UNBROKEN stands."""
        octets = self.octets.replace(UNBROKEN.encode(), name)
        is_relaxed = self.canonical is self.octets or self.canonical == self.octets
        return Encoded(octets, octets if is_relaxed else self.canonical.replace(UNBROKEN.encode(), name))


def quoted_printable(text: str | Sequence[str]) -> Encoded:
    """A text, whole or in pieces, in quoted-printable UTF-8, lines ended by CRLF, the last one too, however they ended.

    A lone CR is no line break in a mail, and a body that ended without one would run into the boundary. Each line is
    encoded for itself, so a line that was met before costs nothing, nor does a piece that was: those that stand in a
    template as they are come with every mail.
    """
    pieces = [text] if isinstance(text, str) else text
    if any("\r" in piece for piece in pieces):
        pieces = ["".join(pieces).replace("\r\n", "\n").replace("\r", "\n")]
    made: list[Encoded] = []
    begun: list[str] = []
    for piece in pieces:
        if "\n" in piece:
            first, between, begin = _known_piece(piece) if len(piece) <= LONGEST_KNOWN_PIECE else _piece(piece)
            made += (_line("".join([*begun, first])), between)
            begun = [begin]
        else:
            begun.append(piece)
    made.append(_line("".join(begun)))
    octets = b"".join([one.octets for one in made]).rstrip(b"\r\n") + b"\r\n"
    canonical = b"".join([one.canonical for one in made]).rstrip(b"\r\n") + b"\r\n"
    return Encoded(octets, canonical)


def _piece(piece: str) -> tuple[str, Encoded, str]:
    """The end of the line before, the complete lines, the begin of the next one."""
    first, *between, begin = str.split(piece, "\n")  # not the method of a Markup: its parts would escape what they meet
    lines = [_line(line) for line in between]
    octets, canonical = b"".join([one.octets for one in lines]), b"".join([one.canonical for one in lines])
    return first, Encoded(octets, octets if octets == canonical else canonical), begin


def _line(line: str) -> Encoded:
    return _known_line(line) if len(line) <= LONGEST_KNOWN else _encoded(line)


def _encoded(line: str) -> Encoded:
    octets = binascii.b2a_qp(line.encode("utf-8", "replace"), istext=True).replace(b"\n", b"\r\n") + b"\r\n"
    if UNBROKEN in line:  # a line of its own where it was broken: no line grows longer by that
        octets = _BROKEN.sub(lambda found: found[0] if len(found[0]) == len(UNBROKEN) else _ON_A_LINE, octets)
    # No line ends in white space (it is encoded there), so the relaxed form (RFC 6376 3.4.4) only joins runs of it.
    canonical = _SPACES.sub(b" ", octets) if b"  " in octets or b"\t" in octets else octets
    return Encoded(octets, canonical)


_SPACES = re.compile(rb"[ \t]+")
_known_line = lru_cache(maxsize=8_192)(_encoded)
LONGEST_KNOWN = 1_000
"""Characters: a longer line is not remembered, or what is could grow to gigabytes."""
_known_piece = lru_cache(maxsize=256)(_piece)
LONGEST_KNOWN_PIECE = 50_000
"""Characters of a piece that is remembered."""
