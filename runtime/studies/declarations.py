"""The records that a checked `study` block consists of, and what the words in it can do."""

from collections.abc import Mapping

from msgspec import Struct

from netc.compiler.model import Better
from netc.dsl.source import Span
from netc.runtime.studies.space import Space

DEFAULT_TRIALS = 100


class Method(Struct, frozen=True):
    """A way to search, or to give trials up: its arguments with their defaults and least values, and its limits.

    `is_finite` says that it needs finitely many values, `takes_choices` that it varies choices and conditions, and
    `takes_several` that several metrics may be compared.
    """

    doc: str
    numbers: Mapping[str, tuple[int, int]]
    is_finite: bool = False
    takes_choices: bool = True
    takes_several: bool = True


SEARCHES = {
    "grid": Method("every combination, in the order of the text", {}, is_finite=True),
    "random": Method("independent random values", {}),
    "sobol": Method("a scrambled Sobol sequence: random values that fill the space evenly", {}),
    "tpe": Method("values like those of good trials (tree-structured Parzen estimator)", {"startup": (10, 0)}),
    "cmaes": Method(
        "a normal distribution that moves to good trials (CMA-ES), for numbers without conditions",
        {"startup": (1, 0), "population": (0, 0)},
        takes_choices=False,
        takes_several=False,
    ),
}
PRUNES = {
    "median": Method(
        "trials worse than the median of the finished ones after as many epochs",
        {"startup": (5, 0), "warmup": (0, 0), "every": (0, 1)},
        takes_several=False,
    ),
    "asha": Method(
        "all but the best of each `factor` trials, after `min`, `min * factor`, ... epochs (successive halving)",
        {"min": (1, 1), "factor": (4, 2)},
        takes_several=False,
    ),
}


class Chosen(Struct, frozen=True):
    """The name of a method with its arguments, defaults filled in."""

    name: str
    numbers: Mapping[str, int]
    span: Span


class StudySpec(Struct, frozen=True):
    """A checked `study` block.

    A study ends after `trials` trials, or at the end of the round in which it has lasted `seconds`, if these are set.
    Each trial is trained on the first `folds` folds of the split and with `seeds` seeds, and its values are the means
    of the metrics in `compare`, the first of which chooses the winner. With `keeps_best` a trial keeps its best epoch.
    Trials are chosen in rounds of `round`.
    """

    space: Space
    search: Chosen
    trials: int | None
    seconds: float | None
    compare: tuple[Better, ...]
    keeps_best: bool
    prune: Chosen | None
    folds: int | None
    seeds: int
    round: int
    seed: int
    span: Span
