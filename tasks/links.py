"""The links of a mail → links that lead over our own address, and what has to be written down before it leaves.

Decides which links of which pieces are taken: those that stand in a template as they are, and those made of a lead's
data whose host is trusted. What stands in a template is rewritten once; a mail's own name is put in at the very end
(tasks.composition), where models.rules.encodings.UNBROKEN holds its place. Next: the ledger writes `used` down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import NamedTuple

from markupsafe import escape

from models.rules.encodings import UNBROKEN
from models.rules.links import TRAP, NewLink, TrackingRules, destination, host_of, is_below, link_letters, link_of

CLICK_PATH, OPEN_PATH = "c", "o"
"""Of the addresses that hits come in at: `/c/MAIL/LINK` and `/o/MAIL`."""
_TAG = re.compile(r"<(?:a|area)(?=[\s/])[^<>]*>", re.IGNORECASE)
_OPEN_TAG = re.compile(r"<(?:a|area)(?=[\s/])[^<>]*\Z", re.IGNORECASE)
_ADDRESS = re.compile(r"""(?<=\s)href\s*=\s*(?:"([^"<>]*)"|'([^'<>]*)')""", re.IGNORECASE)
_UNTRACKED = re.compile(r"""\sdata-tracking\s*=\s*["']?off\b""", re.IGNORECASE)
_WORDS = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_OPEN_WORDS = re.compile(r"https?://[^\s<>\"]*\Z", re.IGNORECASE)
_ENDING = ".,;:!?'*_"
"""What may follow an address in a sentence and is no part of it."""
_OPENING = {")": "(", "]": "["}
_Span = tuple[int, int]
EVERYTHING: tuple[_Span, ...] = ((0, 1 << 30),)
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
MOST_PARTED = 1_000
"""Pieces whose parts are remembered."""
LONGEST_LINK = 60
"""Pieces that one link may be written in."""


class _Cut(NamedTuple):
    """A piece with its links rewritten. `open`: its end, where a link begins that other pieces finish."""

    text: str
    links: tuple[NewLink, ...]
    """Those of them that are not surely written down."""
    open: str
    is_changed: bool


@dataclass(frozen=True)
class _Grammar:
    """How links stand in HTML, or in text."""

    links: re.Pattern[str]
    open: re.Pattern[str]
    """A link that the end of a piece cuts off."""
    end: re.Pattern[str]
    """Where a link that was cut off ends: before what matches, or after it where it is a part of it."""
    sign: str
    """Without it there is none."""
    is_html: bool


_HTML = _Grammar(_TAG, _OPEN_TAG, re.compile(">"), "<", is_html=True)
_TEXT = _Grammar(_WORDS, _OPEN_WORDS, re.compile(r"[\s<>\"]"), "://", is_html=False)


