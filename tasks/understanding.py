"""Items of received batches: understood by their form's reader, then stored together. Called by tasks.drain and replay.

Decides that an item which cannot be understood is refused alone, whatever is wrong with it, and that what an item says
beyond leads and activities is done in the same transaction. How a form is read: models.rules.forms.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from models.documents import ConfigurationError, shown
from models.errors import UsageError
from models.queries import intakes, links, queue, stated_stages, versions
from models.queries.activities import Touchpoints
from models.queries.intakes import Terms
from models.queries.rejections import RefusedItem
from models.rules import tracking
from models.rules.forms import FORMS
from models.rules.received import Envelope, Form, Parts, Programme, Read, Told
from models.rules.records import Intake, RecordError
from tasks import mail_events

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from models.rules.mapping import Mapping as ColumnMapping
    from models.workspace import Workspace

LookUp = Callable[["Connection", "Workspace", Sequence[Any]], Mapping[str, Any]]
"""(connection, workspace, items of a batch) → what their reader needs to know of the database, for the envelope's
details. It is not kept with a rejected item, but looked up again when that is read again."""
LOOK_UPS: dict[str, LookUp] = {
    "hook": mail_events.look_up,
    tracking.NAME: lambda connection, workspace, items: links.described(connection, items, workspace.message_domains),
}
FollowUp = Callable[["Connection", "Workspace", Sequence["Understood"], int], int]
"""(connection, workspace, items that were stored, now): what else their `beyond` asks for; done again it does
nothing. How many items it made news of that no intake was."""
FOLLOW_UPS: dict[str, FollowUp] = {"hook": mail_events.follow_up}
CROWD = 500
"""Leads in a hurry from which further ones wait for the schedule: twice what one run of express_leads takes."""


class Understood(NamedTuple):
    """An item that says something."""

    intake: Intake
    beyond: Any
    envelope: Envelope
    refuse: Callable[[str], RefusedItem]
    """Makes a refused item of it, for a reason that shows when it is to be stored."""


Item = Understood | RefusedItem


class Origin(NamedTuple):
    """Where items come from."""

    form: str
    batch: int
    """Its id."""
    may_have_nul: bool = True
    """Some text of theirs may hold a NUL character."""


class Group(NamedTuple):
    """Items that are stored and counted together."""

    source: str
    form: str
    day: int


class Readers:
    """The readers of all forms, each made when its first batch comes."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._made: dict[str, Read] = {}

    def split(self, form: str, content: bytes, details: str | None) -> Parts:
        """A body taken apart; RecordError if it is none of its form."""
        try:
            return _form(form).split(content, orjson.loads(details or "{}"))
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            if isinstance(error, RecordError):
                raise
            raise RecordError(f"body: cannot be understood ({type(error).__name__}: {error})") from error

    def understood(
        self, connection: Connection, origin: Origin, envelope: Envelope, items: Sequence[Any], first: int
    ) -> list[Item]:
        """What each item says, or why it cannot be taken; `first`: the place of the first one in its batch."""
        form = origin.form
        read = self._reader(form)
        looked_up = LOOK_UPS.get(form)
        known = envelope
        if looked_up is not None:
            more = looked_up(connection, self._workspace, items)
            known = Envelope(
                envelope.source, envelope.received_at, {**envelope.details, **more}, envelope.shared, envelope.ordinal
            )
        alike: Counter[str] = Counter()
        found: list[Item] = []
        for place, item in enumerate(items, first):

            def refuse(reason: str, item: Any = item, place: int = place) -> RefusedItem:
                record = written(item)
                alike[record] += 1
                details = kept_details(envelope)
                return RefusedItem(
                    form, envelope.source, origin.batch, place, reason, record, details, alike[record] - 1
                )

            try:
                told = read(item, place, known)
            except RecordError as refusal:
                found.append(refuse(str(refusal)))
            except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
                # A value that nobody thought of must not stand in the way of all that comes after it.
                found.append(refuse(f"cannot be understood ({type(error).__name__}: {error})"))
            else:
                intake, beyond = told if isinstance(told, Told) else (told, None)
                found.append(
                    refuse("a text with a NUL character; allowed: texts without one")
                    if origin.may_have_nul and _has_nul(intake)
                    else Understood(intake, beyond, envelope, refuse)
                )
        return found

    def _reader(self, form: str) -> Read:
        if form not in self._made:
            workspace = self._workspace
            models = workspace.models.values() if (workspace.root / "scoring.yaml").exists() else ()
            facets = tuple(dict.fromkeys(facet for model in models for facet in model.facets))
            self._made[form] = _form(form).reader(Programme(facets, self._mapping))
        return self._made[form]

    def _mapping(self, name: str) -> ColumnMapping:
        try:
            return self._workspace.mapping(name)
        except (UsageError, ConfigurationError) as error:
            raise RecordError(str(error)) from error


