"""Hits on links of our mails: what is kept of one, and the activity that it becomes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from models.rules.instants import MINUTE, Micros
from models.rules.links import TRAP
from models.rules.machine import TRAP_PATH, MachineRules
from models.rules.received import Envelope, Programme
from models.rules.records import Intake, RecordError
from models.rules.suspicion import signs_of
from models.rules.tracking import FORM, Hit, Mail

NOW = Micros(1_790_000_000_000_000)
HIT = Hit("5f", "click", "abc", "link", "GET", "Firefox")
MAIL = Mail("<abc@harbour.example>", "ann@northwind.example", "welcome", NOW - MINUTE, "letters", 2)


def read(
    hit: Hit, mail: Mail | None = MAIL, url: str | None = "https://www.site.example/a?utm_source=mail&x=1"
) -> Intake:
    (item,) = FORM.split(hit.content(), {}).items
    details = {"mails": {} if mail is None else {"abc": list(mail)}, "links": {} if url is None else {"link": url}}
    said = FORM.reader(Programme())(item, 0, Envelope("warmline", NOW, details))
    assert isinstance(said, Intake)
    return said


def properties(intake: Intake) -> dict[str, Any]:
    packed = intake.activities[0].properties
    assert packed is not None
    found: dict[str, Any] = orjson.loads(packed)
    return found


@pytest.mark.feature("I3")
def test_a_click_is_an_act_of_whom_the_mail_went_to_with_mail_sequence_step_and_address() -> None:
    said = read(HIT)
    (act,) = said.activities
    assert said.identities == (("email", "ann@northwind.example"),) and act.occurred_at == NOW
    touched = {name: value for name, value in act.touchpoint._asdict().items() if value}
    assert touched == {
        "type": "email_click",
        "name": "welcome",
        "host": "www.site.example",
        "path": "/a",
        "campaign": "letters",
        "source": "mail",
        "medium": "email",
    }
    assert properties(said) == {
        "mail_sent_at": NOW - MINUTE,
        "message_id": "<abc@harbour.example>",
        "sequence": "letters",
        "step": 2,
        "template": "welcome",
        "url": "https://www.site.example/a?utm_source=mail&x=1",
        "user_agent": "Firefox",
    }
    assert read(HIT) == said and read(HIT._replace(id="60")).activities[0].dedupe != act.dedupe


@pytest.mark.feature("I3")
def test_an_opening_has_no_address() -> None:
    (act,) = read(HIT._replace(kind="open", link=None)).activities
    assert (act.touchpoint.type, act.touchpoint.path, act.touchpoint.name) == ("email_open", None, "welcome")


def test_what_no_person_sees_has_a_path_of_its_own_that_no_page_can_have() -> None:
    said = read(HIT, url=TRAP)
    assert said.activities[0].touchpoint.path == TRAP_PATH and "url" not in properties(said)
    assert MachineRules().hides(TRAP_PATH) and not MachineRules().hides("/trap") and not MachineRules().hides(None)


@pytest.mark.feature("S19")
def test_signs_of_machines_stay_with_the_act() -> None:
    said = read(HIT._replace(method="HEAD", user_agent="curl/8", is_prefetch=True), MAIL._replace(sent_at=None))
    signs = signs_of(said.activities[0].properties)
    assert (signs.is_head, signs.user_agent, signs.is_declared) == (True, "curl/8", True)
    assert signs.mail_sent_at == NOW, "a mail that we do not know as sent yet was sent this very moment"
    assert signs.message == "<abc@harbour.example>"


def test_hits_on_what_is_gone_and_what_is_no_hit_are_refused_with_the_reason() -> None:
    for hit, mail, url, why in ((HIT, None, "https://a.example/", "mail: "), (HIT, MAIL, None, "link: ")):
        with pytest.raises(RecordError, match=why):
            read(hit, mail, url)
    reader = FORM.reader(Programme())
    for item in (
        None,
        5,
        {},
        {**HIT._asdict(), "kind": "x"},
        {**HIT._asdict(), "method": 5},
        {**HIT._asdict(), "a": 1},
    ):
        with pytest.raises(RecordError, match="hit: found"):
            reader(item, 0, Envelope("warmline", NOW, {}))
    with pytest.raises(RecordError, match="no JSON"):
        FORM.split(b"{", {})


def test_a_redirect_keeps_little() -> None:
    assert set(orjson.loads(HIT.content())) == {"id", "kind", "mail", "link", "method", "user_agent", "is_prefetch"}
