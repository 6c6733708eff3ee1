"""The OpenAPI document and what the collector really answers, held against each other by Schemathesis."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.collecting_world import served
from tests.commands import warmline


@pytest.mark.torture
@pytest.mark.feature("I2")
@pytest.mark.parametrize("auth", [True, False])
def test_schemathesis_finds_nothing(tmp_path: Path, auth: bool) -> None:
    with served(tmp_path / "site", "sqlite:///warmline.db") as site:
        key = warmline("keys", "add", "website", folder=site.root).stdout.strip()
        given = ["--auth", f"{key}:"] if auth else []
        words = ["run", f"{site.url}/openapi.json", *given, "-n", "25", "--continue-on-failure", "--no-color"]
        done = subprocess.run(
            [Path(sys.executable).parent / "schemathesis", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-9_000:] + done.stderr
