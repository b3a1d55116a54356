"""Saved predictions: a record in the cache with all that `netc predict RUN DATA` needs of a run.

A prediction by the compiler (run.py) saves it; later ones read it and run neither the parser, nor a pass, nor LLVM. A
record is found by all that decides it (`_name_of`). One that is missing, damaged or too small for the data is a miss:
the caller then predicts by the compiler, with the same bits. Saved are models that read one array for each input and
have no varying dimension; `record_of` (saved_record.py) says what else is left out.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from netc.compiler.backends import target_of
from netc.compiler.ir.results import ResultKind, parse_result
from netc.compiler.ir.types import Type
from netc.compiler.targets.target import Code, Reopening, Storable
from netc.dsl.diagnostics import Fault
from netc.dsl.quoting import json_text
from netc.dsl.source import NOWHERE, Source, Span
from netc.dsl.storage import records
from netc.runtime.available import NotEnough, require
from netc.runtime.columns import OutputFacts
from netc.runtime.data.block.declarations import DataSpec, SourceSpec, SplitSpec
from netc.runtime.data.new_data import Fitted
from netc.runtime.data.pipeline import class_labels, in_units_of_data
from netc.runtime.data.stored import Array, Bytes, Field
from netc.runtime.environment import fingerprint
from netc.runtime.execution.fields import sample_count
from netc.runtime.execution.loaded import Loaded
from netc.runtime.execution.memory import footprint
from netc.runtime.execution.resources import Resources, State
from netc.runtime.execution.workers import Workers
from netc.runtime.runs.checkpoint import BEST, CHECKPOINT, load_checkpoint
from netc.runtime.runs.metrics import read_metrics
from netc.runtime.runs.run_files import METRICS, read_info
from netc.runtime.runs.run_info import RunInfo, States, encoded
from netc.runtime.runs.saved_record import Record, field_spec, layout_of, options_of, record_of, scale_of
from netc.runtime.typed_json import parsed

if TYPE_CHECKING:
    from netc.runtime.runs.run import Run


class SavedPrediction:
    """A run that predicts without its graph. Opened by `open_saved`."""

    def __init__(self, record: Record, source: Source, states: States, loaded: Loaded) -> None:
        self._record, self._states, self._loaded = record, states, loaded
        self._spans = {name: Span(source, *offsets) for name, offsets in record.program.spans.items()}
        data = record.data
        fields = {name: field_spec(name, field, source) for name, field in data.fields.items()}
        spec = DataSpec(
            SourceSpec(data.reader, "", NOWHERE, options_of(data.options)),
            fields,
            SplitSpec(column=data.split_column),
            Span(source, 0, 0),
            pictures=data.pictures,
            dialect=data.dialect,
        )
        declared = {name: Span(source, *offsets) for name, offsets in data.declared.items()}
        self.fitted = Fitted(source.folder, spec, states, declared)

    @property
    def facts(self) -> OutputFacts:
        return self._record.facts

    @property
    def members(self) -> int:
        """The largest number of workers of a prediction."""
        return self._loaded.members

    @property
    def inputs(self) -> dict[str, Type]:
        """The types of the inputs that are read."""
        return self._record.data.inputs

    def predict(self, fields: Mapping[str, Field]) -> dict[str, Array] | None:
        """The outputs in the units of the data, or None if these fields need another program than the saved one."""
        program, arrays = self._record.program, dict[str, Array]()
        for name, field in fields.items():
            if isinstance(field, Bytes) and program.scales.get(name) == field.scale:
                arrays |= {name: field.array, scale_of(name): np.array(field.scale)}
            elif isinstance(field, np.ndarray) and name not in program.scales:
                arrays[name] = field
            else:
                return None
        count = sample_count(arrays, self._record.data.inputs, program.batch)
        if min(count, program.batch) > program.samples:
            return None
        try:
            results = self._loaded.run_batches(arrays, np.arange(count), program.batch, self._spans)
        except NotEnough:
            return None  # the compiler says at which span of the text
        outputs: dict[str, Array] = {}
        for text, value in results.items():
            result, type_ = parse_result(text), program.results[text].type
            if result.kind is ResultKind.OUTPUT:
                outputs[result.name] = self._in_units(result.name, value if type_.is_batched else np.asarray(value)[0])
        return outputs

    def labels_of(self, name: str, classes: int) -> tuple[str, ...]:
        """The labels of a field's classes."""
        return class_labels(self.fitted.spec.fields[name], self._states[name], classes)

    def _in_units(self, output: str, values: Array) -> Array:
        target = self.facts.units.get(output)
        if target is None or target not in self._record.undone:
            return values
        return in_units_of_data(self.fitted.spec.fields[target], self._states[target], values)


