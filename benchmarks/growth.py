"""The table of growth, by netc alone: how the time of a step grows with width, depth and batch, beside its FLOPs."""

from benchmarks.measure import contenders, measure
from benchmarks.models import series
from benchmarks.printing import Rows
from benchmarks.settings import Settings

_SERIES = ("width", "depth", "batch")


def table(settings: Settings) -> None:
    """Prints a row for each model of each series."""
    labels = {model.name: f"{model.sizes}, batch {model.batch}" for name in _SERIES for model in series(name)}
    heads = ["growth of", "threads", "us", "FLOPs, times", "time, times", "time / FLOPs"]
    rows = Rows(heads, 7 + max(map(len, labels.values())))
    for threads in settings.threads:
        with contenders(["netc"], threads) as processes:
            for name in _SERIES:
                before: tuple[int, float] | None = None
                for model in series(name):
                    measured = measure(processes, model, settings.rounds)
                    flops, seconds = measured.flops, measured.best["netc"]
                    more, longer = (flops / before[0], seconds / before[1]) if before else (1.0, 1.0)
                    growth = [f"{more:.2f}", f"{longer:.2f}", f"{longer / more:.2f}"] if before else [""] * 3
                    label = f"{name:<7}{labels[model.name]}"
                    rows.add([label, str(threads), f"{seconds * 1e6:.1f}", *growth])
                    before = flops, seconds
