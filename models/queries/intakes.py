"""A chunk of records into the tables, in one transaction: who, what they are, what they did, which deals; the queues.

Decides what makes a record a duplicate: it changes nothing. Works on batches alone; its order is the file's. Touched
leads are queued for scoring, leads of deals for routing, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from models.queries import (
    accounts,
    activities,
    attributes,
    costs,
    deals,
    devices,
    identities,
    leads,
    merges,
    queue,
    staging,
    stated_stages,
    subjects,
)
from models.queries.activities import Touchpoints
from models.queries.attributes import ADDRESS, Change
from models.queries.identities import DEVICE, Naming
from models.queries.leads import People
from models.queries.merges import Noted
from models.rules import consent
from models.rules.merging import EMAIL as EMAIL_KIND
from models.rules.past import CREATED, EMAIL
from models.rules.records import AccountFacts, ActivityFacts, Identity, Intake, device_number
from models.rules.referrals import REFERRAL, friends


@dataclass(frozen=True)
class Terms:
    """How a reading is stored. `recorded_at` None: as it occurred (a backfill); else that instant for everything."""

    source: str
    now: int
    recorded_at: int | None = None
    express_since: int | None = None
    """Leads of acts since then are looked after at once (models.rules.express); None: nobody is."""

    def recorded(self, occurred_at: int) -> int:
        """When something that occurred then counts as known: never after `now`."""
        return self.recorded_at if self.recorded_at is not None else min(occurred_at, self.now)

    def when(self, occurred_at: int) -> Noted:
        """When it came out that two leads are one, and since when that counts: in a backfill, as always so."""
        return Noted(occurred_at, self.recorded(occurred_at), self.recorded_at)

    def noted(self, lead: int, name: str, before: object, after: object) -> list[Change]:
        """What a lead's column was and is, for the history; nothing in a backfill, where it counts as always so."""
        if self.recorded_at is None:
            return []
        said = {name: {"from": before, "to": after}}
        return [attributes.change("lead", lead, self.recorded_at, self.recorded_at, self.source, said)]


@dataclass
class Chunk:
    """What is being stored: the records that may say something new, and what became of them."""

    intakes: Sequence[Intake]
    fresh: dict[bytes, tuple[int, ActivityFacts]]
    """Activities that do not stand yet, with the index of their record."""
    news: set[int] = field(default_factory=set)
    """Indices of records that changed something."""
    touched: set[int] = field(default_factory=set)
    """Leads to be scored."""
    left: set[int] = field(default_factory=set)
    """Accounts that a lead was moved away from."""
    deals: set[int] = field(default_factory=set)
    """Deals that say something new."""
    kinds: frozenset[str] = frozenset()
    """The types of the new activities."""


def store(connection: Connection, intakes: Sequence[Intake], terms: Terms, touchpoints: Touchpoints) -> int:
    """Store the records; how many of them said something new. The others were duplicates.

    Leads that turn out to be one person are noted; models.queries.merges.step makes them one.
    """
    chunk = _what_may_be_new(connection, intakes)
    if not chunk.intakes:
        return 0
    merges.lock_intake(connection)
    resolution = identities.resolve(connection, [_naming(intake, terms.now) for intake in chunk.intakes])
    companies = _store_accounts(connection, chunk, terms)
    _store_leads(connection, chunk, resolution, companies, terms)
    _store_activities(connection, chunk, resolution, terms, touchpoints)
    routed = _store_deals(connection, chunk, resolution, companies, terms)
    _store_costs(connection, chunk, terms)
    _note_merges(connection, chunk, resolution, terms)
    chunk.touched.update(devices.hand_over(connection, resolution.switches))
    chunk.touched.update(accounts.leads_of(connection, companies.changed))
    queue.enqueue(connection, "score", sorted(chunk.touched | routed))
    queue.enqueue(connection, "route", sorted(routed))
    subjects.touch(connection, companies.changed | chunk.left, chunk.deals)  # new ones have no score, which tells
    queue.enqueue(connection, queue.EXPRESS, sorted(_in_a_hurry(chunk, resolution, terms) & (chunk.touched | routed)))
    if REFERRAL in chunk.kinds:  # whom they name is no record of the file: stored, and not counted
        fresh = (chunk.intakes[index] for index in sorted({index for index, _ in chunk.fresh.values()}))
        store(connection, [friend for intake in fresh for friend in friends(intake)], terms, touchpoints)
    return len(chunk.news)


