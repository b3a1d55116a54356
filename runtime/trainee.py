"""A model in training, as the trainer sees it."""

from typing import Protocol

from netc.compiler.model import Model
from netc.runtime.data.dataset import Dataset
from netc.runtime.metric_values import MetricValues
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import Progress
from netc.runtime.runs.metrics import Metrics


class Trainee(Protocol):
    """A model in training: a run, which saves files in its folder, or a trial of a study, which has none.

    `metrics` has a row for each epoch that is done.
    """

    model: Model
    program: Program
    dataset: Dataset | None
    metrics: Metrics
    progress: Progress

    def evaluate(self, part: str) -> MetricValues:
        """Losses and metrics over a part of the data, in the data's units."""

    def save(self) -> None:
        """Saves the position in training, to go on from there."""

    def save_best(self) -> None:
        """Keeps the current parameters as those to use."""

    def load_best(self) -> None:
        """Loads the parameters that `save_best` kept, if the model's settings keep any."""

    def kept_epoch(self) -> int | None:
        """The epoch whose parameters are kept, None if there are none."""
