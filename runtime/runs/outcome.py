"""outcome.json: how the training of a run ended, and its metrics on the test part, for tables of runs."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from netc.dsl.quoting import json_text
from netc.dsl.storage.files import content_of
from netc.runtime.metric_names import single_numbers
from netc.runtime.metric_values import MetricValue
from netc.runtime.runs.checkpoint import write_whole
from netc.runtime.runs.run import Run
from netc.runtime.typed_json import parsed

OUTCOME = "outcome.json"


class Outcome(msgspec.Struct, kw_only=True):
    """The epochs that were done when training was over, and those `of` its settings; the `stopped` sentence if it ended
    before the last one; and the metrics of the test part, None where one was not a number.
    """

    epoch: int
    of: int
    stopped: str | None = None
    test: dict[str, float | None] = {}


def save_outcome(run: Run, stopped: str | None, tested: Mapping[str, MetricValue] | None) -> None:
    """Writes outcome.json of a run whose training is over. Raises E1001 if it cannot be written."""
    numbers = dict[str, float | None](single_numbers(tested or {}))
    outcome = Outcome(epoch=run.progress.epoch, of=run.model.train.epochs, stopped=stopped, test=numbers)
    write_whole(run.folder / OUTCOME, json_text(msgspec.to_builtins(outcome), indent=2).encode())


def read_outcome(folder: Path) -> Outcome | None:
    """The outcome of a training; None if it has not ended, or if the file is damaged."""
    try:
        outcome: Outcome = parsed(content_of(folder / OUTCOME), Outcome)
    except (OSError, ValueError):
        return None
    return outcome
