"""The importance of each setting of a study, by Optuna."""

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from netc.runtime.studies.declarations import StudySpec
from netc.runtime.studies.rounds import Trial
from netc.runtime.studies.search import Outcome, distribution_of, stored

_MOST_TRIALS = 500  # that a forest is fitted to: its time grows faster than their number
LEAST_TRIALS = 8  # complete ones: the share of a setting among fewer says nothing


class Importance(Struct, frozen=True):
    """The importance of each setting for a metric, as shares of 1, by `method`: `fANOVA` or `PED-ANOVA`.

    A setting with a condition stands in `conditional` with its share among the settings that vary in the trials that
    have it, and with the number of these trials. One of every `step` complete trials was looked at.
    """

    metric: str
    method: str
    shares: Mapping[str, float]
    conditional: Mapping[str, tuple[float, int]]
    step: int


def importances(spec: StudySpec, trials: Sequence[Trial]) -> list[Importance]:
    """The importance of the settings for each compared metric.

    fANOVA (Hutter et al. 2014) divides the variance of the metric, as a random forest predicts it all over the search
    space, into those of the settings. It needs scikit-learn; without it, PED-ANOVA (Watanabe et al. 2023) tells which
    settings set the best tenth of the trials apart. Empty if there are fewer than LEAST_TRIALS complete trials, or
    Optuna is not installed.
    """
    complete = [trial for trial in trials if trial.outcome is Outcome.COMPLETE]
    if len(complete) < LEAST_TRIALS or importlib.util.find_spec("optuna") is None:
        return []
    method = "fANOVA" if importlib.util.find_spec("sklearn") is not None else "PED-ANOVA"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is experimental in Optuna
        return [_importance(spec, complete, metric, method) for metric in range(len(spec.compare))]


def _importance(spec: StudySpec, complete: Sequence[Trial], metric: int, method: str) -> Importance:
    step = -(-len(complete) // _MOST_TRIALS)
    trials = complete[::step]
    always = [varying.name for varying in spec.space if all(varying.name in trial.settings for trial in trials)]
    shares = _shares(spec, trials, always, metric, method)
    conditional = dict[str, tuple[float, int]]()
    for varying in spec.space:
        having = [trial for trial in trials if varying.name in trial.settings]
        if varying.name not in always and len(having) >= LEAST_TRIALS:
            share = _shares(spec, having, [*always, varying.name], metric, method)[varying.name]
            conditional[varying.name] = share, len(having)
    return Importance(spec.compare[metric].metric, method, shares, conditional, step)


def _shares(
    spec: StudySpec, trials: Sequence[Trial], names: Sequence[str], metric: int, method: str
) -> dict[str, float]:
    """The shares of settings that all of these trials have, the largest first; 0 for all if the metric is constant."""
    import optuna
    from optuna import importance

    distributions = {varying.name: distribution_of(varying.domain) for varying in spec.space if varying.name in names}
    values = [trial.means(spec)[metric].value for trial in trials]
    if not names or min(values) == max(values):
        return dict.fromkeys(names, 0.0)
    better = spec.compare[metric]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study: Any = optuna.create_study(direction="maximize" if better.is_higher else "minimize")
    for trial, value in zip(trials, values, strict=True):
        settings = {name: stored(trial.settings[name]) for name in distributions}
        study.add_trial(optuna.trial.create_trial(params=settings, distributions=distributions, value=value))
    fanova = method == "fANOVA"
    evaluator = importance.FanovaImportanceEvaluator(seed=0) if fanova else importance.PedAnovaImportanceEvaluator()
    shares = importance.get_param_importances(study, evaluator=evaluator, params=list(distributions))
    return {name: float(share) for name, share in shares.items()}
