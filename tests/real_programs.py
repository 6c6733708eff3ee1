"""Programs of the system that a test needs: where one is missing the test is left out loudly, and fails under CI."""

from __future__ import annotations

import os
import shutil

import pytest

SYSTEM = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin"])
"""Servers stand outside a user's PATH."""


def found(program: str) -> str | None:
    """The path of a program, or None where it is not installed."""
    return shutil.which(program, path=SYSTEM)


def needed(*programs: str) -> None:
    """Leave the test out where a program is not installed; fail where `CI=true`, for there it must be."""
    if missing := [program for program in programs if found(program) is None]:
        left_out(f"not installed: {', '.join(missing)}")


def left_out(reason: str) -> None:
    """Leave the test out, saying why; fail where `CI=true`."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; with CI=true this test must run", pytrace=False)
    pytest.skip(f"LEFT OUT: {reason}")
