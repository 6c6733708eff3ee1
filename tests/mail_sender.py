"""A sender process for kill tests: delivers until the outbox of the workspace is empty, or it is killed."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from models.errors import DeliveryError
from models.workspace import Workspace
from tests.mail_world import rows, send_all


def main() -> None:
    workspace = Workspace.open(Path(sys.argv[1]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while any(row["state"] in {"queued", "leased", "sending"} for row in rows(workspace)):
        try:
            asyncio.run(send_all(workspace))
        except DeliveryError as error:
            sys.stdout.write(f"{error}\n")
        time.sleep(0.02)


main()
