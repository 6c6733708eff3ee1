"""Settings: defaults < file < environment < command line; secrets only by environment or a file it names."""

from pathlib import Path

import pytest

from models.documents import ConfigurationError
from models.settings import load_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "warmline.yaml"
    path.write_text(text)
    return path


@pytest.mark.feature("O5")
def test_each_layer_wins_over_the_one_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "smtp: {host: file.example, port: 26, tls: starttls, connections: 2}\n")
    monkeypatch.setenv("WARMLINE_SMTP__PORT", "27")
    monkeypatch.setenv("WARMLINE_SMTP__CONNECTIONS", "3")
    smtp = load_settings(path, {"smtp": {"connections": 5}}).smtp
    assert (smtp.host, smtp.port, smtp.connections, smtp.tls) == ("file.example", 27, 5, "starttls")


def test_a_secret_in_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"warmline.yaml:2: smtp.password: a secret never stands"):
        load_settings(written(tmp_path, "smtp:\n  password: hunter2\n"))


def test_a_secret_comes_from_the_file_that_a_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("s3cret\n")
    monkeypatch.setenv("WARMLINE_SECRET_KEY_FILE", str(tmp_path / "key"))
    settings = load_settings(written(tmp_path, ""))
    assert settings.secret_key is not None
    assert settings.secret_key.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)


def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMLINE_SMTP__PORT", "many")
    with pytest.raises(ConfigurationError, match="WARMLINE_SMTP__PORT: found 'many'"):
        load_settings(written(tmp_path, ""))


def test_an_unknown_time_zone_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="time_zone: found 'Europe/Berlni'"):
        load_settings(written(tmp_path, "time_zone: Europe/Berlni\n"))


def test_a_missing_secret_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMLINE_SMTP__PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="WARMLINE_SMTP__PASSWORD_FILE"):
        load_settings(written(tmp_path, ""))


def test_a_mistake_on_the_command_line_names_its_word(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--set smtp\.port: found 'abc'"):
        load_settings(written(tmp_path, "smtp: {port: 1025}\n"), {"smtp": {"port": "abc"}})


def test_an_unknown_variable_is_told_with_the_nearest_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARMLINE_SMTP__PROT", "1")
    with pytest.raises(ConfigurationError, match=r"WARMLINE_SMTP__PROT: unknown field — did you mean 'port'"):
        load_settings(written(tmp_path, ""))


def test_a_sender_that_is_no_address_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"warmline.yaml:2: sender.email: .*no `@`"):
        load_settings(written(tmp_path, "sender:\n  email: maya\n"))