def _in_a_hurry(chunk: Chunk, resolution: identities.Resolution, terms: Terms) -> set[int]:
    """Whose act is news, or of whom something new is said without an act."""
    if (since := terms.express_since) is None:
        return set()
    indices = {index for index, facts in chunk.fresh.values() if facts.occurred_at >= since}
    for index in chunk.news:
        intake = chunk.intakes[index]
        at = intake.lead.at if intake.lead else None
        if not intake.activities and (at is None or at >= since):
            indices.add(index)
    return {lead for index in indices if (lead := resolution.lead_of[index]) is not None}


def _naming(intake: Intake, now: int) -> Naming:
    """Whom the record names, and since when that is known of."""
    at: int | None
    if intake.activities:
        at = min(facts.occurred_at for facts in intake.activities)
    else:
        at = intake.lead.at if intake.lead else intake.account.at if intake.account else None
    return Naming(intake.identities, now if at is None else at, intake.is_alias)


def _note_merges(connection: Connection, chunk: Chunk, resolution: identities.Resolution, terms: Terms) -> None:
    indices = {*(one.index for one in resolution.unions), *resolution.conflicts.values()}
    times = {index: terms.when(_created_at(chunk.intakes[index], terms.now)) for index in indices}
    chunk.news.update(merges.note(connection, resolution.unions, terms.source, times))
    merges.note_conflicts(connection, resolution.conflicts, terms.source, times)


def _what_may_be_new(connection: Connection, intakes: Sequence[Intake]) -> Chunk:
    """Drop records that are nothing but activities which stand already, or stand further up in this chunk."""
    first: dict[bytes, tuple[int, ActivityFacts]] = {}
    for index, intake in enumerate(intakes):
        for facts in intake.activities:
            if facts.dedupe not in first:
                first[facts.dedupe] = (index, facts)
    known = activities.known_among(connection, sorted(first))
    if not known and len(first) == sum(len(intake.activities) for intake in intakes):
        return Chunk(intakes, first)
    bearers = {index for key, (index, _) in first.items() if key not in known}
    kept = [
        index
        for index, intake in enumerate(intakes)
        if index in bearers or not intake.activities or intake.lead or intake.account or intake.deal
    ]
    place = {index: n for n, index in enumerate(kept)}
    fresh = {key: (place[index], facts) for key, (index, facts) in first.items() if key not in known}
    return Chunk([intakes[index] for index in kept], fresh)


def _store_accounts(connection: Connection, chunk: Chunk, terms: Terms) -> accounts.Companies:
    stated: list[tuple[int, AccountFacts]] = []
    for index, intake in enumerate(chunk.intakes):
        if intake.account:
            stated.append((index, intake.account))
        if intake.deal and intake.deal.account:
            stated.append((index, intake.deal.account))
    if not stated:
        return accounts.Companies({})
    staging.lock_people(connection)
    companies = accounts.load(connection, [facts for _, facts in stated], terms.now)
    for index, facts in stated:
        if accounts.fold(companies, facts, terms.source, terms.now, terms.recorded_at):
            chunk.news.add(index)
    accounts.save(connection, companies)
    attributes.append(connection, companies.changes)
    return companies


