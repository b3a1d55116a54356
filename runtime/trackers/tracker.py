"""Trackers, which write the metrics of epochs for other programs, by name: `netc train --log tensorboard`.

The rows of metrics.jsonl are what counts. A tracker is opened with the run, and brings what it has written before up
to these rows: so a run that is resumed has no epoch twice, and after a kill none is missing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Protocol

from msgspec import Struct

from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span
from netc.runtime.metric_values import Row
from netc.runtime.runs.run import Run


class Tracker(Protocol):
    """Writes the rows of a run's epochs."""

    def log(self, row: Row) -> None:
        """Writes the row of one more epoch, so that whoever watches sees it at once."""

    def close(self, is_over: bool) -> None:
        """Ends writing. `is_over` says whether training is over, or was interrupted."""


class _Kind(Struct, frozen=True):
    """A kind of tracker: the packages that it needs, and the extra of netc that they come with."""

    open: Callable[[Run], Tracker]
    packages: tuple[str, ...] = ()
    extra: str = ""


def _tensorboard(run: Run) -> Tracker:
    from netc.runtime.trackers.tensorboard_events import TensorBoardTracker

    return TensorBoardTracker(run)


def _mlflow(run: Run) -> Tracker:
    from netc.runtime.trackers.mlflow_store import MlflowTracker

    return MlflowTracker(run)


def _csv(run: Run) -> Tracker:
    from netc.runtime.trackers.csv_file import CsvTracker

    return CsvTracker(run)


TRACKERS: Mapping[str, _Kind] = {
    "tensorboard": _Kind(_tensorboard, ("tensorboardX",), "tensorboard"),
    "csv": _Kind(_csv),
    "mlflow": _Kind(_mlflow, ("mlflow", "sqlalchemy", "alembic"), "mlflow"),
}


def require_trackers(names: Sequence[str]) -> None:
    """Raises E1012 if a package that one of these trackers needs is not installed. Raises ValueError for a name that is
    none of a tracker."""
    for name in names:
        if name not in TRACKERS:
            raise ValueError(f"there is no tracker `{name}`: there are {', '.join(TRACKERS)}")
        for package in TRACKERS[name].packages:
            if find_spec(package) is None:
                span = Span(Source(f"the package {package}", ""), 0, 0)
                hint = f'pip install "netc[{TRACKERS[name].extra}]"'
                fault("E1012", f"`--log {name}` needs the package `{package}`", span, "it is not installed", hint=hint)


@contextmanager
def tracked(run: Run, names: Sequence[str]) -> Iterator[Callable[[Row], None]]:
    """Opens the trackers with these names for a run, whose folder the caller has claimed. Yields what logs an epoch."""
    require_trackers(names)
    with ExitStack() as stack:
        trackers = [stack.enter_context(_open(run, name)) for name in dict.fromkeys(names)]

        def log(row: Row) -> None:
            for tracker in trackers:
                tracker.log(row)

        yield log


@contextmanager
def _open(run: Run, name: str) -> Iterator[Tracker]:
    tracker = TRACKERS[name].open(run)
    try:
        yield tracker
    except BaseException:
        tracker.close(is_over=False)
        raise
    tracker.close(is_over=True)
