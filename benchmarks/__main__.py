"""`python -m benchmarks [--only TABLE ...] [--rounds N]` prints the tables, with all contenders in one run. See
README.md."""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import editor, first_step, lookups, plugin
from benchmarks import products as product_kernel
from benchmarks.contender import CONTENDERS, Process
from benchmarks.models import MODELS, Model
from netc.commands.terminal import table
from netc.compiler.targets.cpu.peak import peak_flops, peak_of
from netc.runtime.execution.workers import Workers

_MNIST = Path(__file__).parent.parent / "examples" / "mnist.net"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="which tables")
    parser.add_argument("--models", default="", help="in the table of steps, only models whose names contain this")
    parser.add_argument("--rounds", type=int, default=12, help="how often each contender is measured; the best counts")
    arguments = parser.parse_args()
    for name in arguments.only:
        steps(arguments.rounds, arguments.models) if name == "steps" else TABLES[name](arguments.rounds)
        print()


def peaks() -> dict[int, float]:
    """The peak FLOP/s of one core, and of two at once, by the number of threads."""
    return {1: peak_flops("f32"), 2: peak_of("f32", 2, Workers(2).run)}


def start(threads: int, but: Sequence[str] = ()) -> list[Process]:
    """Starts the contenders that are installed, netc first, except those in `but`."""
    processes = [Process(name, threads) for name in CONTENDERS if name not in but]
    for process in processes:
        if not process.is_installed:
            print(f"{process.name} is not installed: pip install -e '.[bench]'")
    return [process for process in processes if process.is_installed]


def measure(processes: Sequence[Process], model: Model, rounds: int) -> dict[str, float]:
    """The shortest step of each contender in seconds, measured in turns.

    All begin with the same weights. An assertion fails if they do not come to the same loss.
    """
    losses = {process.name: process.ask("prepare", asdict(model)) for process in processes}
    for name, loss in losses.items():
        assert abs(loss - losses["netc"]) < 1e-3 * abs(loss), f"{name} computes something else: {losses}"
    best = dict.fromkeys(losses, float("inf"))
    for _ in range(rounds):
        for process in processes:
            best[process.name] = min(best[process.name], process.ask("round"))
    return best


def steps(rounds: int, models: str = "") -> None:
    """A training step with Adam: microseconds of each contender, the best peer's time as a multiple of netc's, and
    netc's share of the peak."""
    peak = peaks()
    print(
        f"a training step with Adam, us. The peak is {peak[1] / 1e9:.0f} GFLOP/s on one thread,"
        f" {peak[2] / 1e9:.0f} on two; its share counts products alone."
    )
    rows = [["model", "threads", *CONTENDERS, "best peer / netc", "of peak", "1 thread / 2"]]
    on_one_thread: dict[str, float] = {}
    for threads in (1, 2):
        processes = start(threads)
        for model in (model for model in MODELS if models in model.name):
            best = measure(processes, model, rounds)
            seconds = best["netc"]
            on_one_thread.setdefault(model.name, seconds)
            rows.append(
                [
                    str(model),
                    str(threads),
                    *(f"{best[name] * 1e6:.1f}" if name in best else "-" for name in CONTENDERS),
                    ratio_of_best_peer(best),
                    f"{model.flops / seconds / peak[threads]:.0%}",
                    f"{on_one_thread[model.name] / seconds:.2f}" if threads == 2 else "",
                ]
            )
        for process in processes:
            process.end()
    table(rows, right=range(1, len(rows[0])))


def ratio_of_best_peer(seconds: Mapping[str, float]) -> str:
    """The time of the fastest contender other than netc as a multiple of netc's."""
    peers = [time for name, time in seconds.items() if not name.startswith("netc")]
    return f"{min(peers) / seconds['netc']:.2f}" if peers else "-"


