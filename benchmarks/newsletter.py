"""A workspace whose outbox is full of one e-mail of 23 kB, made as nurture makes it: leads, enrolments, a due step.

Decides what is sent and to whom; benchmarks.mail measures the sending. The e-mail has what a real newsletter has:
tables, inline styles, links, letters beyond ASCII, and the name and company of its reader.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks import world
from models.queries import enrolments, staging, versions
from models.queries.enrolments import NewEnrolment
from models.rules.instants import DAY, Micros
from models.tables import Lead
from models.workspace import Workspace
from tasks.nurture import nurture

SEQUENCE = """
name: letters
version: 1
enrol: {stages: [lead]}
consent: {marketing_consent: {not: ['no', 'false', 'denied']}}
steps:
  - send: newsletter
"""
_STYLE = "font:16px/25px -apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;color:#2b3640"
_ARTICLE = f"""
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0"><tr>
<td style="padding:0 0 18px;{_STYLE}">
<a href="https://www.example.com/articles/NUMBER" style="color:#0b5f5a;font-weight:600;text-decoration:none">No. NUMBER
— Why a café’s naïve list grew old</a><br>
A list that nobody tends loses a quarter of its addresses in a year: people change their work, companies their names.
What helps is dull: ask seldom, write down what was said, let go in time. Here is how a small team could begin on a
Monday morning, with what it has, and be done before lunch.
</td></tr></table>
"""
_SHORT = """
No. NUMBER — Why a café’s naïve list grew old
A list that nobody tends loses a quarter of its addresses in a year.
https://www.example.com/articles/NUMBER
"""


def _articles(article: str) -> str:
    return "".join(article.replace("NUMBER", str(number)) for number in range(1, 21))


EMAIL = {
    "subject.txt.j2": "{{ lead.first_name }}, what {{ account.name }} can read this week\n",
    "body.html.j2": '{% extends "layout.html.j2" %}'
    "{% block preheader %}What {{ account.name }} can read this week{% endblock %}\n"
    "{% block content %}<h1>Good morning, {{ lead.first_name }}</h1>\n"
    "{% if lead.job_title is defined %}<p>For the {{ lead.job_title }} of {{ account.name }}:</p>{% endif %}\n"
    f"{_articles(_ARTICLE)}\n"
    "<p><a href=\"{{ ('https://www.example.com/for/' ~ lead.country) | link }}\">More for {{ lead.country }}</a></p>\n"
    "{% endblock %}\n",
    "body.txt.j2": '{% extends "layout.txt.j2" %}{% block content %}Good morning, {{ lead.first_name }}\n'
    f"{_articles(_SHORT)}\n"
    "More for {{ lead.country }}: {{ ('https://www.example.com/for/' ~ lead.country) | link }}\n{% endblock %}\n",
}


def make(folder: Path, database_url: str, leads: int, smtp: dict[str, Any], *, is_tracked: bool = False) -> Workspace:
    """The workspace with its leads; the outbox is empty. `is_tracked`: clicks on the mail's 41 links are told."""
    for name, content in {f"emails/newsletter/{part}": text for part, text in EMAIL.items()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "sequences").mkdir()
    (folder / "sequences" / "letters.yaml").write_text(SEQUENCE)
    (folder / "scoring.yaml").write_bytes(orjson.dumps(world.model()))
    sender = {"name": "Warmline", "email": "hello@warmline.example", "postal_address": "1 Example Street, Springfield"}
    given: dict[str, Any] = {
        "database_url": database_url,
        "base_url": "https://go.example.com",
        "smtp": smtp,
        "sender": sender,
        "tracking": {"clicks": is_tracked},
    }
    given["dkim"] = [{"selector": "bench"}]
    (folder / "warmline.yaml").write_bytes(orjson.dumps(given))
    opened = Workspace.open(folder)
    account = (
        "INSERT INTO accounts (id, key, name, attributes, created_at, recorded_at) VALUES"
        " (1, 'northwind', 'Northwind', '{}', 0, 0)"
    )
    names = ("id", "account_id", "email", "stage", "stage_at", "attributes", "created_at", "recorded_at")
    rows = [
        (i, 1, f"ana.lovelace{i}@company{i % 997}.example", "lead", at, _with_name(data), at, at)
        for i, _, data, at in world.leads(leads)
    ]
    with opened.database.write() as connection:
        connection.exec_driver_sql(account)
        staging.insert(connection, Lead, names, rows)
    return opened


def sign_with(key: rsa.RSAPrivateKey) -> None:
    """Let every mail of this process be signed by `key`."""
    kind = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    os.environ["WARMLINE_DKIM_KEY_BENCH"] = pem.decode()


def _with_name(data: str) -> str:
    return orjson.dumps({**orjson.loads(data), "first_name": "Zoë"}).decode()


def fill(opened: Workspace, leads: int, entry: int, now: Micros) -> None:
    """Put one message per lead into the outbox, through enrolments (the `entry`-th of each) and the step of nurture."""
    sequence = opened.sequences["letters"]
    with opened.database.write() as connection:
        given = ("sequence", sequence.name, sequence.digest(), sequence.content())
        version = versions.activate(connection, *given, now - DAY)
        rows = [NewEnrolment(lead, sequence.name, entry, version) for lead in range(1, leads + 1)]
        enrolments.begin(connection, rows, now)
    counts = nurture(opened, now)
    if counts["intended"] != leads:
        raise AssertionError(f"{counts['intended']} messages for {leads} leads")
