"""The table of training steps: microseconds of each contender, model by model."""

from benchmarks.contender import CONTENDERS
from benchmarks.measure import Measured, contenders, measure
from benchmarks.printing import Rows, print_means
from benchmarks.saved import Saved
from benchmarks.settings import Settings
from netc.compiler.targets.cpu.bounds.peak import peak_flops, peak_of
from netc.runtime.execution.workers import Workers


def peak(threads: int) -> float:
    """The peak FLOP/s of some cores at once."""
    return peak_flops("f32") if threads == 1 else peak_of("f32", threads, Workers(threads).run)


def table(settings: Settings) -> None:
    """Prints a row for each model, its best peer's time as a multiple of netc's, and netc's share of the peak.

    With `save`, the file contains each model as soon as its row is printed.
    """
    saved = Saved.here()
    peaks = {threads: peak(threads) for threads in settings.threads}
    means = ", ".join(f"{peaks[threads] / 1e9:.0f} GFLOP/s on {threads}" for threads in settings.threads)
    print(saved.headline())
    print(f"a training step with Adam, us. The peak by threads: {means}; its share counts products alone.")
    names = [name for name in CONTENDERS if name in settings.contenders]
    models = settings.selected()
    heads = ["model", "threads", *names, "best peer / netc", "in bf16", "of peak", "1 thread / n"]
    rows = Rows(heads, max((len(str(model)) for model in models), default=0))
    ratios: dict[int, list[float]] = {threads: [] for threads in settings.threads}
    on_one_thread: dict[str, float] = {}
    for threads in settings.threads:
        with contenders(names, threads) as processes:
            for model in models:
                measured = measure(processes, model, settings.rounds, settings.limit)
                saved.add(model.name, threads, measured)
                if settings.save is not None:
                    saved.write(settings.save)
                seconds = measured.best["netc"]
                if threads == 1:
                    on_one_thread[model.name] = seconds
                if measured.ratio is not None:
                    ratios[threads].append(measured.ratio)
                faster = (
                    f"{on_one_thread[model.name] / seconds:.2f}" if threads > 1 and model.name in on_one_thread else ""
                )
                share = f"{measured.flops / seconds / peaks[threads]:.0%}"
                times = [cell(measured, name) for name in names]
                quotients = [ratio_text(measured.ratio), ratio_text(measured.narrow_ratio)]
                rows.add([str(model), str(threads), *times, *quotients, share, faster])
                for name, reason in measured.left_out.items():
                    print(f"  {name} is left out: it {reason}", flush=True)
    print_means(ratios)


def cell(measured: Measured, name: str) -> str:
    """The shortest step of a contender in microseconds."""
    if name in measured.left_out:
        return "left out"
    return f"{measured.best[name] * 1e6:.1f}" if name in measured.seconds else "-"


def ratio_text(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
