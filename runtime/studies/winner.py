"""The winner of a study: a run with its settings, as `netc train` makes it, and its metrics on the test part.

Only this file reads the test part. It is evaluated once, after every choice was made.
"""

import math
from collections.abc import Callable
from typing import Any

from netc.runtime.insight.curves import draw
from netc.runtime.loading import load_model
from netc.runtime.lost_numbers import refuse_lost_loss
from netc.runtime.metric_values import MetricValues
from netc.runtime.runs.checkpoint import write_whole
from netc.runtime.runs.claim import claimed
from netc.runtime.runs.opening import open_run
from netc.runtime.runs.outcome import save_outcome
from netc.runtime.runs.run import Run
from netc.runtime.runs.starting import data_of_new_run, start_run
from netc.runtime.studies.rounds import Rounds, Trial, best_of, front_of
from netc.runtime.studies.search import Outcome
from netc.runtime.studies.study import Study
from netc.runtime.trainer import Report, train_claimed

_BEST = "best"


def finish(study: Study, rounds: Rounds, has_timed_out: bool, on_progress: Callable[[Report], None]) -> dict[str, Any]:
    """Trains the winner of a study whose rounds are done, unless it was, and writes results.json. Returns that."""
    folder, spec, trials = rounds.folder, rounds.spec, rounds.finished
    before = folder.results()
    results: dict[str, Any] = {
        "trials": len(trials),
        **{outcome.value: sum(trial.outcome is outcome for trial in trials) for outcome in Outcome},
        "out_of_time": has_timed_out,
    }
    best = best_of(spec, trials)
    if best is not None:
        results["best"] = {"trial": best.number, "settings": dict(best.settings), "metrics": metrics_of(rounds, best)}
        if len(spec.compare) > 1:
            results["front"] = [trial.number for trial in front_of(spec, trials)]
        is_same = before.get("best") == results["best"] and "run" in before
        results |= {key: before[key] for key in ("run", "test") if key in before} if is_same else {}
        if not is_same:
            results |= _train(study, best, on_progress)
    folder.write_results(results)
    return results


def metrics_of(rounds: Rounds, trial: Trial) -> dict[str, dict[str, float | None]]:
    """The compared metrics of a complete trial with their standard errors, which a single training does not have."""
    means = zip(rounds.spec.compare, trial.means(rounds.spec), strict=True)
    return {
        better.metric: {"value": mean.value, "error": None if math.isnan(mean.error) else mean.error}
        for better, mean in means
    }


def _train(study: Study, trial: Trial, on_progress: Callable[[Report], None]) -> dict[str, Any]:
    """Trains the run of a trial, and evaluates it on the test part if there is one."""
    run = run_of(study, trial)
    tested: MetricValues | None = None
    with claimed(run.folder):
        ending = train_claimed(run, run.model.train.epochs, on_progress, lambda row: None)
        write_whole(run.folder / "curves.svg", draw(run.metrics))
        if "test" in run.load_data().parts:
            tested = run.evaluate("test")
            refuse_lost_loss(run, "test", tested)
        save_outcome(run, ending.stopped, tested)
    return {"run": run.folder.name, **({"test": tested} if tested is not None else {})}


def run_of(study: Study, trial: Trial) -> Run:
    """The run of a trial in the study's folder: opened where its training stands, or else started."""
    folder, values = study.folder, {**study.constants, **trial.settings}
    for path in sorted(folder.path.glob(f"{_BEST}*")):
        run = open_run(path, to_train=True)
        if run.info is not None and run.info.set == values:
            return run
    model, path = load_model(folder.file, values), folder.path / _BEST
    return start_run(model, path, values, data_of_new_run(model, path))
