"""All that a process of a test may import, imported once before the first is forked (see tests.forks)."""

import gc
import importlib
import pkgutil

import cli
import flows
import models
import tasks
import web

LAZY = ("sklearn.linear_model", "scipy.sparse")
"""What one command imports when it is called, in two seconds."""
ALONE = {"flows.server_process", "flows.watcher_process"}
"""Programs of their own, which no command imports."""


def everything() -> None:
    """Import every module of the house but those that do their work when they are imported."""
    for package in (cli, flows, models, tasks, web):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations." not in module.name and module.name not in ALONE:
                importlib.import_module(module.name)
    for name in LAZY:
        importlib.import_module(name)
    gc.freeze()  # a collection would write to, and so copy, all the memory that is shared with the children


try:
    everything()
except ImportError as error:  # which the fork server would pass over in silence
    raise RuntimeError(f"no process can be forked: {error}") from error
