"""Compares the runs of a sweep (`netc train --set width=8,16,32`): by the validation part, never by the test part."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netc.commands.terminal import number, say, table

if TYPE_CHECKING:
    from netc.compiler.model import Better
    from netc.runtime.metric_values import MetricValue
    from netc.runtime.runs.run import Run


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run of a sweep: the settings that it does not share with the others, and its metrics as `valid.loss`.

    `better` is the metric that chooses among the runs.
    """

    settings: Mapping[str, str]
    metrics: Mapping[str, float]
    better: "Better"


def outcome(settings: Mapping[str, str], run: "Run", tested: "Mapping[str, MetricValue] | None") -> Outcome:
    """The metrics of a trained run: those of its validation part, or else of its last epoch; and those of its test.

    What chooses is the metric of `keep`, or else the loss.
    """
    from netc.compiler.model import Better
    from netc.dsl.source import NOWHERE
    from netc.runtime.metric_names import watched

    values: dict[str, MetricValue] = {}
    if "valid" in run.load_data().parts:
        values |= {f"valid.{name}": value for name, value in run.evaluate("valid").items()}
    elif run.metrics:
        values |= {name: value for name, value in run.metrics[-1].items() if name.startswith("train.")}
    part = "valid" if "valid.loss" in values else "train"
    better = run.model.train.keep or Better(f"{part}.loss", False, NOWHERE)
    values |= {f"test.{name}": value for name, value in (tested or {}).items()}
    metrics = {
        name: value
        for name, value in values.items()
        if isinstance(value, float) and watched(name.partition(".")[2]) is None
    }
    return Outcome(settings, metrics, better)


def compare(outcomes: Sequence[Outcome]) -> None:
    """Prints the settings and metrics of each run as a table, and which run is best."""
    settings, columns = [*outcomes[0].settings], [*outcomes[0].metrics]
    rows = [[*settings, *columns]]
    for run in outcomes:
        values = (run.metrics.get(name) for name in columns)
        cells = (number(value) if value is not None else "" for value in values)
        rows.append([*(run.settings[name] for name in settings), *cells])
    table(rows, right=range(len(settings), len(rows[0])))
    better = outcomes[0].better
    chosen: Outcome | None = None
    for run in outcomes:
        value = run.metrics.get(better.metric, math.nan)
        if not math.isnan(value) and (chosen is None or better.improves(value, chosen.metrics[better.metric])):
            chosen = run
    if chosen is not None:
        names = ", ".join(f"{name} = {value}" for name, value in chosen.settings.items())
        say(f"best by {better.metric}: {names}")
    if better.metric.startswith("train."):
        say("without a validation part the runs are compared by what they were trained on: `valid = 0.1` in the split")
