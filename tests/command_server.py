"""Runs `netc` commands for the tests, each in a forked process, because a new one would first import for seconds.

This process has imported what commands import when they need it, and has done what every process does once: parse the
library, compile the words of kernels, find fonts. None of it depends on the environment of a command. The process reads
one command per line, as JSON: arguments, folder, environment, the files for the output, and modules to import before it
forks. It writes the exit status of each.
"""

import contextlib
import gc
import io
import json
import os
import pkgutil
import sys
from importlib import import_module

import polars  # noqa: F401  as commands that read data do
import short_bounds

import netc
from netc.commands.main import console
from netc.commands.table import app_of
from netc.compiler.elaborate.library import library_spans
from netc.compiler.targets.cpu.compile import compile_kernel
from netc.compiler.targets.cpu.source import KernelSource
from netc.compiler.targets.machine import host
from netc.reference import entries

# Packages that netc's modules import when a command needs them. Not `onnxruntime`: it starts a thread, for which a
# forked process would wait for ever when it exits.
LATER = ("networkx", "optuna", "cmaes", "typer._adapters")
STARTS_MPI = ("netc.runtime.distributed.mpi", "netc.runtime.distributed.mpi_exchange")


def preload() -> None:
    """Imports what commands import when they need it, and fills what netc's modules keep in memory.

    Modules that need a package of an extra (`onnx`, `pytest`) are left out where that package is not installed, and
    those that start MPI always: what forks from this process would share its connections.
    """
    modules = [module.name for module in pkgutil.walk_packages(netc.__path__, "netc.")]
    for name in (*modules, *LATER):
        if "__main__" in name or name in STARTS_MPI:  # the first would run a command
            continue
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] == "netc":
                raise
    assert "mpi4py.MPI" not in sys.modules, "a module that starts MPI was imported: name it in STARTS_MPI"
    assert "onnxruntime" not in sys.modules, "a forked process cannot exit with what onnxruntime began"
    with contextlib.redirect_stdout(io.StringIO()):
        app_of()(["check", "--help"], standalone_mode=False)  # Typer imports what it needs; no plug-in is looked for
    library_spans()
    entries()  # of the reference: parses all of the library
    compile_words()


def compile_words() -> None:
    """Compiles a kernel with the most common words, and imports what that needs."""
    words = ("exp_f32", "log_f32", "tanh_f32", "sigmoid_f32")
    lines = [f"    store_f32_1(p1, i, {word}(load_f32_0(p0, i)))\n" for word in words]
    compile_kernel(KernelSource("def kernel(p0, p1, i):\n" + "".join(lines), 3), host())


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
    added = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder not in sys.path]
    sys.path[:0] = added
    for folder in filter(os.path.isdir, added):  # its modules take precedence over those that are imported already
        forget({name.partition(".")[0] for name in os.listdir(folder)})
    sys.argv = ["netc", *request["arguments"]]


def forget(packages: set[str]) -> None:
    """Lets the next import of one of these packages load it again."""
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]


def serve() -> None:
    """Serves until the input ends. A forked child leaves through `console`."""
    sys.path.pop(0)  # the folder of the tests, which commands do not have on their path
    preload()
    short_bounds.measure_once()
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # as netc does before it imports MLflow, which a test may ask for
    gc.collect()
    gc.freeze()  # or a collection in a child would write to all memory that it shares with this process, and so copy it
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in requests:
        request = json.loads(line)
        for name in request["imports"]:
            import_module(name)
        child = os.fork()
        if child == 0:
            become(request)
            console()
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    serve()
