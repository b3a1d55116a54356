"""The trials of a study, round by round: all of a round are chosen, trained, given up and told in the order of numbers.

So the sequence of trials depends neither on how many are trained at a time, nor on which of them is done first. A study
that goes on repeats its rounds from the first one, and takes from its folder what was trained before.
"""

import math
import operator
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from msgspec import Struct, field

from netc.compiler.model import Model
from netc.dsl.structs import replace
from netc.runtime.studies.declarations import StudySpec
from netc.runtime.studies.results import Mean, mean_of
from netc.runtime.studies.search import Outcome, Search, rungs
from netc.runtime.studies.segments import Segment, SegmentResult
from netc.runtime.studies.space import Values, grid_size
from netc.runtime.studies.store import Clock, Reached, StudyFolder, Training

TrainAll = Callable[[Sequence[Segment], Callable[[int, SegmentResult], object]], object]
_MOST_COUNTED = 10_000  # combinations of a grid
_ALL = 1 << 40  # more epochs than any training has


class Trial(Struct):
    """A trial: its values, a training for each fold and seed, and its `outcome` once it has one.

    `values` are the means of the compared metrics over its trainings, as far as they were done.
    """

    number: int
    settings: Values
    trainings: list[Training]
    done: int = 0  # epochs at which trials may be given up, or their end
    outcome: Outcome | None = None

    @property
    def reached(self) -> list[Reached]:
        """The standing of each training when it was last looked at."""
        return [training.reached[min(self.done, len(training.reached)) - 1] for training in self.trainings]

    def means(self, spec: StudySpec) -> list[Mean]:
        """The mean of each compared metric over the trainings, with its standard error."""
        return [mean_of([reached.metrics[better.metric] for reached in self.reached]) for better in spec.compare]

    def error(self, spec: StudySpec) -> str | None:
        """Why the trial has no values."""
        for reached in self.reached:
            if reached.error is not None:
                return reached.error
            for better in spec.compare:
                if not math.isfinite(reached.metrics.get(better.metric, math.nan)):
                    return f"{better.metric} is not a number"
        return None

    @property
    def epochs(self) -> int:
        """The most epochs that a training was trained for."""
        return max(reached.epoch for reached in self.reached)


class Standing(Struct, frozen=True):
    """The progress of a study: the numbers of trials that have ended, were given up, are running and will be, and the
    number and the value of the best trial."""

    finished: int = 0
    pruned: int = 0
    running: int = 0
    total: int | None = None
    best: int | None = None
    best_value: float = math.nan