class Tracker:
    """Rewrites the links of mails for one sender; what it has met in templates it remembers."""

    def __init__(self, rules: TrackingRules, base_url: str, secret: bytes, sender_domain: str) -> None:
        """`secret`: of the workspace, names links. `sender_domain`: whose hosts are trusted."""
        self.rules = rules
        self.base = base_url.rstrip("/")
        self._secret = secret
        self._trusted = (sender_domain, *rules.domains)
        self._cuts: dict[bool, dict[str, _Cut]] = {True: {}, False: {}}
        self._parted: dict[bool, dict[str, tuple[str, str]]] = {True: {}, False: {}}
        self._ends: dict[str, tuple[str, str] | None] = {}
        self._known: set[bytes] = set()
        self._trap = link_of(secret, TRAP)
        trap, picture = self.address(self._trap.key), f"{self.base}/{OPEN_PATH}/{UNBROKEN}"
        hidden = "display:none;max-height:0;overflow:hidden;mso-hide:all"
        unseen = f'<a href="{escape(trap)}" style="{hidden}" tabindex="-1" aria-hidden="true" rel="nofollow"></a>\n'
        traps = unseen if rules.honeypot and rules.clicks else ""
        seen = f'<img src="{escape(picture)}" width="1" height="1" alt="" style="border:0">\n'
        self._ending = {False: traps, True: f"{traps}{seen}"}

    def address(self, key: bytes) -> str:
        """The address of a link in a mail, UNBROKEN where the mail's name is to stand."""
        return f"{self.base}/{CLICK_PATH}/{UNBROKEN}/{link_letters(key)}"

    def mail(self, lead_id: int | None, *, with_picture: bool = False) -> Tracked:
        """What rewrites the next mail, to this lead."""
        return Tracked(self, lead_id, with_picture and self.rules.opens == "consented")

    def unknown(self, links: Iterable[NewLink]) -> tuple[NewLink, ...]:
        """Those that are not surely written down."""
        known = self._known
        return tuple([one for one in links if one.key not in known])

    def written(self, links: Iterable[NewLink]) -> None:
        """These are committed. Those of one lead are forgotten: nobody asks for them again."""
        before = len(self._known)
        self._known.update(one.key for one in links if one.lead_id is None)
        if len(self._known) > before:
            for cuts in self._cuts.values():
                for piece, cut in cuts.items():
                    cuts[piece] = cut._replace(links=self.unknown(cut.links))

    def known(self, grammar: _Grammar) -> dict[str, _Cut]:
        """The pieces of templates that were met."""
        return self._cuts[grammar.is_html]

    def constant(self, piece: str, grammar: _Grammar) -> _Cut:
        """A piece of a template, whose links are its author's."""
        found = self._cuts[grammar.is_html][piece] = self.cut(piece, (), None, grammar)
        return found

    def cut(self, piece: str, foreign: Sequence[_Span], lead_id: int | None, grammar: _Grammar) -> _Cut:
        """A piece with its links rewritten. `foreign`: nothing of it, or EVERYTHING."""
        links: list[NewLink] = []
        unfinished = grammar.open.search(piece)
        whole = piece if unfinished is None else piece[: unfinished.start()]
        text = grammar.links.sub(lambda found: self.rewritten(found[0], foreign, lead_id, links, grammar), whole)
        return _Cut(text, self.unknown(links), "" if unfinished is None else unfinished[0], bool(links))

    def parted(self, piece: str, grammar: _Grammar) -> tuple[str, str] | None:
        """A piece in two, where a link ends that another piece began; None if it does not end there."""
        known = self._parted[grammar.is_html]
        if (parts := known.get(piece)) is not None:  # the same objects each time: models.rules.encodings knows them
            return parts
        found = grammar.end.search(piece)
        if found is None:
            return None
        if len(known) > MOST_PARTED:
            known.clear()
        place = found.end() if grammar.is_html else found.start()
        parts = known[piece] = piece[:place], piece[place:]
        return parts

    def rewritten(
        self, link: str, foreign: Sequence[_Span], lead_id: int | None, links: list[NewLink], grammar: _Grammar
    ) -> str:
        """A whole link, of which `foreign` is none of the template's, rewritten; or as it is.

        What it leads to is added to `links`.
        """
        begin, end = self._place(link, grammar)
        if begin == end:
            return link
        address = link[begin:end]
        own = min((max(start, begin) for start, stop in foreign if start < end and stop > begin), default=end) - begin
        new = self._led_over(unescape(address) if grammar.is_html else address, own, own == end - begin, lead_id, links)
        if new is None:
            return link
        return f"{link[:begin]}{escape(new) if grammar.is_html else new}{link[end:]}"

    def _place(self, link: str, grammar: _Grammar) -> _Span:
        """Where the address stands in a link; an empty place where there is none to be rewritten."""
        if grammar.is_html:
            found = _ADDRESS.search(link)
            if found is None or _UNTRACKED.search(link):
                return 0, 0
            return found.span(1 if found[1] is not None else 2)
        words = link.rstrip(_ENDING)
        while words[-1:] in _OPENING and words.count(words[-1]) > words.count(_OPENING[words[-1]]):
            words = words[:-1].rstrip(_ENDING)
        return 0, len(words)

    def _led_over(self, url: str, own: int, is_whole: bool, lead_id: int | None, links: list[NewLink]) -> str | None:
        """The address in place of `url`, of which the first `own` characters are the template's (`is_whole`: all); None
        if it stays as it is."""
        url = url.strip()
        if url.startswith(self.base) or (host := host_of(url)) is None or is_below(host, self.rules.untouched):
            return None
        origin = url.find("/", url.find("//") + 2) + 1
        if not is_whole and not 0 < origin <= own and not is_below(host, self._trusted):
            return None
        if (leads_to := destination(url)) is None:
            return None
        link = link_of(self._secret, leads_to, None if is_whole else lead_id)
        links.append(link)
        return self.address(link.key)

    def ending(self, pieces: Sequence[str]) -> tuple[int, tuple[str, str]] | None:
        """The last piece in which the body ends: its place, and what stands before and after; None without."""
        for place in range(len(pieces) - 1, -1, -1):
            piece = pieces[place]
            if "</" not in piece:
                continue
            if piece not in self._ends:
                if len(self._ends) > MOST_PARTED:
                    self._ends.clear()
                begins = [found.start() for found in _BODY_END.finditer(piece)]
                self._ends[piece] = (piece[: begins[-1]], piece[begins[-1] :]) if begins else None
            if (parts := self._ends[piece]) is not None:
                return place, parts
        return None

    def unseen(self, with_picture: bool) -> tuple[str, tuple[NewLink, ...]]:
        """What stands at the end of each mail, invisible, and its links."""
        return self._ending[with_picture], (self._trap,) if self.rules.honeypot and self.rules.clicks else ()