def _form(name: str) -> Form:
    if name not in FORMS:
        raise RecordError(f"form: found {shown(name)}; allowed: {', '.join(FORMS)}")
    return FORMS[name]


def _has_nul(intake: Intake) -> bool:
    """Whether a text that is stored as it is holds what PostgreSQL's cannot; in attributes and properties, which are
    JSON, it is written in other words."""
    plain: list[object] = [
        *intake.identities,
        intake.account and intake.account._replace(attributes={}),
        intake.deal,
        intake.cost,
    ]
    plain += [act.touchpoint for act in intake.activities]
    plain += [intake.lead and intake.lead._replace(attributes={})]
    return "\\x00" in repr(plain)


def written(item: Any) -> str:
    """The item as JSON, as deep as it may be."""
    try:
        return orjson.dumps(item).decode()
    except (TypeError, orjson.JSONEncodeError):
        return json.dumps(item, ensure_ascii=False)


def may_have_nul(content: bytes) -> bool:
    """Whether a body may hold a NUL character: as it is, in JSON's words or in those of a form."""
    return b"\\u0000" in content or b"\x00" in content or b"%00" in content


def kept_details(envelope: Envelope) -> dict[str, Any]:
    """What is kept of an envelope with a rejected item."""
    return {
        "received_at": envelope.received_at,
        "details": dict(envelope.details),
        "shared": dict(envelope.shared),
    }


class Stored(NamedTuple):
    """What became of some items: how many said something new, how many nothing, and those that cannot be taken."""

    accepted: int
    duplicate: int
    refused: list[RefusedItem]


class Settling:
    """Stores items of one source and form, transaction by transaction."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._touchpoints = Touchpoints()

    def store(self, connection: Connection, group: Group, items: Sequence[Item], now: int) -> Stored:
        """Store what can be; what became of the items. Those that are refused are not kept yet."""
        refused = [one for one in items if isinstance(one, RefusedItem)]
        taken = [one for one in items if isinstance(one, Understood)]
        unfit = stated_stages.refusals(connection, [one.intake for one in taken])
        refused += [taken[place].refuse(why) for place, why in unfit.items()]
        taken = [one for place, one in enumerate(taken) if place not in unfit]
        accepted = 0
        if taken:
            terms = self._terms(connection, group.source, now)
            accepted = intakes.store(connection, [one.intake for one in taken], terms, self._touchpoints)
            if (follow_up := FOLLOW_UPS.get(group.form)) is not None:
                accepted += follow_up(connection, self._workspace, taken, now)
        return Stored(accepted, len(taken) - accepted, refused)

    def _terms(self, connection: Connection, source: str, now: int) -> Terms:
        """News, once the programme has scored for the first time; nobody is hurried while a crowd is, already."""
        begun = versions.begun(connection, "scoring")
        since = self._workspace.settings.express.since(now)
        if since is not None and len(queue.read(connection, queue.EXPRESS, CROWD)) >= CROWD:
            since = None
        return Terms(source, now, now if begun is not None and begun < now else None, since)

    def settle(self) -> None:
        """The transaction was committed."""
        self._touchpoints.settle()

    def forget(self) -> None:
        """The transaction was rolled back."""
        self._touchpoints.forget()
