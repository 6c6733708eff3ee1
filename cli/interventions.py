"""`warmline messages retry | resolve | cancel | reconcile | trail`: what a person does about single messages or many.

Decides which messages are meant and how the outcome is told; models.queries.interventions does it and keeps the trail.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import session
from models.errors import InputError, UsageError
from models.rules.counts import counted
from models.rules.interventions import FROM, Deed
from models.rules.outbox import MessageKind, MessageState

if TYPE_CHECKING:
    from models.queries.correspondence import Wanted
    from models.queries.interventions import Done, Order

GROUP = 500
"""Messages moved in one transaction."""

Ids = Annotated[list[int] | None, typer.Argument(help="Messages by the ids that `warmline messages` shows.")]
State = Annotated[MessageState | None, typer.Option(help="Instead of ids: all in this state.")]
Kind = Annotated[MessageKind | None, typer.Option(help="Of those, the ones of this kind.")]
Lead = Annotated[str | None, typer.Option(help="Of those, the ones of this lead: its id or an e-mail address.")]
Template = Annotated[str | None, typer.Option(help="Of those, the ones of this e-mail.")]
Why = Annotated[str | None, typer.Option(help="Of those, the ones with this in the reason or the server's words.")]
Because = Annotated[str, typer.Option(help="Why, for who asks later.")]
By = Annotated[str | None, typer.Option(help="Who says so; by default your name on this machine.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def retry(
    ids: Ids = None,
    state: State = None,
    kind: Kind = None,
    lead: Lead = None,
    template: Template = None,
    why: Why = None,
    because: Because = "asked for again",
    by: By = None,
    as_json: Json = False,
) -> None:
    """Queue messages again that failed, were cancelled or wait, for the next delivery. Checks and limits still hold."""
    wanted = _wanted(ids, state, kind, lead, template, why)
    _do(Deed.RETRY, ids, wanted, because, by, as_json)


def cancel(
    because: Because,
    ids: Ids = None,
    state: State = None,
    kind: Kind = None,
    lead: Lead = None,
    template: Template = None,
    why: Why = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Never send messages that still wait. What a sender is handing over at this moment may go out all the same."""
    wanted = _wanted(ids, state, kind, lead, template, why)
    _do(Deed.CANCEL, ids, wanted, because, by, as_json)