class Rounds(Struct):
    """The rounds of a study. `train_all` trains segments and says when each is done."""

    spec: StudySpec
    model: Model
    folder: StudyFolder
    search: Search
    train_all: TrainAll
    on_change: Callable[[Standing], object]
    finished: list[Trial] = field(default_factory=list)
    _complete: dict[frozenset[tuple[str, object]], Trial] = field(default_factory=dict)  # the first by its settings
    _rows: list[list[object]] = field(default_factory=list)  # of trials.csv
    _standing: Standing = field(default_factory=Standing)
    _started: float = field(default_factory=time.monotonic)

    def run(self) -> bool:
        """Trains all trials of the study. Returns whether it ended because of its time."""
        before = self.folder.clock()
        self._stand()
        has_ended_by_time = self._run(before)
        if len(self.finished) <= before.trials:  # the table that was there may be damaged
            self.folder.write_table(self._rows)
        return has_ended_by_time

    def _run(self, before: Clock) -> bool:
        while (count := self._next_count()) > 0:
            is_late = self._seconds(before) >= (self.spec.seconds or math.inf)
            if is_late and len(self.finished) >= max(before.trials, 1):
                return True
            settings = self.search.ask(count)
            if not settings:
                break
            self._round([self._trial(len(self.finished) + i, values) for i, values in enumerate(settings)])
            self._rows += table(self.spec, self.finished[len(self.finished) - len(settings) :])[bool(self._rows) :]
            if len(self.finished) > before.trials:  # others are in the folder already
                self.folder.write_table(self._rows)
                self.folder.set_clock(Clock(len(self.finished), self._seconds(before)))
        return False

    @property
    def total(self) -> int | None:
        """The number of trials that there will be, if it is known."""
        if self.spec.search.name != "grid":
            return self.spec.trials
        return grid_size(self.spec.space, self.spec.trials or _MOST_COUNTED)

    @property
    def has_tried_all(self) -> bool:
        """Whether the search is a grid, and every combination was tried."""
        done = len(self.finished)
        return self.spec.search.name == "grid" and grid_size(self.spec.space, done + 1) <= done

    def _next_count(self) -> int:
        return min(self.spec.round, (self.spec.trials or _ALL) - len(self.finished))

    def _seconds(self, before: Clock) -> float:
        return before.seconds + time.monotonic() - self._started

    def _trial(self, number: int, values: Values) -> Trial:
        first = self.model.train.seed
        folds: Sequence[int | None] = range(1, self.spec.folds + 1) if self.spec.folds is not None else (None,)
        seeds: Sequence[int | None] = range(first, first + self.spec.seeds) if self.spec.seeds > 1 else (None,)
        new = [Training(dict(values), fold, seed) for fold in folds for seed in seeds]
        trial = Trial(number, values, [self.folder.read(number, run, each) for run, each in enumerate(new)])
        earlier = self._complete.get(frozenset(values.items()))
        if earlier is not None:  # the same trainings would have the same bits
            for run, (training, before) in enumerate(zip(trial.trainings, earlier.trainings, strict=True)):
                if (training.reached, training.state) != (before.reached, None):
                    training.reached, training.state = list(before.reached), None
                    self.folder.write(number, run, training)
        return trial

    def _round(self, trials: Sequence[Trial]) -> None:
        """Trains the trials of a round to each epoch at which some may be given up, and then those that are left."""
        running = list(trials)
        for epoch in chain(rungs(self.spec.prune, self.model.train.epochs), [_ALL]):
            self._train(running, epoch)
            for trial in running:
                trial.done += 1
                trial.outcome = self._outcome(trial, epoch)
            running = [trial for trial in running if trial.outcome is None]
            if not running:
                break
        for trial in trials:
            assert trial.outcome is not None
            values = [mean.value for mean in trial.means(self.spec)] if trial.outcome is Outcome.COMPLETE else ()
            self.search.tell(trial.number, trial.outcome, values)
            self._forget_states(trial)
        self.finished += trials
        for trial in filter(_is_complete, trials):
            self._complete.setdefault(frozenset(trial.settings.items()), trial)
        self._stand()

    def _outcome(self, trial: Trial, epoch: int) -> Outcome | None:
        if trial.error(self.spec) is not None:
            return Outcome.FAILED
        if all(reached.is_over for reached in trial.reached):
            return Outcome.COMPLETE
        is_worse = self.search.gives_up(trial.number, epoch, trial.means(self.spec)[0].value)
        return Outcome.PRUNED if is_worse else None

    def _train(self, trials: Sequence[Trial], epoch: int) -> None:
        """Trains what is left of the trials up to an epoch."""
        left = [(trial, run) for trial in trials for run in _left(trial)]
        running = {trial.number: 0 for trial, _ in left}
        for trial, _ in left:
            running[trial.number] += 1
        segments = [_segment(trial.trainings[run], epoch) for trial, run in left]

        def take(number: int, result: SegmentResult) -> None:
            trial, run = left[number]
            training = trial.trainings[run]
            error = result.error.title if result.error is not None else None
            training.reached.append(Reached(result.epoch, dict(result.metrics), result.is_over, error))
            training.state = None if result.is_over else result.state
            self.folder.write(trial.number, run, training)
            running[trial.number] -= 1
            self._tell(sum(count > 0 for count in running.values()))

        if segments:
            self._tell(len(running))
            self.train_all(segments, take)

    def _forget_states(self, trial: Trial) -> None:
        """Removes what the trainings of a trial that was given up could go on from."""
        for run, training in enumerate(trial.trainings):
            if training.state is not None and trial.outcome is not None:
                training.state = None
                self.folder.write(trial.number, run, training)

    def _tell(self, running: int) -> None:
        self.on_change(replace(self._standing, running=running))

    def _stand(self) -> None:
        """Takes stock at the end of a round."""
        best = best_of(self.spec, self.finished)
        pruned = sum(trial.outcome is Outcome.PRUNED for trial in self.finished)
        number, value = (best.number, best.means(self.spec)[0].value) if best is not None else (None, math.nan)
        self._standing = Standing(len(self.finished), pruned, 0, self.total, number, value)
        self._tell(0)


