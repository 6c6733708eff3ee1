"""`python -m benchmarks [--size s|m] [--only NAME]`: prints the table of bars; exit code 1 if one is missed."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys

AREAS = ("ingest", "scoring", "routing", "nurture", "emails", "mail", "orchestration")
BY_THE_WALL = ("hot", "collector")
"""Run only when asked for: they measure what a person or a sender waits for, and take minutes of it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--size", choices=["xs", "s", "m"], default="s", help="xs: a look; s: the bars; m: ten times s")
    parser.add_argument(
        "--only", choices=(*AREAS, *BY_THE_WALL), action="append", help="run only this area (may be repeated)"
    )
    words = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; CPU time, medians\n")
    missed = 0
    for area in words.only or AREAS:
        for bar in importlib.import_module(f"benchmarks.{area}").run(words.size):
            print(bar, flush=True)
            missed += not bar.holds
    print(f"\n{missed} bars missed" if missed else "\nall bars hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