def _store_leads(
    connection: Connection,
    chunk: Chunk,
    resolution: identities.Resolution,
    companies: accounts.Companies,
    terms: Terms,
) -> None:
    lead_of = resolution.lead_of
    spoken_of = {lead_of[n] for n, intake in enumerate(chunk.intakes) if intake.lead} - {None}
    linked = set(resolution.links.values())
    timed = {lead_of[n] for n, intake in enumerate(chunk.intakes) if intake.lead and intake.lead.at is not None}
    addressed = {lead for identity, lead in resolution.links.items() if identity[0] == EMAIL_KIND}
    addressed |= set(resolution.owners.values())
    timed |= addressed
    wanted = {lead for lead in spoken_of | linked | addressed if lead is not None} - resolution.created.keys()
    if not wanted and not resolution.created:
        identities.name(connection, resolution)
        return
    people = leads.load(connection, wanted, {lead for lead in timed if lead is not None})
    for made, index in resolution.created.items():
        created_at = _created_at(chunk.intakes[index], terms.now)
        leads.make(people, made, created_at, terms.recorded(created_at))
    for index, intake in enumerate(chunk.intakes):
        if (lead := lead_of[index]) is None or lead not in people.by_id:
            continue
        created_at, since = _created_at(intake, terms.now), people.by_id[lead].created_at
        if leads.came_to_be(people, lead, created_at, terms.recorded(created_at)):
            if lead not in resolution.created:
                people.changes += terms.noted(lead, CREATED, since, created_at)
            chunk.news.add(index)
            chunk.touched.add(lead)
        if intake.lead:
            company = companies.by_key[intake.account.key] if intake.account else None
            stated = _stated_address(intake, index, resolution)
            came = leads.fold(
                people, lead, intake.lead, company, terms.source, terms.now, terms.recorded_at, stated, _device(intake)
            )
            if stated is not None:
                addressed.add(lead)
            if came.is_news:
                chunk.news.add(index)
            if came.is_moved:
                chunk.touched.add(lead)
    _choose_addresses(connection, people, addressed, resolution, terms)
    chunk.news.update(resolution.linked_by.values())
    chunk.touched.update(linked)
    leads.save(connection, people)
    chunk.left = people.left
    identities.link(connection, resolution, _recorded(resolution, chunk, terms))
    identities.name(connection, resolution)
    attributes.append(connection, people.changes)
    stated_stages.make(connection, people.asked, terms.source, terms.now)


def _stated_address(intake: Intake, index: int, resolution: identities.Resolution) -> str | None:
    """The address that the record states for its lead: with a time of its own, or because it brings it."""
    for identity in intake.identities:
        if identity[0] == EMAIL_KIND:
            is_timed = intake.lead is not None and intake.lead.at is not None
            return identity[1] if is_timed or resolution.linked_by.get(identity) == index else None
    return None


def _choose_addresses(
    connection: Connection, people: People, addressed: set[int], resolution: identities.Resolution, terms: Terms
) -> None:
    """Where to write to: the address that was stated last; where none was, the one that was named first."""
    unstated = {lead for lead in addressed if people.by_id[lead].subject.stated(ADDRESS) is None}
    first = leads.first_addresses(connection, unstated - resolution.created.keys())
    for (kind, value), (at, _) in resolution.named.items():
        lead = resolution.links.get((kind, value), resolution.owners.get((kind, value)))
        if kind == EMAIL_KIND and lead in unstated and at is not None:
            first[lead] = min(first.get(lead, (at, value)), (at, value))
    for lead in sorted(addressed):
        person = people.by_id[lead]
        before, stated = person.email, person.subject.stated(ADDRESS)
        named = first.get(lead)
        if leads.address(people, lead, stated or (named and named[1])) and lead not in resolution.created:
            people.changes += terms.noted(lead, EMAIL, before, person.email)


def _recorded(resolution: identities.Resolution, chunk: Chunk, terms: Terms) -> dict[Identity, int]:
    return {
        identity: terms.recorded(_created_at(chunk.intakes[index], terms.now))
        for identity, index in resolution.linked_by.items()
    }


def _created_at(intake: Intake, now: int) -> int:
    """Since when a record knows of its lead: as stated, else its first act, else the time of what it says.

    A lead came to be at the earliest of these, whichever record was read first.
    """
    times: list[int] = []
    if intake.lead and intake.lead.created_at is not None:
        times = [intake.lead.created_at]
    elif intake.activities:
        times = [min(facts.occurred_at for facts in intake.activities)]
    elif intake.lead and intake.lead.at is not None:
        times = [intake.lead.at]
    return min([*times, now])


