"""The past of a lead in a salesperson's words: earlier assignments, stages, mails, colleagues and deals.

Decides words only; models.queries.dossiers reads the facts. tasks.briefing puts them into the notification.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from zoneinfo import ZoneInfo

from models.queries.dossiers import Deal, Dossier, Got, Past, Peer
from models.rules.notification import Colleague, Contact, LastTime, Seen
from models.rules.verdicts import Verdict, VerdictReasons
from tasks import wording
from tasks.contacts import LONGEST_PLACE, LONGEST_VALUE, name_from, plain, position_from, short

MOST_TOLD = 6
_OUTCOMES = {
    "open": "waits for an answer",
    "accepted": "accepted",
    "recalled": "taken back by nurture",
    "not_ready": "not ready",
    "unqualified": "unqualified",
    "reassigned": "passed on",
    "closed": "closed",
}


def worded(dossier: Dossier, reasons: VerdictReasons) -> Dossier:
    """The same with reasons in words: the verdict's in the team's own, a comment behind it; else what ended it."""

    def said(one: Past) -> str:
        if one.state not in set(Verdict):
            return wording.cause(one.because or "")
        words = reasons.of(Verdict(one.state)).get(one.reason, one.reason)
        return "; ".join(filter(None, (words, one.comment)))

    return replace(dossier, past=[one._replace(reason=said(one)) for one in dossier.past])


def last_time(dossier: Dossier, ordinal: int, names: Mapping[str, str], zone: ZoneInfo) -> LastTime | None:
    """How it was when the lead was with sales before assignment `ordinal`; None if it never was."""
    before = next((one for one in dossier.past if one.ordinal < ordinal), None)
    if before is None:
        return None
    return LastTime(
        rep=names.get(before.rep, before.rep),
        given_at=wording.day(before.at, zone),
        outcome=outcome(before),
        ended_at="" if before.ended_at is None else wording.day(before.ended_at, zone),
        reason=short(plain(before.reason), LONGEST_VALUE),
    )


def outcome(past: Past) -> str:
    """How an assignment ended: "not ready", "taken back by nurture"."""
    return _OUTCOMES.get(past.state, past.state.replace("_", " "))


def history(dossier: Dossier, ordinal: int, names: Mapping[str, str], zone: ZoneInfo) -> list[Seen]:
    """Earlier assignments with their answers, and stages entered, newest first; what happens now is left out."""
    told: list[tuple[int, str, str]] = []
    for one in dossier.past:
        if one.ordinal < ordinal:
            reason = f": {short(plain(one.reason), LONGEST_VALUE)}" if one.reason else ""
            told.append((one.at, f"Went to {names.get(one.rep, one.rep)}", f"{outcome(one)}{reason}"))
    told += [(move.at, f"Became {move.to_stage.replace('_', '-')}", "") for move in dossier.moves[1:]]
    told.sort(key=lambda entry: -entry[0])
    return [Seen(at=wording.day(at, zone), what=what, detail=detail) for at, what, detail in told[:MOST_TOLD]]


def mails(dossier: Dossier, zone: ZoneInfo) -> list[Seen]:
    """Mails that the lead got and what it did with each: clicked, opened, answered, or nothing that we know of."""
    return [
        Seen(at=wording.day(one.at, zone), what=_mail_name(one.template), detail=_reaction(one))
        for one in dossier.mails
    ]


def colleagues(dossier: Dossier, names: Mapping[str, str]) -> list[Colleague]:
    """People of the same account whom sales knows."""
    return [_colleague(one, names) for one in dossier.colleagues]


def deals(dossier: Dossier) -> list[Contact]:
    """Open deals: what each is called, and amount, stage, product and owner as far as they are known."""
    return [Contact(label=_deal_name(one), value=_deal_facts(one)) for one in dossier.deals]


def _colleague(one: Peer, names: Mapping[str, str]) -> Colleague:
    return Colleague(
        name=name_from(one.attributes, one.email, one.lead_id),
        position=position_from({"job_title": one.attributes.get("job_title")}, None),
        stage=one.stage.replace("_", "-"),
        rep="" if one.rep is None else names.get(one.rep, one.rep),
    )


def _mail_name(template: str) -> str:
    name = template.replace("/", ": ").replace("-", " ").replace("_", " ").strip()
    return f"{name[:1].upper()}{name[1:]}"


def _reaction(one: Got) -> str:
    if one.replied:
        return "answered"
    if one.clicked:
        return "clicked"
    return "opened" if one.opened else "no reaction"


def _deal_name(one: Deal) -> str:
    return short(plain(one.name or one.product or "Deal"), LONGEST_PLACE)


def _deal_facts(one: Deal) -> str:
    amount = "" if one.amount is None else f"{one.currency or ''} {one.amount:,.0f}".strip()
    product = one.product if one.name else None
    known = (amount, one.stage, product, one.owner and f"with {one.owner}")
    return short(", ".join(plain(word) for word in known if word), LONGEST_VALUE) or "open"
