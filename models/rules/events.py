"""What events of analytics sources have in common, whatever their form: who, what they did, what is said of them.

Decides which ids name nobody, how reserved traits become attributes, and how much a sender's clock is trusted. The
forms (models.rules.segment, posthog, cloudevents) say where in an item each of these stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.rules import records
from models.rules.instants import MINUTE, Micros
from models.rules.records import MEMO_SIZE, AccountFacts, ActivityFacts, Identity, RecordError
from models.rules.touchpoints import Facets, Touchpoint, facets_of, referrer_host
from models.rules.values import is_missing

NOBODY = frozenset(
    "anonymous guest distinctid distinct_id id not_authenticated email undefined true false null none 0 nan".split()
) | {"[object object]", "00000000-0000-0000-0000-000000000000"}
"""What programs send by mistake for somebody they do not know: taken for a name it would make one lead of thousands.
PostHog refuses the same (https://posthog.com/docs/product-analytics/identify)."""
LATE = MINUTE
"""A sender's clock that is behind ours by less is right: what is missing is the way of the request."""
RENAMED = {
    "title": "job_title",
    "address.country": "country",
    "address.state": "state",
    "address.city": "city",
    "address.postal_code": "postal_code",
    "address.street": "street",
    "employee_count": "employees",
}
"""Reserved traits (https://segment.com/docs/connections/spec/identify/#traits) → what attributes are called here."""


def person(value: Any, field: str) -> str | None:
    """The id of somebody, None if it is missing or names nobody; RecordError if it is no id."""
    if value is None:
        return None
    if type(value) is str and len(value) * 4 <= records.MAX_KEY:  # nearly always
        found: str | None = value.strip()
    else:
        found = records.identifier(value, field)
    return None if not found or found.lower() in NOBODY else found


def named(user: str | None, anonymous: str | None, email: str | None) -> tuple[Identity, ...]:
    """The identities; a user id that is an address is one, too, where no other is told."""
    found: list[Identity] = []
    if email is None and user is not None and "@" in user:
        email = address(user)
    if email is not None:
        found.append(("email", email))
    if user is not None:
        found.append(("user_id", user))
    if anonymous is not None:
        found.append(("anonymous_id", anonymous))
    return tuple(found)


def address(value: Any) -> str | None:
    """The e-mail address, None if it is none: who sends it says who somebody is by an id as well."""
    if not isinstance(value, str) or "@" not in value:
        return None
    try:
        return records.address_of(value)
    except RecordError:
        return None


def skew(sent_at: Micros | None, received_at: Micros) -> int:
    """What to add to a sender's times (microseconds), by when it said that it sent (µs; None: it did not say).

    Segment adds received_at − sent_at always; here the way of the request (up to LATE) counts as none, so that the
    same event has the same time however often and by whichever way it comes.
    """
    if sent_at is None or 0 <= received_at - sent_at <= LATE:
        return 0
    return received_at - sent_at


def sent_instant(value: Any) -> Micros | None:
    """When a sender says that it sent; None if that is no time: nothing but `skew` depends on it."""
    try:
        return records.time_of(value, "sentAt")
    except RecordError:
        return None


def attributes(*traits: Mapping[str, Any]) -> dict[str, Any]:
    """The traits, flattened, under the names of attributes; the last one wins, and what is blank says nothing."""
    found: dict[str, Any] = {}
    for said in traits:
        flat = records.flattened(said) if said else {}
        found.update(
            (name, value.strip() if type(value) is str else value)
            for name, value in flat.items()
            if not is_missing(value)
        )
    for sent, name in RENAMED.items():
        if sent in found:
            found.setdefault(name, found[sent])
            del found[sent]
    return found


def company(said: Any, field: str, at: Micros) -> AccountFacts | None:
    """The company of a trait that is its name, or an object with `name` or `id`, and what else it says."""
    if not isinstance(said, dict):
        found = records.account_named(said, field)
        return found and found._replace(at=at)
    name = said.get("name") if not is_missing(said.get("name")) else said.get("id")
    found = records.account_named(name, f"{field}.name")
    rest = {key: value for key, value in said.items() if key not in ("name", "id")}
    return found and found._replace(at=at, attributes=attributes(rest), domain=domain(said))


def domain(said: Mapping[str, Any]) -> str | None:
    """A company's domain, by its `domain` or `website`."""
    for name in ("domain", "website"):
        value = said.get(name)
        if isinstance(value, str) and value.strip():
            try:
                host = referrer_host(value)
            except ValueError:
                continue
            return records.key_text(host.removeprefix("www."), name) if host and "." in host else None
    return None


class Acts:
    """Makes activities. Remembers touchpoints by what was sent: most events are about something known."""

    def __init__(self, facets: Sequence[str]) -> None:
        self._names = sorted(facets)
        self._known: dict[tuple[Any, ...], Touchpoint] = {}

    def facets(self, properties: Mapping[str, Any], products: Any = None) -> Facets:
        """The declared facets; one that the event does not have itself is gathered from its list of products."""
        if not self._names:
            return ()
        found = dict(properties)
        if isinstance(products, list):
            for name in self._names:
                if name not in found:
                    found[name] = [one[name] for one in products if isinstance(one, dict) and name in one]
        return facets_of(found, self._names)

    def touchpoint(self, fields: Mapping[str, Any], facets: Facets) -> Touchpoint:
        """As records.touchpoint_of, remembered."""
        sent = (*fields.values(), facets)
        try:
            if (found := self._known.get(sent)) is not None:
                return found
        except TypeError:  # an object or a list where a text belongs: touchpoint_of says which
            return records.touchpoint_of(fields, facets)
        made = records.touchpoint_of(fields, facets)
        # 1, 1.0 and True are one key of a dictionary, and three texts.
        if all(value is None or type(value) is str for value in sent[:-1]):
            if len(self._known) >= MEMO_SIZE:
                self._known.clear()
            self._known[sent] = made
        return made


def activity(dedupe: bytes, at: Micros, about: Touchpoint, properties: Mapping[str, Any]) -> ActivityFacts:
    """The act, with its properties as JSON."""
    return ActivityFacts(dedupe, at, about, records.properties_json(properties))