def open_saved(folder: Path, threads: int | None = None) -> SavedPrediction | None:
    """The saved prediction of a run, with its parameters; None if the cache has none. Raises what `open_run` raises."""
    info, text, states = read_info(folder)
    name = _name_of(info, text, states)
    content = records.read(name) if name is not None else None
    if content is None:
        return None
    head, _, step = content.partition(b"\n")
    try:
        record: Record = parsed(head, Record)
    except ValueError:  # another netc wrote it
        return None
    program = record.program
    workers = Workers(program.machine.cores if threads is None else threads)
    members = workers.count if program.is_shared else 1
    target = target_of("cpu", program.machine)
    assert isinstance(target, Reopening), "only machine code is saved"
    executable = target.reopen(Code(step, program.kernels, layout_of(program)), members)
    if executable is None:
        return None
    try:
        require(footprint(program.shared) + members * footprint(program.private), "a step")
        state = State.laid_out(program.arrays, program.offsets, program.nbytes)
        resources = Resources(state, workers, target)
        loaded = Loaded(executable, members, resources)
    except NotEnough:
        return None
    progress = load_checkpoint(folder / CHECKPOINT, resources.state.arrays)
    if record.keeps_best and os.path.exists(folder / BEST):
        load_checkpoint(folder / BEST, resources.state.arrays)
    read_metrics(folder / METRICS, progress.epoch, progress.metrics)  # a damaged run is refused, as `open_run` does
    return SavedPrediction(record, _source(info, text), states, loaded)


def _source(info: RunInfo, text: str) -> Source:
    return Source(info.name, text, Path(info.path) if info.path else None)


def name_of(folder: Path) -> str | None:
    """The name of a run's record as its files are now, or None as in `_name_of`. Raises E1001 as `open_run`."""
    return _name_of(*read_info(folder))


def _name_of(info: RunInfo, text: str, states: States) -> str | None:
    """The name of a run's record, or None if the run may depend on something that the name does not contain.

    The name contains the run and its fitted steps, netc's files, the installed packages, and the machine.
    """
    environment = fingerprint()
    if environment is None or info.plugins or re.search(r"\bimport\b", text):
        return None
    return f"prediction-{records.key_of(environment, encoded(info), text, json.dumps(states, sort_keys=True))}"


def save(run: "Run", fields: Mapping[str, Field], name: str | None) -> None:
    """Saves what a prediction of all outputs from these fields needed, if it can be saved.

    `name` is what `name_of` returned before the run was opened. Nothing is saved if the run or netc has changed since.
    """
    if name is None or name != _name_now(run.folder):
        return
    step = run.program.prediction_step(fields)
    code = step.executable.code if isinstance(step.executable, Storable) else None
    record = record_of(run, step, fields, code) if code is not None else None
    if code is not None and record is not None:
        head = json_text(msgspec.to_builtins(record)).encode()
        assert b"\n" not in head, "JSON escapes line breaks"
        records.write(name, head + b"\n" + code.step)


def _name_now(folder: Path) -> str | None:
    try:
        return name_of(folder)
    except Fault:  # the run was deleted meanwhile
        return None
