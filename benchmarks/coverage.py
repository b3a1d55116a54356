"""The share of new samples that intervals and sets of 90 % contain: on generated tables, and on real ones in folds.

Not a time, but a promise: `python -m benchmarks --only coverage` shows that it is kept.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars

import netc
from benchmarks.settings import Settings
from netc.commands.terminal import table
from netc.runtime.data.stored import Array
from netc.runtime.program import Program
from netc.runtime.random import permutation

_REPEATS = 200
_FOLDS, _DIVISIONS = 5, 4
_TRAIN, _VALID, _TEST = 300, 200, 1000  # samples of a generated table
_EPOCHS = 20
_DATA = Path(__file__).parent.parent / "examples" / "data"

MODEL = """model {
  input x: float[WIDTH]
  target y: float
  h = x -> dense(16) -> tanh
  z = h -> dense(1) -> squeeze
  bounds = h -> dense(2)
  output guess = z
  output interval = conformal(z, y, 0.9)
  output between = conformal(bounds, y, 0.9)
  loss mse(z, y)
  loss pinball(bounds, y, [0.05, 0.95])
  metric coverage(interval, y)
  metric width = sharpness(interval, y)
  metric quantiles = coverage(between, y)
  metric width_of_quantiles = sharpness(between, y)
}
train {
  optimizer = adam(lr = 0.01)
  batch = 32
  epochs = EPOCHS
}
"""
DATA = """data {
  source = csv("table.csv")
  x = columns(COLUMNS) -> impute(median) -> standardize
  y = column("TARGET") -> standardize
  split = column("part")
}
"""
_METRICS = ("coverage", "width", "quantiles", "width_of_quantiles")

Law = Callable[[Array, np.random.Generator], Array]  # of a target, from three numbers for each sample
LAWS: dict[str, Law] = {
    "equal noise": lambda x, rng: x[:, 0] - x[:, 1] + 0.5 * rng.standard_normal(len(x)),
    "noise that grows with x": lambda x, rng: (
        np.sin(2 * x[:, 0]) + (0.1 + np.abs(x[:, 1])) * rng.standard_normal(len(x))
    ),
    "heavy tails, skewed": lambda x, rng: x[:, 0] * x[:, 1] + rng.standard_exponential(len(x)) ** 2,
}
TABLES = {"cars": "mpg", "diabetes": "progression", "wine": "color_intensity"}


def show(settings: Settings) -> None:
    """Prints a row for each table: the coverage of both kinds of intervals, and their mean widths."""
    del settings
    heads = ["table", "trainings", "covered", "width", "covered, quantiles", "width, quantiles"]
    rows = [heads, *_generated(), *_real()]
    table(rows, right=range(1, len(heads)))


def _row(name: str, metrics: Sequence[dict[str, float]]) -> list[str]:
    means = {metric: np.mean([row[metric] for row in metrics]) for metric in _METRICS}
    shown = [f"{means[metric]:.2%}" if i % 2 == 0 else f"{means[metric]:.3g}" for i, metric in enumerate(_METRICS)]
    return [name, str(len(metrics)), *shown]


def _generated() -> Iterator[list[str]]:
    """Trains on new samples of each law again and again, from the same parameters, by one compiled program."""
    program = netc.compile(netc.parse(MODEL.replace("WIDTH", "3").replace("EPOCHS", str(_EPOCHS))), threads=1)
    first = {name: array.copy() for name, array in program.persistent.items()}
    for name, law in LAWS.items():
        yield _row(name, [_trained(program, first, law, repeat) for repeat in range(_REPEATS)])


def _trained(program: Program, first: dict[str, Array], law: Law, repeat: int) -> dict[str, float]:
    """The metrics of new samples after a training on samples of a law."""
    rng = np.random.default_rng(repeat)
    for name, array in first.items():
        program.persistent[name][...] = array

    def fields(count: int) -> dict[str, Array]:
        x = rng.standard_normal((count, 3)).astype(np.float32)
        return {"x": x, "y": law(x, rng).astype(np.float32)}

    train, valid, test = (fields(count) for count in (_TRAIN, _VALID, _TEST))
    for epoch in range(_EPOCHS):
        program.steps(train, permutation(_TRAIN, repeat, epoch), epoch)
    program.refit(train, valid)
    return {name: value for name, value in program.evaluate(test).items() if isinstance(value, float)}


def _real() -> Iterator[list[str]]:
    """Trains on each real table with each fold as its test part; half of the rest is the validation part."""
    for name, target in TABLES.items():
        frame = polars.read_csv(_DATA / name / f"{name}.csv", infer_schema_length=None).drop_nulls(target)
        columns = [column for column in frame.columns if column != target and frame[column].dtype.is_numeric()]
        text = DATA.replace("COLUMNS", ", ".join(f'"{column}"' for column in columns)).replace("TARGET", target)
        text += MODEL.replace("WIDTH", str(len(columns))).replace("EPOCHS", str(2 * _EPOCHS))
        metrics: list[dict[str, float]] = []
        with tempfile.TemporaryDirectory() as folder:
            for division in range(_DIVISIONS):
                order = np.random.default_rng(division).permutation(len(frame))
                for fold in range(_FOLDS):
                    parts = np.full(len(frame), "train", object)
                    parts[order] = [_part(i, fold) for i in range(len(frame))]
                    metrics.append(_folded(Path(folder), frame.with_columns(part=polars.Series(parts.tolist())), text))
        yield _row(f"{name}, {_FOLDS} folds, {_DIVISIONS} times", metrics)


def _part(number: int, fold: int) -> str:
    """The part of a row by its number in a random order."""
    if number % _FOLDS == fold:
        return "test"
    return "valid" if number // _FOLDS % 2 == 0 else "train"


def _folded(folder: Path, frame: polars.DataFrame, text: str) -> dict[str, float]:
    """The metrics of the test part after a training."""
    frame.write_csv(folder / "table.csv")
    (folder / "table.net").write_text(text, encoding="utf-8")
    run = netc.train(netc.load(folder / "table.net"), out=folder / "run", threads=1)
    return {name: value for name, value in run.evaluate("test").items() if isinstance(value, float)}
