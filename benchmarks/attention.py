"""The tables of attention: training steps of a small GPT with long contexts, and how their memory grows.

PyTorch attends with `scaled_dot_product_attention`. All have 2,048 letters in a batch in the first table, and one
sample in the second.
"""

from collections.abc import Sequence

from benchmarks.contender import CONTENDERS, Process
from benchmarks.measure import contenders, measure, weights_of
from benchmarks.model import Model
from benchmarks.models import series
from benchmarks.printing import Rows, print_means
from benchmarks.settings import Settings
from benchmarks.steps import cell, ratio_text

_PEER = "PyTorch eager"
_SIZE = 1 << 20  # bytes of a MiB


def table(settings: Settings) -> None:
    """Prints the times of steps, for each number of threads, and then the memory of steps on the first."""
    names = [name for name in CONTENDERS if name in settings.contenders and not name.startswith("netc,")]
    models = series("attention")
    rows = Rows(["a training step, us", "threads", *names, "best peer / netc"], max(len(str(each)) for each in models))
    ratios: dict[int, list[float]] = {threads: [] for threads in settings.threads}
    for threads in settings.threads:
        with contenders(names, threads) as processes:
            for model in models:
                measured = measure(processes, model, settings.rounds, settings.limit)
                if measured.ratio is not None:
                    ratios[threads].append(measured.ratio)
                times = [cell(measured, name) for name in names]
                rows.add([str(model), str(threads), *times, ratio_text(measured.ratio)])
    print_means(ratios)
    print()
    _print_memory(settings.threads[0], [name for name in ("netc", _PEER) if name in settings.contenders])


def _print_memory(threads: int, names: Sequence[str]) -> None:
    """Prints the most memory of a process after some steps with each length, and what netc says beforehand."""
    heads = ["memory of a step, MiB", "netc check", *(f"{name}, peak" for name in names)]
    rows = Rows([*heads, *(f"{name}, KiB a letter" for name in names)], 8)
    before: dict[str, float] = {}
    letters = 0
    for model in series("attention memory"):
        peaks = {name: _peak(name, threads, model) for name in names}
        length = model.data(1)["x"].shape[1]
        each = [
            f"{(peak - before[name]) / (length - letters) / 1024:.1f}" if before else "" for name, peak in peaks.items()
        ]
        cells = [f"{_checked(model, threads) / _SIZE:.1f}", *(f"{peak / _SIZE:.1f}" for peak in peaks.values())]
        rows.add([f"{length} letters", *cells, *each])
        before, letters = peaks, length


def _peak(name: str, threads: int, model: Model) -> int:
    """The bytes of physical memory that a contender's process had at most, with the steps that begin `measure`.

    Its process is new: a peak never becomes lower. It contains the libraries and, for netc, the compiler.
    """
    process = Process(name, threads)
    try:
        with weights_of(model) as path:
            for _ in range(2):  # netc's compiler needs memory too, but not where its kernels are in the cache
                process.restart()
                process.ask("prepare", model.name, path)
            peak: int = process.ask("memory")
        return peak
    finally:
        process.end()


def _checked(model: Model, threads: int) -> int:
    """The bytes of a step according to `netc check`."""
    import netc
    from netc.runtime.execution.step_cost import cost_of_step

    cost = cost_of_step(netc.parse(model.net()), threads)
    return cost.kept + cost.arenas
