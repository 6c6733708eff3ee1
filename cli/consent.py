"""`warmline consent`: what a lead or an address allowed us to write about, since when, and the proof of it."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import session
from models.errors import UsageError

if TYPE_CHECKING:
    from models.queries.consents import Word
    from models.rules.consent import Standing
    from models.workspace import Workspace


def consent(
    who: Annotated[str, typer.Argument(metavar="LEAD|ADDRESS", help="A lead's id, an e-mail address, an identity.")],
    grant: Annotated[str | None, typer.Option(help="Write down that this topic was granted, beside --because.")] = None,
    withdraw: Annotated[
        str | None, typer.Option(help="Write down that this topic (or `*`: everything) was withdrawn.")
    ] = None,
    because: Annotated[str, typer.Option(help="How we know: `asked by phone on 3 March`.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """The whole consent record of LEAD or ADDRESS: where it stands with each topic, and every word with its evidence.

    `--grant` takes back what the person itself had asked for (unsubscribed); what a bounce or a complaint says stays.
    """
    from models.queries import consents
    from models.rules.tokens import suppression_digest

    workspace = session.workspace()
    addresses = _addresses(workspace, who)
    if grant is not None or withdraw is not None:
        _write(workspace, addresses, grant, withdraw, because)
    now = time.time_ns() // 1000
    digests = {address: suppression_digest(workspace.secret_key, address) for address in addresses}
    with workspace.database.read() as connection:
        words = {address: consents.words(connection, [digest]) for address, digest in digests.items()}
    standings = {address: _standings(workspace, said, now) for address, said in words.items()}
    suppressed = _suppressed(workspace, digests)
    if as_json:
        _print_json(words, standings, suppressed)
        return
    for address, said in words.items():
        _print(workspace, address, said, standings[address], suppressed[address])


def _addresses(workspace: Workspace, who: str) -> list[str]:
    """The addresses that are meant: of the lead, or the one given, known or not."""
    from models.queries import consents, explanations
    from models.rules.mail import Refused, address

    with workspace.database.read() as connection:
        found = consents.addresses(connection, explanations.find(connection, who))
    if found:
        return found
    if isinstance(read := address(who), Refused):
        raise UsageError(f"nobody is called {who!r}, and it is no e-mail address; give an id or an address of a lead")
    return [read.text]


def _standings(workspace: Workspace, words: list[Word], now: int) -> dict[str, Standing]:
    from models.rules.consent import EVERYTHING, Said, standing

    rules = workspace.settings.consent
    history = [Said(word.topic, word.state, word.at) for word in words]
    topics = dict.fromkeys([*rules.topics, *(word.topic for word in words if word.topic != EVERYTHING)])
    return {topic: standing(history, topic, rules, now) for topic in topics}


def _suppressed(workspace: Workspace, digests: dict[str, bytes]) -> dict[str, str | None]:
    from models.queries import suppressions

    with workspace.database.read() as connection:
        return {address: suppressions.reason(connection, digest) for address, digest in digests.items()}


def _write(workspace: Workspace, addresses: list[str], grant: str | None, withdraw: str | None, because: str) -> None:
    from models.queries import wishes
    from models.queries.wishes import Wish
    from models.rules.consent import EVERYTHING, OPENS
    from models.rules.tokens import suppression_digest

    if not because.strip():
        raise UsageError("--because: missing; say how we know, so that the record is evidence")
    said = [(topic, state) for topic, state in ((grant, "granted"), (withdraw, "withdrawn")) if topic is not None]
    if grant is not None and grant == withdraw:
        raise UsageError(f"--grant and --withdraw: found {grant!r} in both; give one of them")
    for topic, state in said:
        mistake = "" if topic == OPENS else workspace.settings.consent.mistake(topic)
        if mistake and not (state == "withdrawn" and topic == EVERYTHING):
            raise UsageError(f"--{'grant' if state == 'granted' else 'withdraw'}: {mistake}")
    evidence = {"source": "command", "by": getpass.getuser(), "because": because}
    with workspace.database.write(durable=True) as connection:
        for address in addresses:
            digest = suppression_digest(workspace.secret_key, address)
            wish = Wish(digest, None, time.time_ns() // 1000, evidence)
            wishes.take_down(connection, workspace.secret_key, wish, address, said)


def _print(
    workspace: Workspace, address: str, words: list[Word], standings: dict[str, Standing], suppressed: str | None
) -> None:
    from rich.table import Table
    from rich.text import Text

    from models.rules.consent import refusal

    rules = workspace.settings.consent
    session.out.print(Text(address, "bold"))
    if suppressed is not None:
        session.print_hanging(f"  suppressed: {suppressed}; no nurture mail whatever is granted", "yellow", 4)
    for topic, standing in standings.items():
        since = "" if standing.since is None else f" since {_day(standing.since)}"
        stands = "nothing was said" if standing.stands == "nothing" else f"{standing.stands}{since}"
        may = f"; we may not write: {why}" if (why := refusal(standing, topic, rules)) else "; we may write"
        session.print_hanging(f"  {topic}: {stands}{'' if suppressed is not None else may}", by=4)
    if not words:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("when", "topic", "said", "evidence"):
        table.add_column(title, overflow="fold", no_wrap=title == "when")
    for word in words:
        told = " · ".join(f"{name}: {value}" for name, value in word.evidence.items())
        table.add_row(*(Text(_printable(cell)) for cell in (_day(word.at), word.topic, word.state, told)))
    session.out.print(table)


def _day(at: int) -> str:
    from models.rules.instants import instant

    return instant(at).strftime("%Y-%m-%d %H:%M")


def _printable(value: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in value)


def _print_json(
    words: dict[str, list[Word]], standings: dict[str, dict[str, Standing]], suppressed: dict[str, str | None]
) -> None:
    import orjson

    from models.rules.instants import instant

    def said(word: Word) -> dict[str, Any]:
        return {
            "topic": word.topic,
            "state": word.state,
            "at": instant(word.at).isoformat(),
            "recorded_at": instant(word.recorded_at).isoformat(),
            "lead_id": word.lead_id,
            "evidence": dict(word.evidence),
        }

    found = [
        {
            "address": address,
            "suppressed": suppressed[address],
            "topics": {
                topic: {"stands": one.stands, "since": None if one.since is None else instant(one.since).isoformat()}
                for topic, one in standings[address].items()
            },
            "history": [said(word) for word in record],
        }
        for address, record in words.items()
    ]
    print(orjson.dumps({"addresses": found}).decode())
