"""Opens the folder of a run: its model, as it was trained, its data block, its parameters and where training stands."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.model import Model
from netc.compiler.targets.target import Ranks
from netc.dsl.diagnostics import fault
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.dsl.structs import replace
from netc.runtime import plugins
from netc.runtime.data.block.declarations import DataSpec
from netc.runtime.data.block.spec import array_spec, parse_data
from netc.runtime.data.block.split import with_fold
from netc.runtime.data.stored import Array
from netc.runtime.execution.compiled_model import CompiledModel, Options
from netc.runtime.execution.workers import Workers
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import (
    BEST,
    CHECKPOINT,
    Progress,
    load_checkpoint,
    path_span,
    read_checkpoint,
)
from netc.runtime.runs.metrics import read_metrics
from netc.runtime.runs.run import Run, keeps_best
from netc.runtime.runs.run_files import INFO, METRICS, STATES, read_info, refuse
from netc.runtime.runs.run_info import MemberInfo, RunInfo, States, check_states


def require_plugins(folder: Path, names: Sequence[str]) -> None:
    """Raises E1001 if a run needs a plug-in that the user has not named: a run imports nothing by itself."""
    missing = [name for name in names if name not in plugins.loaded()]
    if missing:
        label = f"it was trained with the plug-in {', '.join(f'`{name}`' for name in missing)}"
        hint = " ".join(f"--plugin {name}" for name in missing) + ", if you trust it"
        fault("E1001", f"`{folder}` needs a plug-in", path_span(folder), label, hint=hint)


def open_run(folder: Path, threads: int | None = None, to_train: bool = False, ranks: Ranks | None = None) -> Run:
    """A run as it was left: with its best parameters if `keep` kept them, or `to_train` with the last ones, by `ranks`
    as in Program.

    Raises E1001 if the folder is not a run, or damaged.
    """
    info, text, states = read_info(folder)
    plugins.load_installed()
    require_plugins(folder, info.plugins)
    if to_train and info.members:
        hint = " or ".join(f"netc train --resume {member.run}" for member in info.members[:2])
        fault("E1004", f"`{folder}` is an ensemble, which is not trained", path_span(folder), hint=hint)
    model, spec = _ensemble_as_written(folder, info) if info.members else _run_as_written(folder, info, text)
    model = replace(model, train=replace(model.train, epochs=info.epochs))
    if to_train:
        program = Program(model, seed=info.seed, threads=threads, ranks=ranks)
        progress = load_checkpoint(folder / CHECKPOINT, program.persistent)
    else:
        program, progress = _program_to_use(folder, model, info.seed, threads)
    metrics = read_metrics(folder / METRICS, progress.epoch, progress.metrics)
    _require_states(folder, STATES, model, spec, states)
    return Run(folder, model, spec, states, program, metrics, progress, info=info)


def _run_as_written(folder: Path, info: RunInfo, text: str) -> tuple[Model, DataSpec]:
    """The model of a run and its data block."""
    model = model_as_written(folder, info, text)
    return model, _spec_of(model, info)


def _ensemble_as_written(folder: Path, info: RunInfo) -> tuple[Model, DataSpec]:
    """The model of an ensemble and its data block. Raises E1001 if the states of a member's steps are damaged."""
    from netc.runtime.runs.members import Trained, joined

    members = []
    for member in info.members:
        model = model_as_written(folder, member, member.text)
        spec = _spec_of(model, info)
        _require_states(folder, INFO, model, spec, member.states)
        members.append(Trained(member.run, model, spec, member.states))
    ensemble = joined(members)
    return ensemble.model, ensemble.spec


def _require_states(folder: Path, file: str, model: Model, spec: DataSpec, states: States) -> None:
    """Raises E1001 if the states of steps are not those that the steps keep."""
    try:
        # a field that the model does not read was never fitted
        check_states({name: spec.fields[name] for name in (*model.inputs, *model.targets)}, states)
    except ValueError as error:
        refuse(folder, ValueError(f"{file}: {error}"))


def _spec_of(model: Model, info: RunInfo) -> DataSpec:
    """The data block of a run, with the columns, the shape of pictures and the dialect that it was trained on."""
    if model.data is None:
        return array_spec(model)
    spec = parse_data(model)
    fields = {
        name: replace(field, columns=info.columns[name], is_rest=False) if name in info.columns else field
        for name, field in spec.fields.items()
    }
    return replace(spec, fields=fields, pictures=info.pictures, dialect=info.dialect)


def model_as_written(folder: Path, info: RunInfo | MemberInfo, text: str) -> Model:
    """The model of a run, with the constants and class counts that it was trained with, and the epochs of its text."""

    def class_count(name: str, *_: object) -> int:
        if name not in info.classes:
            refuse(folder, ValueError(f"{INFO}: how many classes `{name}` has is missing"))
        return info.classes[name]

    source = Source(info.name, text, Path(info.path) if info.path else None)
    file = parse(source)
    model = elaborate(file if info.fold is None else with_fold(file, info.fold), info.set, class_count)
    return replace(model, data=None) if info.from_arrays else model


def _program_to_use(folder: Path, model: Model, seed: int, threads: int | None) -> tuple[Program, Progress]:
    """A program with the best parameters of a run, and where its training stands.

    The states of the optimizer are read from the same file when they are first needed. If a process has trained the run
    further meanwhile, only steps of the optimizer are refused.
    """
    options = Options(model.train.batch, seed)
    compiled = CompiledModel.of(model, options, Workers(options.target.machine.cores if threads is None else threads))
    path = folder / (BEST if keeps_best(model, folder) else CHECKPOINT)
    progress = stands = load_checkpoint(path, compiled.state.arrays)
    if path.name == BEST:  # read before the checkpoint, which counts the best epoch
        _, progress, _ = read_checkpoint(folder / CHECKPOINT)

    def fill(arrays: Mapping[str, Array]) -> None:
        if model.member is not None:  # an ensemble has gradients, and no state of an optimizer
            return
        if load_checkpoint(path, arrays) != stands:
            fault("E1001", f"`{folder}` was trained further since it was opened", path_span(folder), "open it again")

    return Program.of_run(compiled, fill), progress