def _store_activities(
    connection: Connection,
    chunk: Chunk,
    resolution: identities.Resolution,
    terms: Terms,
    touchpoints: Touchpoints,
) -> None:
    if not chunk.fresh:
        return
    met = {facts.touchpoint for _, facts in chunk.fresh.values()}
    chunk.kinds = frozenset(touchpoint.type for touchpoint in met)
    ids = touchpoints.ids(connection, met, terms.now)
    rows = []
    earliest: dict[int, int] = {}
    devices_of: dict[bytes, int] = {}
    for index, facts in chunk.fresh.values():
        lead = resolution.lead_of[index]
        assert lead is not None  # an activity without an identity was refused
        rows.append((facts, lead, terms.recorded(facts.occurred_at)))
        if (device := _device(chunk.intakes[index])) is not None:
            devices_of[facts.dedupe] = device
        # A new lead was made with the earliest time of its records; few of the others are told anything earlier.
        if facts.occurred_at < earliest.get(lead, resolution.since.get(lead, 0)):
            earliest[lead] = facts.occurred_at
    lowered = leads.knew_since(connection, {lead: (at, terms.recorded(at)) for lead, at in earliest.items()})
    attributes.append(connection, [change for one in lowered for change in terms.noted(one[0], CREATED, *one[1:])])
    lost = activities.insert(connection, rows, ids, devices_of)
    for key, (index, _) in chunk.fresh.items():
        if key not in lost:
            chunk.news.add(index)
            lead = resolution.lead_of[index]
            assert lead is not None
            chunk.touched.add(lead)
    if not chunk.kinds.isdisjoint(consent.ACTS):
        spoke = {resolution.lead_of[n] for n, facts in chunk.fresh.values() if facts.touchpoint.type in consent.ACTS}
        queue.enqueue(connection, "consent", sorted(lead for lead in spoke if lead is not None))


def _device(intake: Intake) -> int | None:
    """The device of a record that names nobody."""
    kind, value = intake.identities[0]
    return device_number(value) if kind == DEVICE and all(who == DEVICE for who, _ in intake.identities) else None


def _store_deals(
    connection: Connection,
    chunk: Chunk,
    resolution: identities.Resolution,
    companies: accounts.Companies,
    terms: Terms,
) -> set[int]:
    """The deals; the leads that have to be looked at by routing."""
    stated = [(n, intake.deal) for n, intake in enumerate(chunk.intakes) if intake.deal]
    if not stated:
        return set()
    staging.lock_people(connection)
    lead_ids = {lead for n, _ in stated if (lead := resolution.lead_of[n]) is not None}
    employers = leads.accounts_of(connection, lead_ids)
    routed: set[int] = set()
    for source in sorted({deal.fields["source"] for _, deal in stated}):  # its own: a hook may be called otherwise
        told = [(n, deal) for n, deal in stated if deal.fields["source"] == source]
        book = deals.load(connection, source, [deal for _, deal in told], terms.now, terms.recorded_at)
        for index, deal in told:
            lead, company = resolution.lead_of[index], deal.account or chunk.intakes[index].account
            own = employers.get(lead) if lead is not None else None
            before = book.lead_of(deal.external_id)
            if book.fold(deal, lead, companies.by_key[company.key].id if company else own):
                chunk.news.add(index)
                # The record may name the deal alone, or hand it over: whose it was and whose it is are both concerned.
                routed |= {one for one in (before, book.lead_of(deal.external_id)) if one is not None}
        attributes.append(connection, book.save(connection, source))
        chunk.deals |= book.changed
    return routed


def _store_costs(connection: Connection, chunk: Chunk, terms: Terms) -> None:
    told = [(index, intake.cost) for index, intake in enumerate(chunk.intakes) if intake.cost]
    if told:
        news = costs.store(connection, [facts for _, facts in told], terms.source, terms.now)
        chunk.news.update(told[place][0] for place in news)
