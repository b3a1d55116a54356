"""The search of a study by Optuna: which values each trial has, and which trials are given up.

Only this file and importance.py know Optuna. The same calls give the same answers: a search begins anew in a journal of
its own, and whoever goes on with a study repeats the calls up to there. The journal is for the tools of Optuna, such as
optuna-dashboard, and netc does not read it.
"""

import contextlib
import copy
import importlib
import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from netc.dsl.diagnostics import fault
from netc.dsl.quoting import json_text
from netc.dsl.source import Span
from netc.runtime.runs.run_info import Constant, Scalar
from netc.runtime.studies.declarations import Chosen, StudySpec
from netc.runtime.studies.space import Choice, Domain, Values, grid, is_varied


class Outcome(Enum):
    """The outcome of a trial."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


def require_optuna(span: Span) -> None:
    """Raises E1011 if Optuna, or a package that one of its samplers needs, is not installed."""
    try:
        for package in ("optuna", "cmaes", "scipy"):
            importlib.import_module(package)
    except ImportError as error:
        title = f"a study needs the package `{error.name}`"
        fault("E1011", title, span, "it is not installed", hint='pip install "netc[study]"')


class Search:
    """The trials of a study so far. `epochs` is the number of epochs of the file."""

    def __init__(self, spec: StudySpec, epochs: int, journal: Path, name: str) -> None:
        import optuna

        self.spec, self.trials = spec, list[Any]()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        journal.unlink(missing_ok=True)
        with _quiet():
            self._study = optuna.create_study(
                storage=_storage(journal),
                study_name=name,
                directions=["maximize" if better.is_higher else "minimize" for better in spec.compare],
                pruner=_pruner(spec.prune, epochs),
            )

    def ask(self, count: int) -> list[Values]:
        """The values of the next trials, at most `count`; fewer at the end of a grid."""
        first = len(self.trials)
        with _quiet():
            if self.spec.search.name == "grid":
                chosen = [*itertools.islice(grid(self.spec.space), first, first + count)]
                for values in chosen:
                    self._study.enqueue_trial({name: stored(value) for name, value in values.items()})
                count = len(chosen)
            self._study.sampler = _sampler(self.spec, first)
            return [self._ask() for _ in range(count)]

    def _ask(self) -> Values:
        trial, values = self._study.ask(), dict[str, Constant]()
        for varying in self.spec.space:
            if is_varied(varying, self.spec.space, values):
                values[varying.name] = _suggest(trial, varying.name, varying.domain)
        self.trials.append(trial)
        return values

    def gives_up(self, number: int, epoch: int, value: float) -> bool:
        """Whether a trial with this value after `epoch` epochs is not worth going on with."""
        with _quiet():
            self.trials[number].report(value, epoch)
            return bool(self.trials[number].should_prune())

    def tell(self, number: int, outcome: Outcome, values: Sequence[float] = ()) -> None:
        """Ends a trial. Only a complete one has values."""
        from optuna.trial import TrialState

        state = {
            Outcome.COMPLETE: TrialState.COMPLETE,
            Outcome.PRUNED: TrialState.PRUNED,
            Outcome.FAILED: TrialState.FAIL,
        }[outcome]
        with _quiet():
            self._study.tell(self.trials[number], list(values) if outcome is Outcome.COMPLETE else None, state)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of Optuna about what is experimental in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _storage(journal: Path) -> Any:
    """Optuna's journal storage with a file that is written, but neither read again nor waited for: its own backend
    waits several times a trial until the disk has what it wrote."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import BaseJournalBackend

    class Journal(BaseJournalBackend):  # type: ignore[misc]  # a class of an untyped package
        def __init__(self) -> None:
            self.logs = list[dict[str, Any]]()

        def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
            return self.logs[log_number_from:]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            self.logs += copy.deepcopy(logs)
            with open(journal, "a", encoding="utf-8") as file:
                file.writelines(f"{json_text(log)}\n" for log in logs)

    return JournalStorage(Journal())


def _sampler(spec: StudySpec, first: int) -> Any:
    """The sampler of the round whose first trial has this number. Its seed depends on nothing else."""
    from optuna import samplers

    seed = int(np.random.SeedSequence([spec.seed, first]).generate_state(1)[0])
    numbers = spec.search.numbers
    match spec.search.name:
        case "tpe":
            return samplers.TPESampler(seed=seed, n_startup_trials=numbers["startup"], constant_liar=True)
        case "cmaes":
            size = numbers["population"] or None
            independent = samplers.RandomSampler(seed=seed)
            return samplers.CmaEsSampler(
                seed=seed, n_startup_trials=numbers["startup"], popsize=size, independent_sampler=independent
            )
        case "sobol":  # one sequence for all rounds
            independent = samplers.RandomSampler(seed=seed)
            return samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=spec.seed, independent_sampler=independent)
    return samplers.RandomSampler(seed=seed)


def _pruner(prune: Chosen | None, epochs: int) -> Any:
    from optuna import pruners

    if prune is None:
        return pruners.NopPruner()
    numbers = prune.numbers
    if prune.name == "asha":
        return pruners.SuccessiveHalvingPruner(numbers["min"], numbers["factor"])
    return pruners.MedianPruner(numbers["startup"], numbers["warmup"])


def _suggest(trial: Any, name: str, domain: Domain) -> Constant:
    if isinstance(domain, Choice):
        text = trial.suggest_categorical(name, [*map(stored, domain.values)])
        return next(value for value in domain.values if stored(value) == text)
    if domain.is_whole:
        step = int(domain.step or 1)
        return int(trial.suggest_int(name, int(domain.low), int(domain.high), step=step, log=domain.is_log))
    return float(trial.suggest_float(name, domain.low, domain.high, step=domain.step, log=domain.is_log))


def stored(value: Constant) -> Scalar:
    """A value as Optuna stores it, which has no lists: their text."""
    return repr(value) if isinstance(value, tuple) else value


def distribution_of(domain: Domain) -> Any:
    """The values of a setting, as Optuna stores them with a trial."""
    from optuna import distributions

    if isinstance(domain, Choice):
        return distributions.CategoricalDistribution([*map(stored, domain.values)])
    if domain.is_whole:
        low, high, step = int(domain.low), int(domain.high), int(domain.step or 1)
        return distributions.IntDistribution(low, high, log=domain.is_log, step=step)
    return distributions.FloatDistribution(domain.low, domain.high, log=domain.is_log, step=domain.step)


def rungs(prune: Chosen | None, epochs: int) -> Iterator[int]:
    """The numbers of epochs after which trials may be given up, without end; none if none is given up.

    `epochs` is the number of epochs of the file, of which the default of `every` is a tenth.
    """
    if prune is None:
        return
    numbers = prune.numbers
    if prune.name == "asha":
        for power in itertools.count():
            yield numbers["min"] * numbers["factor"] ** power
    every = numbers["every"] or math.ceil(epochs / 10)
    yield from itertools.count(numbers["warmup"] + every, every)
