"""Runs `netc` commands for the tests, each in a forked process, because importing netc anew takes a second.

This process has imported all of netc that does without Numba, and done nothing else. It reads one command per line, as
JSON: arguments, folder, environment, and the files for the output. It writes the exit status of each.
"""

import json
import os
import pkgutil
import sys
from importlib import import_module

import polars  # noqa: F401  as commands that read data do

import netc
from netc.commands.main import main
from netc.commands.table import app_of

# modules that run a command, or that import Numba
_SKIPPED = (
    "__main__",
    "netc.testing",
    "targets.cpu.jit",
    "targets.cpu.math",
    "targets.cpu.memory",
    "targets.cpu.sums",
    "targets.cpu.tile",
)


def preload() -> None:
    """Imports netc's modules, which commands import when they need them.

    Modules that need a package of an extra (`onnx`, `pytest`) are left out where that package is not installed.
    """
    for module in pkgutil.walk_packages(netc.__path__, "netc."):
        if any(name in module.name for name in _SKIPPED):
            continue
        try:
            import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == "netc":
                raise
    app_of()


def become(request: dict) -> None:
    """Turns this process into that of a command."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["stdout"], os.O_WRONLY),
        (2, request["stderr"], os.O_WRONLY),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.path[:0] = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder not in sys.path]
    sys.argv = ["netc", *request["arguments"]]


def serve() -> None:
    """Serves until the input ends. A forked child leaves through `main`, which raises SystemExit."""
    sys.path.pop(0)  # the folder of the tests, which commands do not have on their path
    preload()
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in requests:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            main()
            sys.exit()
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    serve()
