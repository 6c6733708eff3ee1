"""Mail that leaves signed, as it arrives; and what is said of keys that cannot sign."""

from __future__ import annotations

import subprocess
from pathlib import Path

import dkim
import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from cli.sink import start_sink
from models.documents import ConfigurationError
from models.rules.dkim import Signer, record
from models.workspace import Workspace
from tasks.delivery import deliver_batch
from tests.mail_world import alert, fill, make_workspace, nurture, wall
from tests.real_programs import found, needed


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, private in (
        ("MAIL", rsa.generate_private_key(65537, 2048)),
        ("MAIL_ED", ed25519.Ed25519PrivateKey.generate()),
    ):
        form = serialization.PrivateFormat.PKCS8
        pem = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        file = tmp_path / f"{name}.pem"
        file.write_bytes(pem)
        monkeypatch.setenv(f"WARMLINE_DKIM_KEY_{name}_FILE", str(file))


def signing(tmp_path: Path, port: int, block: str = "[{selector: mail}, {selector: mail-ed}]") -> Workspace:
    make_workspace(tmp_path, "sqlite:///w.db", port)
    with (tmp_path / "warmline.yaml").open("a") as file:
        file.write(f"dkim: {block}\n")
    return Workspace.open(tmp_path)


async def test_what_arrives_holds_two_signatures_over_what_people_see(keys: None, tmp_path: Path) -> None:
    with start_sink() as sink:
        workspace = signing(tmp_path, sink.port)
        now = wall()
        content = ".a line that begins with a dot\n..and two  \n\n\n"
        fill(workspace, [nurture(1, now, payload={"lead": {"name": f"Zoë {content}"[:4]}}), alert(2, now)], now)
        assert (await deliver_batch.fn(str(tmp_path), now))["sent"] == 2
    records = {f"{one.name}.".encode(): one.value.encode() for one in map(record, workspace.dkim_keys)}
    assert len(records) == 2
    for received in sink.received:
        seen = dkim.DKIM(received.content)
        assert all(seen.verify(index, dnsfunc=lambda name, timeout=5: records.get(name)) for index in (0, 1))
        names = received.message.get_all("DKIM-Signature")
        assert names is not None
        assert [("a=rsa-sha256" in name, "a=ed25519-sha256" in name) for name in names] == [
            (True, False),
            (False, True),
        ]
        if "List-Unsubscribe" in received.message:
            assert all("list-unsubscribe:" in "".join(name.split()) for name in names)
            assert all("list-unsubscribe-post:" in "".join(name.split()) for name in names)
    workspace.database.close()


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("[{selector: other}]", "WARMLINE_DKIM_KEY_OTHER: not set, nor WARMLINE_DKIM_KEY_OTHER_FILE"),
        ("[{selector: mail, domain: example.com}]", "dkim.0.domain"),
        ("[{selector: mail}, {selector: mail}]", "dkim.1.selector"),
    ],
)
def test_a_key_that_is_not_there_or_not_ours_is_told_by_its_place(
    keys: None, tmp_path: Path, block: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _ = signing(tmp_path, 25, block).dkim_keys
    assert said in str(caught.value).replace("[", ".").replace("]", "")
    assert "warmline.yaml:" in str(caught.value) or "WARMLINE" in said


def test_what_is_no_key_is_told_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMLINE_DKIM_KEY_MAIL", "nothing of the kind")
    workspace = signing(tmp_path, 25, "[{selector: mail}]")
    with pytest.raises(ConfigurationError, match="WARMLINE_DKIM_KEY_MAIL: found no PEM") as caught:
        _ = workspace.dkim_keys
    assert "nothing of the kind" not in str(caught.value)
    assert any("found no PEM" in str(problem) for problem in workspace.check())


def test_the_record_to_publish_is_printed(keys: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cli import session
    from cli.dkim_record import dkim_record

    workspace = signing(tmp_path, 25)
    session.begin(tmp_path, [])
    dkim_record(as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "mail._domainkey.warmline.example.",
        "mail-ed._domainkey.warmline.example.",
    ]
    dkim_record(as_json=True)
    told = orjson.loads(capsys.readouterr().out)["records"]
    assert [one["value"] for one in told] == [record(key).value for key in workspace.dkim_keys]


def test_opendkim_accepts_both_signatures(keys: None, tmp_path: Path) -> None:
    needed("opendkim")
    workspace = signing(tmp_path, 25)
    mail = (
        b"From: a@warmline.example\r\nTo: b@example.net\r\nSubject: hi  you\r\nDate: x\r\n\r\n.a  \t line \r\n\r\n\r\n"
    )
    (tmp_path / "mail.eml").write_bytes(Signer(workspace.dkim_keys).sign(mail) + mail)
    records = "".join(f"{one.name} {one.value}\n" for one in map(record, workspace.dkim_keys))
    (tmp_path / "dns.txt").write_text(records)
    lines = ("Mode v", f"TestDNSData file:{tmp_path}/dns.txt", "Syslog no", "AlwaysAddARHeader yes", "AuthservID us")
    (tmp_path / "opendkim.conf").write_text("\n".join(lines) + "\n")
    command = [str(found("opendkim")), "-x", "opendkim.conf", "-t", "mail.eml", "-vvv"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    verdicts = [line.strip() for line in (said.stdout + said.stderr).splitlines() if "dkim=" in line]
    assert [verdict.split()[0] for verdict in verdicts] == ["dkim=pass", "dkim=pass"]
    assert ["a=rsa-sha256" in verdicts[0], "a=ed25519-sha256" in verdicts[1]] == [True, True]