def _left(trial: Trial) -> Iterator[int]:
    """The trainings that have to be trained before a trial can be looked at again."""
    for run, training in enumerate(trial.trainings):
        is_over = bool(training.reached) and training.reached[-1].is_over
        if len(training.reached) <= trial.done and not is_over:
            yield run


def _is_complete(trial: Trial) -> bool:
    return trial.outcome is Outcome.COMPLETE


def _segment(training: Training, epoch: int) -> Segment:
    return Segment(training.settings, epoch, training.fold, training.seed, training.state)


def best_of(spec: StudySpec, trials: Sequence[Trial]) -> Trial | None:
    """The complete trial that is best by the first compared metric; of equal ones by the next, and then the first."""
    return next(iter(ranked(spec, trials)), None)


def ranked(spec: StudySpec, trials: Sequence[Trial]) -> list[Trial]:
    """The complete trials, the best one first."""
    complete = [trial for trial in trials if _is_complete(trial)]
    return sorted(complete, key=lambda trial: (_costs(spec, trial), trial.number))


def front_of(spec: StudySpec, trials: Sequence[Trial]) -> list[Trial]:
    """The complete trials that no other one beats: none is at least as good in all metrics and better in one."""
    front = list[tuple[list[float], Trial]]()
    for trial in ranked(spec, trials):  # one that beats another comes before it
        costs = _costs(spec, trial)
        if not any(other != costs and all(map(operator.le, other, costs)) for other, _ in front):
            front.append((costs, trial))
    return sorted((trial for _, trial in front), key=lambda trial: trial.number)


def _costs(spec: StudySpec, trial: Trial) -> list[float]:
    """The compared metrics of a complete trial, lower ones better."""
    means = zip(spec.compare, trial.means(spec), strict=True)
    return [-mean.value if better.is_higher else mean.value for better, mean in means]


def table(spec: StudySpec, trials: Sequence[Trial]) -> list[list[object]]:
    """trials.csv: each trial with its values, and the compared metrics with their standard errors and of each training.

    A metric of a trial that was given up is the one that it had then.
    """
    names = [varying.name for varying in spec.space]
    metrics = [better.metric for better in spec.compare]
    several = (spec.folds or 1) * spec.seeds > 1
    heads: list[object] = ["trial", "state", *names]
    for metric in metrics:
        heads += [metric, f"{metric} error"] if several else [metric]
    heads += ["epochs", "message"]
    if several and trials:
        heads += [f"{metric} {_fold_and_seed(training)}" for metric in metrics for training in trials[0].trainings]
    return [heads, *(_row(spec, trial, names, several) for trial in trials)]


def _row(spec: StudySpec, trial: Trial, names: Sequence[str], several: bool) -> list[object]:
    assert trial.outcome is not None
    row: list[object] = [trial.number, trial.outcome.value, *(_cell(trial.settings.get(name)) for name in names)]
    error = trial.error(spec)
    for mean in trial.means(spec) if error is None else [Mean(math.nan, math.nan)] * len(spec.compare):
        row += map(_cell, (mean.value, mean.error) if several else (mean.value,))
    row += [trial.epochs, error]
    if several:
        row += [_cell(reached.metrics.get(better.metric)) for better in spec.compare for reached in trial.reached]
    return row


def _cell(value: object) -> object:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, tuple):
        return f"[{', '.join(str(_cell(inner)) for inner in value)}]"
    return repr(value) if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else value


def _fold_and_seed(training: Training) -> str:
    parts = {"fold": training.fold, "seed": training.seed}
    return " ".join(f"{name} {number}" for name, number in parts.items() if number is not None)