@dataclass
class Tracked:
    """One mail's links: tasks.rendering hands its pieces through here."""

    tracker: Tracker
    lead_id: int | None
    with_picture: bool
    new: dict[bytes, NewLink] = field(default_factory=dict)
    """What has to be written down before the mail leaves."""
    is_changed: bool = False
    """Whether anything of ours is in the mail."""

    def html(self, pieces: list[str], constants: frozenset[str]) -> list[str]:
        """The HTML, of whose pieces `constants` are the template's own."""
        made = self._rewritten(pieces, constants, _HTML) if self.tracker.rules.clicks else pieces
        words, links = self.tracker.unseen(self.with_picture)
        if not words:
            return made
        self._use(links)
        found = self.tracker.ending(made)
        if found is None:
            return [*made, words]
        place, (before, after) = found
        return [*made[:place], before, words, after, *made[place + 1 :]]

    def text(self, pieces: list[str], constants: frozenset[str]) -> list[str]:
        """The same for a text part of its own; one that is made of the HTML has these links already."""
        return self._rewritten(pieces, constants, _TEXT) if self.tracker.rules.clicks else pieces

    def _use(self, links: Iterable[NewLink]) -> None:
        self.is_changed = True
        self.new.update((one.key, one) for one in self.tracker.unknown(links))

    def _rewritten(self, pieces: list[str], constants: frozenset[str], grammar: _Grammar) -> list[str]:
        out: list[str] = []
        begun: list[tuple[str, bool]] = []
        """Of a link that is not finished: its pieces, and whether each is the template's."""
        known = self.tracker.known(grammar)
        for piece in pieces:
            cut = known.get(piece)
            if begun:
                parts = self.tracker.parted(piece, grammar)
                is_constant = cut is not None or piece in constants
                if parts is None and len(begun) < LONGEST_LINK:
                    begun.append((piece, is_constant))
                    continue
                if parts is not None:
                    begun.append((parts[0], is_constant))
                    piece = parts[1]
                    cut = known.get(piece)
                out.append(self._finished(begun, grammar))
                begun = []
                if cut is None and is_constant:
                    cut = self.tracker.constant(piece, grammar)
            if cut is None:
                if piece in constants:
                    cut = self.tracker.constant(piece, grammar)
                elif grammar.sign not in piece or piece.startswith(self.tracker.base):
                    out.append(piece)
                    continue
                else:
                    cut = self.tracker.cut(piece, EVERYTHING, self.lead_id, grammar)
            out.append(cut.text)
            if cut.is_changed:
                self.is_changed = True
                if cut.links:
                    self._use(cut.links)
            if cut.open:
                begun = [(cut.open, piece in known)]
        return [*out, self._finished(begun, grammar)] if begun else out

    def _finished(self, begun: Sequence[tuple[str, bool]], grammar: _Grammar) -> str:
        link = "".join([piece for piece, _ in begun])
        if len(begun) > 1 and begun[1][0].startswith(self.tracker.base):  # to unsubscribe, to the preferences
            return link
        place, foreign = 0, list[_Span]()
        for piece, is_constant in begun:
            if not is_constant:
                foreign.append((place, place + len(piece)))
            place += len(piece)
        links: list[NewLink] = []
        made = self.tracker.rewritten(link, foreign, self.lead_id, links, grammar)
        if links:
            self._use(links)
        return made
