"""netc: a small text language for neural networks, and the compiler that trains them fast on a CPU.

import netc
model = netc.load("examples/iris.net")
run = netc.train(model, out="runs/iris")
run.evaluate("test")
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netc.dsl.displayed import render_with as _render_with

if TYPE_CHECKING:
    from netc.compiler.backends import Backend
    from netc.compiler.ir.value import Operation
    from netc.compiler.model import Model
    from netc.compiler.targets.machine import Machine
    from netc.compiler.targets.target import Target
    from netc.dsl.diagnostics import Diagnostic, Fault
    from netc.estimators import Classifier as Classifier
    from netc.estimators import Regressor as Regressor
    from netc.runtime.metric_values import Row
    from netc.runtime.plugins import register
    from netc.runtime.program import Program
    from netc.runtime.runs.run import Run

__all__ = [
    "Diagnostic",
    "Fault",
    "Model",
    "Operation",
    "Program",
    "Run",
    "compile",
    "load",
    "open",
    "parse",
    "register",
    "train",
]

# The module of each name that is not a function of this file. It is imported when the name is first used, because a
# command such as `netc predict` or `netc fmt` needs few of them, and all together take a second.
_MODULES = {
    "Classifier": "netc.estimators",
    "Diagnostic": "netc.dsl.diagnostics",
    "Fault": "netc.dsl.diagnostics",
    "Model": "netc.compiler.model",
    "Operation": "netc.compiler.ir.value",
    "Program": "netc.runtime.program",
    "Regressor": "netc.estimators",
    "Run": "netc.runtime.runs.run",
    "register": "netc.runtime.plugins",
}
__version__: str
_ESTIMATORS = ("Classifier", "Regressor")  # need scikit-learn, and so are not in `__all__`


if not TYPE_CHECKING:  # or type checkers would accept every name

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version

            return version("netc")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in _ESTIMATORS and not _has_sklearn():
            raise ImportError(f'netc.{name} needs scikit-learn: pip install "netc[sklearn]"')
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_MODULES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, *(_ESTIMATORS if _has_sklearn() else ()), "__version__"])


def _has_sklearn() -> bool:
    from importlib.util import find_spec

    return find_spec("sklearn") is not None


def load(path: str | Path, **constants: Any) -> "Model":
    """Loads and checks a `.net` file. `constants` replace its `let` values. Raises Fault."""
    from netc.dsl.parser import parse_file
    from netc.runtime.arguments import require_kind
    from netc.runtime.loading import constants_of_call, load_model

    require_kind(
        path,
        (str, PathLike),
        "netc.load takes the path of a `.net` file",
        'netc.load("model.net"); netc.parse takes a text',
    )
    return load_model(parse_file(Path(path)), constants_of_call(constants), "netc.load(..., {}=...)")


def parse(text: str, name: str = "model.net", **constants: Any) -> "Model":
    """Checks a text. Relative paths in it start from the current folder. Raises Fault."""
    from netc.dsl.parser import parse
    from netc.dsl.source import Source
    from netc.runtime.arguments import require_kind
    from netc.runtime.loading import constants_of_call, load_model

    require_kind(text, str, "netc.parse takes the text of a model", "netc.load reads a file")
    require_kind(name, str, "`name` is the name of the text in messages", 'name="model.net"')
    return load_model(parse(Source(name, text)), constants_of_call(constants), "netc.parse(..., {}=...)")


def compile(
    model: "Model",
    seed: int | None = None,
    backend: "Backend | Target" = "cpu",
    batch: int | None = None,
    threads: int | None = None,
    machine: "Machine | str | None" = None,
) -> "Program":
    """Returns a program with new parameters.

    `backend="reference"` runs one operation at a time in NumPy; `"plan"` runs the plan of the machine code in Python,
    and checks every access. A `Target` object (compiler/targets/target.py) is used as it is. `batch` is the largest
    batch. `threads` defaults to the cores that the process may use; any number gives the same bits. `machine` is the
    target to compile for, such as "avx2" or "sse2:l2=64K" (see NETC_TARGET); by default this machine. Raises ValueError
    for less than 1 thread, for a machine beside a `Target` object, and for a machine whose code cannot run here.
    """
    from netc.runtime.program import Program

    return Program(model, seed, backend, batch, threads, machine)


def train(
    model: "Model",
    data: Mapping[str, Any] | None = None,
    out: str | Path = "runs/model",
    epochs: int | None = None,
    threads: int | None = None,
    log: Sequence[str] = (),
    on_epoch: "Callable[[Row], object] | None" = None,
    progress: bool | None = None,
) -> "Run":
    """Trains a model on its data block, or on arrays by field name (on all samples: no part is held out).

    The run keeps the constants that the model was loaded with. If this is called in the main thread, SIGINT (Ctrl-C),
    SIGTERM and SIGHUP save a checkpoint and then have their usual effect: KeyboardInterrupt, the end of the process, or
    your own handler. `log` names the trackers that get the metrics of each epoch: "tensorboard", "mlflow", "csv".
    Raises ValueError for less than 1 epoch, and for another tracker.

    `on_epoch` is called after each epoch, once its checkpoint is saved, with the epoch's row of `run.metrics`. If it
    raises an exception, training ends with that, and the run can be opened or resumed. `progress` shows where training
    is: as curves in a notebook, as a bar in a terminal. By default that is so in interactive sessions, not in scripts.
    """
    from netc.compiler.model import Model
    from netc.dsl.structs import replace
    from netc.notebook.live import progress_in
    from netc.runtime.arguments import integer, kind_of, names_of, require_kind
    from netc.runtime.runs.starting import data_of_new_run, start_run
    from netc.runtime.trackers.tracker import require_trackers, tracked
    from netc.runtime.trainer import train as train_run
    from netc.runtime.training.checks import check_training

    require_kind(model, Model, "netc.train takes a model", 'netc.load("model.net") loads one')
    require_kind(out, (str, PathLike), "`out` is the path of a new run", 'out="runs/model"')
    log = names_of("log", log)
    require_trackers(log)
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"`on_epoch` is a function of the epoch's metrics, not {kind_of(on_epoch)}")
    if epochs is not None:
        epochs = integer("epochs", epochs)
        model = replace(model, train=replace(model.train, epochs=epochs))
    if data is not None:
        model = replace(model, data=None)
    dataset = data_of_new_run(model, Path(out), data)
    check_training(model, dataset)
    with progress_in(model, progress) as display:
        run = start_run(model, Path(out), model.overrides, dataset, threads)
        display.started(run)
        with tracked(run, log) as note:

            def epoch(row: "Row") -> None:
                note(row)
                display.epoch()
                if on_epoch is not None:
                    on_epoch(row)

            train_run(run, model.train.epochs, display.update, epoch)
    return run


def open(folder: str | Path, threads: int | None = None, plugins: Sequence[str] = ()) -> "Run":
    """Opens a run. `plugins` names the modules that it was trained with (`--plugin`), because a run imports nothing
    by itself. Raises Fault.
    """
    from netc.runtime.arguments import names_of, require_kind
    from netc.runtime.plugins import load as load_plugins
    from netc.runtime.runs.opening import open_run

    require_kind(folder, (str, PathLike), "netc.open takes the folder of a run", 'netc.open("runs/model")')
    load_plugins(names_of("plugins", plugins))
    return open_run(Path(folder), threads)


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext netc` in IPython or a notebook: defines `%%net`."""
    from netc.notebook.magic import define

    define(ipython)


def _html_of(value: object) -> str | None:
    """The HTML of a model, a run or predictions."""
    from netc.notebook.html import html_of

    return html_of(value)


_render_with(_html_of)
