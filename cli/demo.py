"""`warmline demo`: a seeded world through the whole chain, over simulated weeks, against a real SMTP server of its own.

Decides what a newcomer sees. It uses what everybody uses: a workspace made from a playbook, files dropped into its
inbox, the same flows run by Prefect. Then cli.demo_story tells what happened.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import init, session, sink
from models.errors import UsageError

if TYPE_CHECKING:
    from cli.demo_world import Slice
    from models.workspace import Workspace

MARKER = "DEMO.md"
KEPT = ".warmline"
"""Prefect's own database: making a new one costs more than all the flows of the demo."""
SEED = 7
_NOTE = """\
This workspace was made by `warmline demo` and is made anew by the next one: edit a copy.
The mail that was "sent" is in `sink/`, the world's files are in `inbox/`.
"""


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo's workspace is made anew.")] = Path("demo-workspace"),
    seed: Annotated[int, typer.Option(help="Another seed makes another world.")] = SEED,
) -> None:
    """Make a small world, run the chain over its 90 days through Prefect, and show what happened. Ends by itself."""
    from cli import demo_story, demo_world

    make_workspace(folder)
    with sink_process(folder / "sink") as port:
        os.environ["WARMLINE_SMTP__PORT"] = str(port)
        session.begin(folder, [])
        workspace = session.programme()
        pieces = list(demo_world.slices(seed))
        play(workspace, pieces)
    demo_story.tell(workspace, folder / "sink", pieces[-1].at)


def make_workspace(folder: Path) -> None:
    """A fresh workspace in `folder`. UsageError if something is there that no demo made."""
    if folder.exists() and not (folder / MARKER).exists():
        raise UsageError(f"{folder} exists and was not made by a demo: name another folder, `warmline demo FOLDER`")
    if folder.exists():
        for path in folder.iterdir():
            if path.name != KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(_NOTE, encoding="utf-8")
    init.make(folder, "mql-sql")


@contextlib.contextmanager
def sink_process(store: Path) -> Iterator[int]:
    """A mail sink in a process of its own, as a real relay would be; its port. It ends with this process, always."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_keep_mail, args=(store, its), name="mail sink")
    process.start()
    its.close()
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join()


def _keep_mail(store: Path, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both: the sender ends first
    with sink.start_sink(folder=store) as running:
        pipe.send(running.port)
        pipe.poll(None)  # until the other end is closed, by hand or by the kernel


def play(workspace: Workspace, pieces: Sequence[Slice]) -> None:
    """Drop each slice of the world into the inbox and run the chain as of its instant, with a progress bar."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from flows.server import server_for_a_run

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=session.err) as progress, server_for_a_run(workspace.root) as server:
        bar = progress.add_task("starting Prefect", total=None)
        from flows.chain import ServerLostError, complete, run_chain, settle
        from flows.schedules import CHAIN

        api_url = server.ready()
        progress.update(bar, total=len(pieces) * len(CHAIN))

        async def work() -> None:
            try:
                for piece in pieces:
                    drop(workspace.root / workspace.settings.inbox, piece)

                    def begun(flow: str, day: str = f"{piece.at:%d %b}") -> None:
                        progress.update(bar, advance=1, description=f"{day}  {flow.replace('_', ' '):<17}")

                    await run_chain(workspace.root, api_url, now=piece.at, begun=begun)
            finally:
                if not await settle():
                    session.leave_at_once()

        try:
            complete(server, work())
        except ServerLostError:
            session.leave_at_once()
            raise


def drop(inbox: Path, piece: Slice) -> None:
    """Put the slice's files into the inbox; empty ones are left out."""
    for name, content in piece.files.items():
        if content:
            path = inbox / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
