"""Returned mail and `kill -9`: whoever takes it in may die anywhere, and it is taken in exactly once all the same."""

from __future__ import annotations

import imaplib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from models.workspace import Workspace
from tasks.mailbox import fetch_batch
from tasks.returned_mail import keep_mails, receive_batch
from tests import dovecot_server
from tests.real_programs import left_out, needed
from tests.returned_world import World, returning_workspace

TAKEN_IN = {
    "returned_mails": "state = 'done'",
    "refusals": "1 = 1",
    "suppressions": "reason LIKE 'bounced%'",
    "activities": "1 = 1",
    "messages": "bounced_at IS NOT NULL AND state = 'sent'",
}


def each_step_once(world: World, arrive: Callable[[bytes], None], take_in: Callable[[str], None], stride: int) -> int:
    """For a mail of its own each time, die before every `stride`-th step of `take_in` and run it again; the steps.

    A step is a statement that the database is asked, or a command that the mailbox is given. No files or databases
    are copied: what was taken in before must stay as it is.
    """
    folder, lives = str(world.workspace.root), 0
    while True:
        lives += 1
        arrive(world.made("postfix-unknown-user", lives, world.send(lives, state="unknown")))
        world.workspace.database.close()
        pid = os.fork()
        if not pid:
            _until(1 + (lives - 1) * stride, take_in, folder)
        exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert exit_code in (0, 9)
        take_in(folder)
        world.workspace = Workspace.open(Path(folder))
        query = "SELECT count(*) FROM {} WHERE {}"
        counts = {table: world.rows(query.format(table, which))[0][0] for table, which in TAKEN_IN.items()}
        assert counts == dict.fromkeys(TAKEN_IN, lives), f"killed before step {1 + (lives - 1) * stride}"
        assert world.rows("SELECT count(*) FROM returned_mails WHERE state <> 'done'") == [(0,)]
        if exit_code == 0:
            return lives * stride


def _until(steps: int, take_in: Callable[[str], None], folder: str) -> None:
    """In a child: take in, and die like `kill -9` before the step of this number; 0 if there are fewer."""
    done = 0

    def count(*_: Any) -> None:
        nonlocal done
        done += 1
        if done >= steps:
            os._exit(9)

    command = imaplib.IMAP4._command  # type: ignore[attr-defined]

    def counted(server: imaplib.IMAP4, *words: Any) -> Any:
        count()
        return command(server, *words)

    imaplib.IMAP4._command = counted  # type: ignore[attr-defined]
    opened = Workspace.open(Path(folder)).database
    event.listen(type(opened.engine), "before_cursor_execute", count)
    opened.close()
    try:
        take_in(folder)
        os._exit(0)
    finally:
        os._exit(70)


@pytest.mark.feature("N7")
def test_killed_at_any_statement_and_run_again_a_mail_is_taken_in_once(tmp_path: Path, database_url: str) -> None:
    world = World(returning_workspace(tmp_path, database_url))
    arrived: list[bytes] = []

    def take_in(folder: str) -> None:
        opened = Workspace.open(Path(folder))
        keep_mails(opened, [(arrived[-1], ())], "file", world.now)  # whoever was not told so hands it over again
        opened.database.close()
        receive_batch.fn(folder, world.now)

    assert each_step_once(world, arrived.append, take_in, stride=3) > 10
    world.workspace.database.close()


@pytest.mark.feature("N7")
def test_killed_at_any_command_to_the_mailbox_or_statement_a_mail_is_taken_in_once(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("dovecot", "doveadm")
    if os.geteuid() != 0:
        left_out("Dovecot with a configuration of its own can only be started by root")
    monkeypatch.setenv("WARMLINE_MAILBOX__PASSWORD", dovecot_server.PASSWORD)
    (tmp_path / "w.db").write_bytes(sqlite_template.read_bytes())
    with dovecot_server.running() as server:
        given = f"mailbox: {{host: 127.0.0.1, port: {server.port}, tls: none, username: b, processed: Done}}\n"
        world = World(returning_workspace(tmp_path, f"sqlite:///{tmp_path}/w.db", settings=given))

        def take_in(folder: str) -> None:
            fetch_batch.fn(folder, world.now)
            receive_batch.fn(folder, world.now)

        assert each_step_once(world, lambda mail: server.put([mail]), take_in, stride=4) > 12
        assert (server.count(), server.count("Done") > 3) == (0, True)
        world.workspace.database.close()
