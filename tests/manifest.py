"""The texts of everything that the compiler produces: `python -m tests.manifest write|compare FILE`.

They prove that a change of the compiler's code does not change its results. For every example, every benchmark model
and generated programs there is the graph after each pass, the tasks, phases and plan for named targets, the kernels'
keys, and the LLVM IR of the schedule. `write` stores them in a zip file, one entry per text. `compare` computes them
again and prints what differs. Nothing is compiled, and the texts do not depend on the machine, because every target is
a named one.
"""

import argparse
import difflib
import re
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from msgspec import Struct

import netc
from benchmarks.models import MODELS
from netc.compiler import pipeline
from netc.compiler.evaluation import evaluation_graphs
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import BATCH, size_of
from netc.compiler.lowering.lower import lower
from netc.compiler.model import Model
from netc.compiler.planning.phases import divide
from netc.compiler.planning.plan import plan
from netc.compiler.program.listing import plan_lines, task_lines
from netc.compiler.targets.cpu.compile import parts_of
from netc.compiler.targets.cpu.schedule.emit import emit
from netc.compiler.targets.cpu.source import generic_of
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import NAMED
from netc.dsl.structs import replace
from netc.runtime.execution.resources import state_layout
from netc.runtime.execution.step_cost import in_a_step, longest_of, sizes_of
from tests.passes.phase_listing import phase_lines
from tests.programs.generator import outcome

ROOT = Path(__file__).resolve().parent.parent
GENERATED = 300
INTERPRETED = "whole split"  # this graph is never lowered, because it runs once per epoch
SHOWN = 40  # the number of lines of a difference that are printed


class Program(Struct, frozen=True):
    """A program of the manifest.

    `text` is that of a `.net` file, or the path of one. `targets` are the names of the targets that it is planned for.
    """

    name: str
    targets: tuple[str, ...]
    text: str = ""
    path: Path | None = None

    def model(self) -> Model:
        return netc.load(self.path) if self.path is not None else netc.parse(self.text)


def programs(generated: int) -> Iterator[Program]:
    """All programs, in a fixed order. Generated ones take the targets in turn."""
    for path in sorted((ROOT / "examples").glob("*.net")):
        yield Program(str(path.relative_to(ROOT)), tuple(NAMED), path=path)
    for model in MODELS:
        yield Program(f"benchmarks/{model.name}", tuple(NAMED), model.net())
    for seed in range(generated):
        program = outcome(seed).program
        if program is not None:
            yield Program(f"generated/{seed}", (tuple(NAMED)[seed % len(NAMED)],), program.text)


def graphs(model: Model) -> Iterator[tuple[str, Graph]]:
    """The graphs that a run of a model builds, before the passes."""
    if model.graph.has(ResultKind.LOSS):
        yield "training", pipeline.training_graph(model)
        yield "rematerialised", pipeline.training_graph(model, rematerialises=True)
        if model.train.accumulate > 1:
            yield "accumulation", pipeline.accumulation_graph(model)
    if model.graph.has(ResultKind.OUTPUT):
        yield "prediction", pipeline.prediction_graph(model)
    evaluation = evaluation_graphs(model)
    yield "evaluation", evaluation.batches
    yield INTERPRETED, evaluation.over_split


def texts_of(program: Program) -> dict[str, str]:
    """All texts of a program by `PROGRAM/GRAPH/STAGE`."""
    model = program.model()
    texts: dict[str, str] = {}
    if model.graph.has(ResultKind.LOSS):
        stages = pipeline.training_stages(model)
        for name in ("elaborate", "specialise", "stabilise", "reorder", "derive", "attend", "pack", "differentiate"):
            texts[f"{program.name}/model/{name}"] = print_graph(stages[name])
    offsets = persistent_offsets(model)
    for name, graph in graphs(model):
        texts[f"{program.name}/{name}/before passes"] = print_graph(graph)
        steps: dict[str, Graph] = {}
        graph = pipeline.run_passes(graph, steps.__setitem__)
        for stage, after in steps.items():
            texts[f"{program.name}/{name}/{stage}"] = print_graph(after)
        for target in program.targets if name != INTERPRETED else ():
            for stage, text in planned(model, graph, offsets, replace(NAMED[target], cores=2)).items():
                texts[f"{program.name}/{name}/{target} {stage}"] = text
    return texts


