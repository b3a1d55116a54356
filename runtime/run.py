"""What a run leaves, and how it is opened again: runs/NAME/ with the model, metrics, fitted steps, checkpoint and curves.

model.net  run.json  data.json  metrics.jsonl  checkpoint.safetensors  curves.svg
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.evaluation import values_in_units_of_targets
from netc.compiler.model import Model
from netc.dsl.diagnostics import fault
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.checkpoint import Progress, load_checkpoint, place_of, save_checkpoint, write_whole
from netc.runtime.data.dataset import Dataset, DataSpec, array_spec, load, parse_data, undo
from netc.runtime.figures import Figures, Row
from netc.runtime.program import Fields, Program

Array = np.ndarray[Any, Any]
_BEST = "best.safetensors"


@dataclass(slots=True)
class Run:
    """A trained model and where it lies. `metrics` has a row an epoch, as metrics.jsonl."""

    folder: Path
    model: Model
    spec: DataSpec
    states: dict[str, list[dict[str, Any]]]
    program: Program
    metrics: list[Row] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    dataset: Dataset | None = None

    def undone(self) -> dict[str, Callable[[Array], Array]]:
        """For each float target with steps, what brings it back to the data's units."""
        return {
            name: undo(self.spec.fields[name], self.states[name])
            for name, type_ in self.model.targets.items()
            if type_.classes is None and self.spec.fields[name].steps
        }

    def evaluate(self, part: str = "test") -> Figures:
        """`loss`, and each metric, over a part of the data, in the data's units. Faults E0806 if the split has no such part."""
        if self.dataset is None:
            if self.model.data is None:
                fault("E0501", "the run was trained on arrays, which it does not keep", place_of(self.folder))
            self.dataset = load(self.model, self.spec, self.states)
        if part not in self.dataset.parts:
            fault("E0806", f"the split has no part `{part}`", self.spec.span, f"it has {', '.join(self.dataset.parts)}")
        return self.program.evaluate(self.dataset.parts[part], self.undone())

    def predict(self, fields: Fields) -> dict[str, Array]:
        """The outputs for arrays that went through the fitted steps; outputs that stand for a target come back in its units."""
        found = self.program.predict(fields)
        undone = self.undone()
        targets = {
            name: values_in_units_of_targets(self.model.graph).get(value)
            for name, value in ((one, self.model.graph.results[f"output.{one}"]) for one in found)
        }
        return {
            name: undone[target](value) if (target := targets[name]) in undone else value
            for name, value in found.items()
        }

    def save_best(self) -> None:
        """Keep the parameters as they are now: `keep` says that no epoch before was as good."""
        save_checkpoint(self.folder / _BEST, self.program.persistent, self.progress)

    def load_best(self) -> None:
        """The kept parameters, if `keep` asks for them. What comes after is use, not training."""
        if self.model.train.keep is not None and (self.folder / _BEST).exists():
            load_checkpoint(self.folder / _BEST, self.program.persistent)

    def save(self) -> None:
        """Metrics first, then the checkpoint that counts them: what is read back never runs ahead of its parameters."""
        write_whole(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in self.metrics).encode())
        save_checkpoint(self.folder / "checkpoint.safetensors", self.program.persistent, self.progress)


def new_folder(wanted: Path) -> Path:
    """A folder that does not exist yet: NAME, NAME-2, NAME-3, ... A run never overwrites another."""
    number, folder = 1, wanted
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
            folder = wanted.with_name(f"{wanted.name}-{number}")
        except OSError as error:
            fault("E1001", f"cannot make the folder `{folder}`", place_of(folder), error.strerror or str(error))


def start(
    model: Model, folder: Path, overrides: Mapping[str, Any], dataset: Dataset, spec: DataSpec, program: Program
) -> Run:
    """A fresh run in a folder of its own, with all that it depends on written down."""
    program.fit(dataset.parts["train"])
    run = Run(folder, model, spec, dataset.states, program, dataset=dataset)
    write_whole(folder / "model.net", model.source.text.encode())
    info = {
        "name": model.source.name,
        "path": str(model.source.path.resolve()) if model.source.path else None,
        "set": dict(overrides),
        "seed": program.seed,
        "epochs": model.train.epochs,
        "versions": {name: version(name) for name in ("netc", "numpy", "numba", "llvmlite")},
    }
    write_whole(folder / "run.json", json.dumps(info, indent=2).encode())
    write_whole(folder / "data.json", json.dumps(dataset.states, indent=2).encode())
    run.save()
    return run


def open_run(folder: Path, threads: int | None = None, to_train: bool = False) -> Run:
    """A run as it was left: with its best parameters, if it keeps those, or `to_train` with the last ones. Faults E1001 if the folder is none, or damaged."""
    try:
        info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        text = (folder / "model.net").read_text(encoding="utf-8")
        states = json.loads((folder / "data.json").read_text(encoding="utf-8"))
        metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        source = Source(info["name"], text, Path(info["path"]) if info["path"] else None)
        overrides, seed, epochs = info["set"], int(info["seed"]), int(info["epochs"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        fault(
            "E1001",
            f"`{folder}` is no run",
            place_of(folder),
            str(error),
            hint="a run's folder is what `netc train` printed, such as runs/iris",
        )
    model = elaborate(parse(source), overrides)
    model = replace(model, train=replace(model.train, epochs=epochs))
    program = Program(model, seed=seed, threads=threads)
    progress = load_checkpoint(folder / "checkpoint.safetensors", program.persistent)
    run = Run(
        folder,
        model,
        parse_data(model) if model.data else array_spec(model),
        states,
        program,
        metrics[: progress.epoch],
        progress,
    )
    if not to_train:
        run.load_best()
    return run