def resolve(
    because: Because,
    ids: Ids = None,
    sent: Annotated[bool | None, typer.Option("--sent/--not-sent", help="What is the truth about them.")] = None,
    state: State = None,
    kind: Kind = None,
    lead: Lead = None,
    template: Template = None,
    why: Why = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Say of messages in doubt (`unknown`) whether they were sent. Not sent: `failed`, and `retry` sends them again."""
    if sent is None:
        raise UsageError("say --sent or --not-sent")
    wanted = _wanted(ids, state, kind, lead, template, why)
    _do(Deed.SENT if sent else Deed.NOT_SENT, ids, wanted, because, by, as_json)


def reconcile(
    log: Annotated[list[Path], typer.Option(help="A Postfix log, also .gz; several may be given. `-` is stdin.")],
    as_json: Json = False,
) -> None:
    """Find messages in doubt in the relay's log; those that it took over become `sent`. The others stay in doubt."""
    from models.queries import interventions
    from models.queries.interventions import Order
    from models.rules.relay_log import taken_over

    database = session.workspace().database
    with database.read() as connection:
        doubtful: list[tuple[int, str]] = []
        while page := interventions.in_doubt(connection, doubtful[-1][0] if doubtful else 0, 10_000):
            doubtful += page
    numbers = {message_id: number for number, message_id in doubtful}
    found = taken_over(_lines(log), numbers.keys()) if numbers else {}
    now = _now()
    proofs = list(found.values())
    moved = 0
    for at in range(0, len(proofs), GROUP):
        with database.write(durable=True) as connection:
            words = {numbers[proof.message_id]: proof.words for proof in proofs[at : at + GROUP]}
            order = Order(Deed.SENT, "relay log", now, "the relay had it", words)
            moved += interventions.carry_out(connection, sorted(words), order).moved
    left = len(doubtful) - moved
    if as_json:
        _print_json({"in_doubt": len(doubtful), "sent": moved, "still_in_doubt": left})
    else:
        session.out.print(f"{len(doubtful):,} in doubt: {moved:,} found in the log and sent, {left:,} still in doubt")


def trail(
    ids: Annotated[list[int], typer.Argument(help="Messages by the ids that `warmline messages` shows.")],
    as_json: Json = False,
) -> None:
    """What was done to messages by hand or by a log: when, by whom, from which state, why."""
    import dataclasses

    from models.queries import interventions
    from models.rules.instants import instant

    with session.workspace().database.read() as connection:
        found = interventions.trail(connection, ids)
    if as_json:
        told = [dataclasses.asdict(one) | {"at": instant(one.at).isoformat()} for one in found]
        _print_json({"trail": told})
        return
    for one in found:
        when = instant(one.at).strftime("%Y-%m-%d %H:%M")
        line = f"{one.message_id}  {when}  {one.deed} (was {one.from_state}) by {one.actor}: {one.because}"
        session.out.print(session.printable(line), markup=False, soft_wrap=True)
    if not found:
        session.out.print("nothing was done to them from outside")


def _wanted(
    ids: list[int] | None,
    state: MessageState | None,
    kind: MessageKind | None,
    lead: str | None,
    template: str | None,
    why: str | None,
) -> Wanted:
    from models.queries.correspondence import Wanted

    if bool(ids) == bool(state):
        raise UsageError("name messages by their ids, or all of a state by --state: one of the two")
    if ids and any((kind, lead, template, why)):
        raise UsageError("--kind, --lead, --template and --why choose among those of --state, not among ids")
    return Wanted(lead, state.value if state else None, kind.value if kind else None, template, why)


def _do(deed: Deed, ids: list[int] | None, wanted: Wanted, because: str, by: str | None, as_json: bool) -> None:
    from models.queries.interventions import Order

    if wanted.state is not None and MessageState(wanted.state) not in FROM[deed]:
        allowed = ", ".join(sorted(state.value for state in FROM[deed]))
        raise UsageError(f"--state: found {wanted.state!r}; `{deed.value}` is for messages that are {allowed}")
    if not because.strip():
        raise UsageError("--because: say why")
    done = _carried_out(ids, wanted, Order(deed, by or person(), _now(), because.strip()))
    if as_json:
        told = {"moved": done.moved, "refused": [{"id": key, "why": why} for key, why in sorted(done.refused.items())]}
        _print_json(told)
    else:
        session.out.print(f"{deed.value}: {counted(done.moved, 'message')}")
        for number, why in sorted(done.refused.items()):
            session.err.print(f"{number}: not done, {why}", markup=False, soft_wrap=True)
    if done.refused:
        raise typer.Exit(UsageError.exit_code)


def _carried_out(ids: list[int] | None, wanted: Wanted, order: Order) -> Done:
    from models.queries import interventions
    from models.queries.interventions import Done

    database = session.workspace().database
    whole = Done()
    after, given = 0, sorted(set(ids or ()))
    while True:
        with database.write(durable=True) as connection:
            if ids:
                group, given = given[:GROUP], given[GROUP:]
            else:
                group = interventions.allowed(connection, wanted, order.deed, after, GROUP)
            if not group:
                return whole
            after = group[-1]
            done = interventions.carry_out(connection, group, order)
        whole.moved += done.moved
        whole.refused |= done.refused


def _lines(logs: list[Path]) -> Iterator[str]:
    import gzip
    import sys

    for log in logs:
        if str(log) == "-":
            yield from sys.stdin
            continue
        try:
            opened = gzip.open if log.suffix == ".gz" else open
            with opened(log, "rt", encoding="utf-8", errors="replace") as file:
                yield from file
        except (OSError, EOFError) as error:
            raise InputError(f"--log {log}: cannot be read: {error}") from error


def person() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise UsageError("--by: say who you are; this machine does not know") from error


def _now() -> int:
    import time

    return time.time_ns() // 1000


def _print_json(data: object) -> None:
    import orjson

    print(orjson.dumps(data).decode())
