"""Pages as a browser draws them: its policy lets our style in, by day and by night, on the smallest phone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from models.database import Database
from models.rules.tokens import PREFERENCES, Unsubscription
from tests.consent_world import ADA, ConsentWorld
from tests.real_programs import found, needed
from web.app import application
from web.service import serving

SMALLEST = "320,640"


def drawn(address: str, file: Path, *words: str) -> bytes:
    """The picture that headless Chromium takes of the page."""
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--hide-scrollbars",
        "--disable-extensions",
    ]
    own = [f"--user-data-dir={file.parent / 'profile'}", f"--window-size={SMALLEST}", f"--screenshot={file}"]
    subprocess.run(
        [str(found("chromium")), *quiet, *own, *words, address], check=True, capture_output=True, timeout=120
    )
    return file.read_bytes()


@pytest.mark.feature("N6")
def test_chromium_draws_the_preference_page_in_our_style_by_day_and_by_night(tmp_path: Path) -> None:
    needed("chromium")
    world = ConsentWorld(tmp_path / "workspace", Database(f"sqlite:///{tmp_path / 'w.db'}"), require="none")
    world.database.migrate()
    world.did("page_view")
    token = Unsubscription(world.digest(ADA), "<mailed@go.example>").token(world.workspace.tokens, PREFERENCES)
    with serving(application(world.workspace, clock=lambda: world.now), "127.0.0.1", 0) as address:
        page = f"{address}/{PREFERENCES}/{token}"
        by_day = drawn(page, tmp_path / "day.png")
        by_night = drawn(page, tmp_path / "night.png", "--blink-settings=preferredColorScheme=0")
    world.database.close()
    # Were the style not the one that the page's policy names, both would be black on white.
    assert len(by_day) > 5_000 and by_day != by_night
