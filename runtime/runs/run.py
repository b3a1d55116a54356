"""A run: the folder that training leaves, and how it is opened again.

runs/NAME/ holds model.net, run.json, data.json (fitted steps), metrics.jsonl, checkpoint.safetensors and curves.svg.
run.json has the hashes of the first and the third file, and its own: what is opened is what was written, or a message.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.evaluation import values_in_units_of_targets
from netc.compiler.model import Model
from netc.dsl.diagnostics import fault
from netc.dsl.parser import parse
from netc.dsl.quoting import json_text
from netc.dsl.source import Source
from netc.runtime import plugins
from netc.runtime.data.dataset import Dataset, load
from netc.runtime.data.declarations import DIVISION, DataSpec
from netc.runtime.data.pipeline import undo
from netc.runtime.data.spec import array_spec, parse_data
from netc.runtime.data.split_spec import with_fold
from netc.runtime.data.stored import Array
from netc.runtime.data.windows import is_series
from netc.runtime.execution.compiled_model import CompiledModel, Options
from netc.runtime.execution.fields import Fields
from netc.runtime.execution.workers import Workers
from netc.runtime.locks import Mutex
from netc.runtime.metric_values import MetricValues
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import (
    BEST,
    CHECKPOINT,
    Progress,
    load_checkpoint,
    place_of,
    save_checkpoint,
    write_whole,
)
from netc.runtime.runs.folder import new_folder, with_free_name
from netc.runtime.runs.metrics import Metrics, MetricsFile, read_metrics
from netc.runtime.runs.run_files import INFO, METRICS, MODEL, STATES, read_info, refuse
from netc.runtime.runs.run_info import RunInfo, States, check_states, digest, encoded

if TYPE_CHECKING:
    from netc.runtime.runs.start_from import StartReport


@dataclass(slots=True)
class Run:
    """A trained model and its folder. `metrics` has a row for each epoch, as metrics.jsonl does.

    Several threads may use one run, as they may use its program.
    """

    folder: Path
    model: Model
    spec: DataSpec
    states: States
    program: Program
    metrics: Metrics = field(default_factory=Metrics)
    progress: Progress = field(default_factory=Progress)
    dataset: Dataset | None = None
    info: RunInfo | None = None
    loaded: "StartReport | None" = None
    _loading: Mutex = field(default_factory=Mutex, repr=False, compare=False)
    _metrics_file: MetricsFile = field(default_factory=MetricsFile, repr=False, compare=False)

    def undone(self) -> dict[str, Callable[[Array], Array]]:
        """For each float target with steps, the function that brings it back to the data's units."""
        return {
            name: undo(self.spec.fields[name], self.states[name])
            for name, type_ in self.model.targets.items()
            if type_.classes is None and self.spec.fields[name].steps
        }

    def evaluate(self, part: str = "test") -> MetricValues:
        """`loss`, and each metric, over a part of the data, in the data's units.

        Faults E0806 if the split has no such part.
        """
        parts = self.load_data().parts
        if part not in parts:
            fault("E0806", f"the split has no part `{part}`", self.spec.span, f"it has {', '.join(parts)}")
        return self.program.evaluate(parts[part], self.undone())

    def load_data(self) -> Dataset:
        """The data that the run was trained on, through its fitted steps.

        Faults E0501 if that were arrays, E0842 if this version of netc would divide it in another way.
        """
        with self._loading:
            if self.dataset is None:
                if self.model.data is None:
                    fault("E0501", "the run was trained on arrays, which it does not keep", place_of(self.folder))
                self._require_division()
                self.dataset = load(self.model, self.spec, self.states)
            return self.dataset

    def _require_division(self) -> None:
        """Fault E0842 if an earlier netc put rows into other parts than this one would.

        Rows that the run was trained on would then be in its test part.
        """
        is_divided = self.spec.split.is_division or is_series(self.spec.fields.values())
        if is_divided and self.info is not None and self.info.division != DIVISION:
            title = f"`{self.folder}` was trained by another version of netc, which divided the data in another way"
            versions = f"netc {self.info.versions.get('netc', '')}"
            hint = "it can predict; train it again to evaluate or to resume it"
            fault("E0842", title, self.spec.split.span, versions, hint=hint)

    def predict(self, fields: Fields, beam: int = 1, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """The outputs for arrays that went through the fitted steps.

        An output that a loss compares with a target comes back in that target's units. `beam` and `outputs` are as in
        Program.predict.
        """
        outputs_by_name = self.program.predict(fields, beam, outputs)
        undone, units, values = self.undone(), values_in_units_of_targets(self.model.graph), self.model.values
        targets = {name: units.get(values[name]) for name in outputs_by_name}
        return {
            name: undone[target](value) if (target := targets[name]) in undone else value
            for name, value in outputs_by_name.items()
        }

    def save_best(self) -> None:
        """Keep the current parameters: by the metric of `keep`, no epoch before was as good."""
        with self.program.guard.reading:
            save_checkpoint(self.folder / BEST, self.program.persistent, self.progress, self._owned)

    def load_best(self) -> None:
        """Load the parameters that `keep` kept, if it is set. Afterwards the run is used, and trained no further."""
        if _keeps_best(self.model, self.folder):
            with self.program.guard.writing:
                load_checkpoint(self.folder / BEST, self.program.persistent)

    def save(self) -> None:
        """Save the metrics, then the checkpoint that counts them: no checkpoint is without the rows of its epochs."""
        assert len(self.metrics) == self.progress.epoch
        self._metrics_file.save(self.folder / METRICS, self.metrics)
        self.progress.metrics = self._metrics_file.checksum
        with self.program.guard.reading:
            save_checkpoint(self.folder / CHECKPOINT, self.program.persistent, self.progress, self._owned)

    @property
    def _owned(self) -> tuple[str, ...]:
        return (*self.model.trainables, *self.model.states)


def _keeps_best(model: Model, folder: Path) -> bool:
    return model.train.keep is not None and os.path.exists(folder / BEST)


def start(model: Model, path: Path, overrides: Mapping[str, Any], dataset: Dataset, program: Program) -> Run:
    """A new run in a new folder: `path`, or `path` with a number if that exists.

    The folder appears with all its files or not at all.
    """
    program.fit(dataset.parts["train"])
    with new_folder(path) as folder:
        run = Run(folder, model, dataset.spec, dataset.states, program, dataset=dataset)
        if model.train.start_from is not None:
            from netc.runtime.runs.start_from import start_from

            run.loaded = start_from(model, model.train.start_from, program)
        _write_all(run, overrides)
        run.folder = with_free_name(folder, path)
    return run


def _write_all(run: Run, overrides: Mapping[str, Any]) -> None:
    """Write every file of a new run."""
    from importlib.metadata import version

    model, folder = run.model, run.folder
    text, states = model.source.text.encode(), json_text(run.states, indent=2).encode()
    write_whole(folder / MODEL, text)
    write_whole(folder / STATES, states)
    info = RunInfo(
        name=model.source.name,
        path=str(model.source.path.resolve()) if model.source.path else None,
        set=dict(overrides),
        seed=run.program.seed,
        epochs=model.train.epochs,
        classes=dict(model.counted),
        columns={name: field.columns for name, field in run.spec.fields.items()},
        plugins=list(plugins.loaded()),
        from_arrays=model.data is None,
        division=DIVISION,
        fold=run.spec.split.fold if run.spec.split.way == "folds" else None,
        versions={name: version(name) for name in ("netc", "numpy", "numba", "llvmlite")},
        hashes={MODEL: [digest(text)], STATES: [digest(states)]},
    )
    write_whole(folder / INFO, encoded(info))
    run.info = info
    run.save()


def rewrite_model(run: Run, model: Model) -> None:
    """Replace the text of a run's model, by which training goes on.

    run.json has the hashes of both texts while one replaces the other, so the files belong together at any moment.
    """
    info, _, _ = read_info(run.folder)
    text = model.source.text.encode()
    info.epochs = model.train.epochs
    info.hashes[MODEL].append(digest(text))
    write_whole(run.folder / INFO, encoded(info))
    write_whole(run.folder / MODEL, text)
    info.hashes[MODEL] = [digest(text)]
    write_whole(run.folder / INFO, encoded(info))


def _require_plugins(folder: Path, info: RunInfo) -> None:
    """Fault E1001 if the run needs a plug-in that the user has not named: a run imports nothing by itself."""
    missing = [name for name in info.plugins if name not in plugins.loaded()]
    if missing:
        label = f"it was trained with the plug-in {', '.join(f'`{name}`' for name in missing)}"
        hint = " ".join(f"--plugin {name}" for name in missing) + ", if you trust it"
        fault("E1001", f"`{folder}` needs a plug-in", place_of(folder), label, hint=hint)


def open_run(folder: Path, threads: int | None = None, to_train: bool = False) -> Run:
    """A run as it was left: with its best parameters if `keep` kept them, or `to_train` with the last ones.

    Faults E1001 if the folder is no run, or damaged.
    """
    info, text, states = read_info(folder)
    plugins.load_installed()
    _require_plugins(folder, info)
    model = _model_of(folder, info, text)
    if to_train:
        program = Program(model, seed=info.seed, threads=threads)
        progress = load_checkpoint(folder / CHECKPOINT, program.persistent)
    else:
        program, progress = _program_to_use(folder, model, info.seed, threads)
    metrics = read_metrics(folder / METRICS, progress.epoch, progress.metrics)
    spec = _spec_of(model, info)
    try:
        # a field that the model does not read was never fitted
        check_states({name: spec.fields[name] for name in (*model.inputs, *model.targets)}, states)
    except ValueError as error:
        refuse(folder, ValueError(f"{STATES}: {error}"))
    return Run(folder, model, spec, states, program, metrics, progress, info=info)


def _spec_of(model: Model, info: RunInfo) -> DataSpec:
    """The data block of a run, with the columns that it was trained on."""
    if model.data is None:
        return array_spec(model)
    spec = parse_data(model)
    fields = {
        name: replace(field, columns=info.columns[name], is_rest=False) if name in info.columns else field
        for name, field in spec.fields.items()
    }
    return replace(spec, fields=fields)


def _model_of(folder: Path, info: RunInfo, text: str) -> Model:
    """The model of a run, with the constants and class counts that it was trained with."""

    def class_count(name: str, *_: object) -> int:
        if name not in info.classes:
            refuse(folder, ValueError(f"{INFO}: how many classes `{name}` has is missing"))
        return info.classes[name]

    source = Source(info.name, text, Path(info.path) if info.path else None)
    file = parse(source)
    model = elaborate(file if info.fold is None else with_fold(file, info.fold), info.set, class_count)
    data = None if info.from_arrays else model.data
    return replace(model, data=data, train=replace(model.train, epochs=info.epochs))


def _program_to_use(folder: Path, model: Model, seed: int, threads: int | None) -> tuple[Program, Progress]:
    """A program with the best parameters of a run, and where its training stands.

    The states of the optimizer are read from the same file when they are first needed.
    """
    options = Options(model.train.batch, seed)
    compiled = CompiledModel.of(model, options, Workers(options.target.machine.cores if threads is None else threads))
    progress = load_checkpoint(folder / CHECKPOINT, compiled.state.arrays)
    path, stands = folder / CHECKPOINT, progress
    if _keeps_best(model, folder):
        path = folder / BEST
        stands = load_checkpoint(path, compiled.state.arrays)

    def fill(arrays: Mapping[str, Array]) -> None:
        if load_checkpoint(path, arrays) != stands:
            fault("E1001", f"`{folder}` was trained further since it was opened", place_of(folder), "open it again")

    return Program.of_run(compiled, fill), progress