def persistent_offsets(model: Model) -> dict[str, int]:
    """The offsets of parameters and of the optimizer's states, as the graph of a training step needs them."""
    has_loss = model.graph.has(ResultKind.LOSS)
    return state_layout(model, pipeline.training_graph(model) if has_loss else None)[1]


def planned(model: Model, graph: Graph, offsets: dict[str, int], machine: Machine) -> dict[str, str]:
    """The texts of all stages after the passes, for a machine. `offsets` are those of parameters and states."""
    sizes = sizes_of(graph, model.train.batch, in_a_step(model, longest_of(model)))
    tasks = lower(graph, sizes, machine)
    planned = plan(tasks, offsets, sizes, machine)
    sources = dict.fromkeys(generic_of(call.kernel).source for call in planned.schedule.calls())
    keys = {source: parts_of(source, machine).kernel for source in sources}
    return {
        "tasks": "\n".join(task_lines(tasks)),
        "phases": "\n".join(phase_lines(divide(tasks.tasks, size_of(BATCH, sizes), machine))),
        "plan": "\n".join(plan_lines(tasks, planned)),
        "kernels": "\n".join(
            f"{key} {kernel.generic} {kernel.arguments}\n{kernel.text}" for kernel, key in keys.items()
        ),
        "schedule": emit(planned.schedule, {kernel: f"kernel_{key}" for kernel, key in keys.items()}),
    }


def all_texts(generated: int, jobs: int) -> Iterator[dict[str, str]]:
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(texts_of, programs(generated))


def without_folders(text: str) -> str:
    """A text without the folder of the examples, so that another checkout gives the same manifest."""
    return re.sub(r"# /\S*/examples/", "# examples/", text)


def write(path: Path, generated: int, jobs: int) -> int:
    count = 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as file:
        for texts in all_texts(generated, jobs):
            for name, text in texts.items():
                file.writestr(name, text)
            count += len(texts)
    print(f"{count} texts in {path}")
    return 0


def compare(path: Path, generated: int, jobs: int) -> int:
    """Prints the differences and how many texts differ. Returns 1 if any does.

    For each stage of each kind of graph, the shortest text that differs is shown.
    """
    differing: dict[str, list[tuple[int, str, str, str]]] = {}
    with zipfile.ZipFile(path) as file:
        missing, added, seen, count = set(file.namelist()), [], set[str](), 0
        for texts in all_texts(generated, jobs):
            for name, text in texts.items():
                seen.add(name.split("/")[1])
                count += 1
                if name not in missing:
                    added.append(name)
                    continue
                missing.discard(name)
                before = file.read(name).decode()
                if without_folders(text) != without_folders(before):
                    stage = name.rpartition("/")[2]
                    differing.setdefault(stage, []).append((len(text), name, before, text))
    for stage, rows in differing.items():
        _, name, before, text = min(rows)
        print(f"{stage}: {len(rows)} texts differ, the shortest is {name}")
        lines = list(difflib.unified_diff(before.splitlines(), text.splitlines(), "before", "now", lineterm="", n=1))
        print("\n".join(lines[:SHOWN]))
    missing = {
        name for name in missing if name.split("/")[1] in seen
    }  # only of the programs of this run, which may be fewer
    for names, fate in ((sorted(missing), "gone"), (added, "new")):
        if names:
            print(f"{len(names)} texts are {fate}, such as {names[0]}")
    is_same = not differing and not missing and not added
    print(f"{count} texts, all identical" if is_same else "not identical")
    return 0 if is_same else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.manifest", description=__doc__)
    parser.add_argument("action", choices=("write", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--generated", type=int, default=GENERATED, help="how many generated programs")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    return {"write": write, "compare": compare}[options.action](options.file, options.generated, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