def epoch(rounds: int) -> None:
    """An epoch of MNIST by each contender's own loop, including shuffling and gathering."""
    import netc
    from netc.runtime.data.dataset import load
    from netc.runtime.data.spec import parse_data

    model = netc.load(_MNIST)
    part = load(model, parse_data(model)).parts["train"]
    x, y = (np.asarray(part[name]).reshape(len(part[name]), -1) for name in ("image", "label"))
    names = [name for name in CONTENDERS if name != "netc, gathering"]  # every contender gathers in an epoch
    rows = [["an epoch of MNIST, ms", "threads", *names, "best peer / netc"]]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "mnist.npz", x=x, y=y.ravel())
        for threads in (1, 2):
            processes = start(threads, but=["netc, gathering"])
            best = dict.fromkeys((process.name for process in processes), float("inf"))
            for process in processes:
                process.ask("prepare", asdict(MODELS[0]))
            for turn in range(max(2, rounds // 3)):
                for process in processes:
                    seconds = process.ask("epoch", str(Path(folder) / "mnist.npz"))
                    if turn:  # the first epoch warms up
                        best[process.name] = min(best[process.name], seconds)
            rows.append(
                [
                    f"{MODELS[0]}, {len(y):,} images",
                    str(threads),
                    *(f"{best[name] * 1e3:.1f}" if name in best else "-" for name in names),
                    ratio_of_best_peer(best),
                ]
            )
            for process in processes:
                process.end()
    table(rows, right=range(1, len(rows[0])))


def growth(rounds: int) -> None:
    """netc alone: how the time of a step grows with width, depth and batch, beside its FLOPs."""
    series = {
        "width": [Model("width", (784, width, width, 10), 64) for width in (64, 128, 256, 512, 1024)],
        "depth": [Model("depth", (784, *(256,) * depth, 10), 64) for depth in (1, 2, 4, 8, 16)],
        "batch": [Model("batch", (784, 256, 256, 10), batch) for batch in (16, 32, 64, 128, 256)],
    }
    rows = [["growth of", "threads", "model", "us", "FLOPs, times", "time, times", "time / FLOPs"]]
    for threads in (1, 2):
        process = Process("netc", threads)
        for name, models in series.items():
            before: tuple[int, float] | None = None
            for model in models:
                seconds = measure([process], model, rounds)["netc"]
                more, longer = (model.flops / before[0], seconds / before[1]) if before else (1.0, 1.0)
                layers = len(model.widths) - 2
                widths = "-".join(map(str, model.widths)) if layers < 6 else f"784-{layers}x256-10"
                rows.append(
                    [
                        name,
                        str(threads),
                        f"{widths}, batch {model.batch}",
                        f"{seconds * 1e6:.1f}",
                        *((f"{more:.2f}", f"{longer:.2f}", f"{longer / more:.2f}") if before else ("", "", "")),
                    ]
                )
                before = model.flops, seconds
        process.end()
    table(rows, right=range(3, len(rows[0])))


def first(rounds: int) -> None:
    """The seconds from the start of a process to the end of its first step."""
    table(first_step.table(), right=(1, 2, 3))


def answers(rounds: int) -> None:
    """How long an editor waits for the language server."""
    table(editor.table(rounds), right=(1, 2))


def plugins(rounds: int) -> None:
    """The time of an operation of a package beside that of a built-in one: they should be equal."""
    table(plugin.table(rounds), right=(1, 2, 3, 4))


def tables(rounds: int) -> None:
    """Lookups in tables of many rows, and the dense update of a table beside the memory's bandwidth."""
    table(lookups.table(rounds), right=(1, 2, 3, 4, 5))
    table(lookups.streams(rounds), right=(1, 2, 3, 4, 5))


def products(rounds: int) -> None:
    """The share of the peak that the product kernel reaches, over a grid of shapes and layouts."""
    table(product_kernel.table(rounds), right=(2, 3))


TABLES = {
    **{"steps": steps, "epoch": epoch, "growth": growth, "first": first},
    **{"editor": answers, "plugin": plugins, "lookups": tables, "products": products},
}

if __name__ == "__main__":
    main()
