"""A study as its plots show it: which trials are drawn, on which axes, in which order and colour."""

import math
from collections.abc import Sequence
from functools import cached_property

from msgspec import Struct

from netc.dsl.plural import counted
from netc.dsl.quoting import bounded
from netc.runtime.insight.drawing.plots import Mark
from netc.runtime.insight.drawing.scales import Categories, Scale, numbers_axis
from netc.runtime.runs.run_info import Constant
from netc.runtime.studies.declarations import StudySpec
from netc.runtime.studies.results import Mean
from netc.runtime.studies.rounds import Trial, front_of, ranked
from netc.runtime.studies.search import Outcome
from netc.runtime.studies.space import Range, Varying

MOST_DRAWN = 500  # trials


class View(Struct, frozen=True, dict=True):
    """The finished trials of a study. `drawn` are those that plots show: all of them, or the best ones of many."""

    spec: StudySpec
    trials: Sequence[Trial]

    @cached_property
    def ranked(self) -> list[Trial]:
        """The complete trials, the best one first."""
        return ranked(self.spec, self.trials)

    @cached_property
    def front(self) -> list[Trial]:
        """The trials that no other one beats in all metrics."""
        return front_of(self.spec, self.trials)

    @cached_property
    def drawn(self) -> list[Trial]:
        """The trials that plots show, the best one last, so that it lies above the others."""
        others = [trial for trial in self.trials if trial.outcome is not Outcome.COMPLETE]
        order = [*self.ranked, *others]
        return order[:MOST_DRAWN][::-1]

    @cached_property
    def means(self) -> dict[int, list[Mean]]:
        """The compared metrics of each trial that has not failed, by its number."""
        return {trial.number: trial.means(self.spec) for trial in self.trials if trial.error(self.spec) is None}

    @cached_property
    def _qualities(self) -> dict[int, int]:
        drawn = self.ranked[:MOST_DRAWN]
        last = max(1, len(drawn) - 1)
        return {trial.number: round(100 * (1 - position / last)) for position, trial in enumerate(drawn)}

    def mark(self, trial: Trial, is_long: bool = False) -> Mark:
        """The look of a trial's marks. `is_long` gives it a tooltip with all settings."""
        assert trial.outcome is not None
        kind = "winner" if self.ranked and trial is self.ranked[0] else trial.outcome.value
        title = self.described(trial) if is_long else f"trial {trial.number}: {self.values_text(trial)}"
        return Mark(kind, str(trial.number), title, self._qualities.get(trial.number))

    def described(self, trial: Trial) -> str:
        """A trial in a line: its number, how it ended, its values and its settings."""
        settings = ", ".join(f"{name} = {setting_text(value)}" for name, value in trial.settings.items())
        return f"trial {trial.number}: {self.values_text(trial)}; {settings}"

    def values_text(self, trial: Trial) -> str:
        """The compared metrics of a trial and how it ended, if it did not reach its end."""
        means = self.means.get(trial.number)
        if means is None:
            return f"failed, {bounded(trial.error(self.spec) or '', 100)}"
        named = zip(self.spec.compare, means, strict=True)
        ended = f", given up after {counted(trial.epochs, 'epoch')}" if trial.outcome is Outcome.PRUNED else ""
        return ", ".join(f"{better.metric} {mean_text(mean)}" for better, mean in named) + ended

    def metric_axis(self, number: int) -> Scale:
        """The axis of a compared metric, for all trials that are drawn."""
        return numbers_axis(
            self.means[trial.number][number].value for trial in self.drawn if trial.number in self.means
        )


def setting_axis(varying: Varying) -> Scale:
    """The axis of a setting: all of its values."""
    domain = varying.domain
    if isinstance(domain, Range):
        return numbers_axis((domain.low, domain.high), domain.is_log, domain.is_whole)
    return Categories([setting_text(value) for value in domain.values])


def on_axis(value: Constant, axis: Scale) -> Constant:
    """A value of a setting as its axis takes it."""
    return setting_text(value) if isinstance(axis, Categories) else value


def setting_text(value: Constant) -> str:
    """A value of a setting as the file has it, a float with four digits."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(setting_text, value))}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def mean_text(mean: Mean) -> str:
    """A metric, with its standard error if it has one."""
    error = error_text(mean)
    return f"{mean.value:.4g} {error}" if error else f"{mean.value:.4g}"


def error_text(mean: Mean) -> str:
    """The standard error of a metric; empty if it has none."""
    return "" if math.isnan(mean.error) else f"± {mean.error:.2g}"
