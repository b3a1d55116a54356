"""A run: the folder that training leaves, its model and its predictions. writing.py writes it, opening.py opens it.

runs/NAME/ holds model.net, run.json, data.json (fitted steps), metrics.jsonl, checkpoint.safetensors and curves.svg.
run.json has the hashes of the first and the third file, and its own: what is opened is what was written, or a message.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from netc.compiler.analysis.units import units_of_values
from netc.compiler.model import Model
from netc.compiler.targets.target import Ranks
from netc.dsl.diagnostics import Diagnostic, fault, nearest
from netc.dsl.displayed import Displayed
from netc.dsl.structs import replace
from netc.runtime.columns import OutputFacts
from netc.runtime.data.block.declarations import DataSpec
from netc.runtime.data.dataset import Dataset, load, undone
from netc.runtime.data.new_data import Fitted, NewData, fitting_lengths, inputs_and_values, read_fields
from netc.runtime.data.pipeline import class_labels, in_units_of_data
from netc.runtime.data.stored import Array
from netc.runtime.data.tables.raw_data import raw_table
from netc.runtime.data.tables.raw_values import warn_of_raw_values
from netc.runtime.data.tables.table import Table
from netc.runtime.execution.compiled_model import built_once
from netc.runtime.execution.fields import Fields
from netc.runtime.inference.parts import fields_of, part_of
from netc.runtime.locks import Mutex
from netc.runtime.metric_values import Intervals, MetricValues
from netc.runtime.prediction_table import Predictions
from netc.runtime.program import Program
from netc.runtime.runs.checkpoint import (
    BEST,
    CHECKPOINT,
    Progress,
    load_checkpoint,
    path_span,
    read_checkpoint,
    save_checkpoint,
)
from netc.runtime.runs.data_changes import changes_of, explaining, require_division
from netc.runtime.runs.metrics import Metrics, MetricsFile
from netc.runtime.runs.run_files import METRICS
from netc.runtime.runs.run_info import RunInfo, States
from netc.runtime.target_outputs import in_words_of, output_facts

if TYPE_CHECKING:
    from netc.runtime.runs.start_from import StartReport


class Run(Displayed, Struct, eq=False):
    """A trained model and its folder. `metrics` has a row for each epoch, as metrics.jsonl does.

    `data_changes` are warnings about data that has changed since training; `load_data` finds them.

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
    data_changes: tuple[Diagnostic, ...] = ()
    loaded: "StartReport | None" = None
    _loading: Mutex = field(default_factory=Mutex)
    _metrics_file: MetricsFile = field(default_factory=MetricsFile)
    # What predictions need to know of the graph: to find it takes longer than to predict a row.
    _needed: dict[object, list[str]] = field(default_factory=dict)
    _units: dict[str, dict[str, str]] = field(default_factory=dict)
    _facts: dict[tuple[str, ...], OutputFacts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.program.inspect = lambda fields: warn_of_raw_values(fields, self.spec.fields, self.states)

    def __repr__(self) -> str:
        return f"<Run {str(self.folder)!r} of {self.model.source.name!r}: {self.metrics.summary()}>"

    def undone(self) -> dict[str, Callable[[Array], Array]]:
        """For each float target with steps, the function that brings it back to the data's units."""
        return undone(self.spec, self.states, self.model.targets)

    def evaluate(self, part: str = "test") -> MetricValues:
        """`loss`, and each metric, over a part of the data, in the data's units.

        Raises E0806 if the split has no such part.
        """
        return self.program.evaluator.evaluate(self._fields_of(part), self.undone())

    def evaluate_with_intervals(self, part: str = "test") -> tuple[MetricValues, Intervals]:
        """The result of `evaluate`, and a 95 % bootstrap interval of each loss and metric that is a number.

        It says how much the metric would vary with other samples of the same kind, for the parameters as they are.
        """
        return self.program.evaluator.evaluate_with_intervals(self._fields_of(part), self.undone())

    def _fields_of(self, part: str) -> Fields:
        """A part of the data. Raises E0806 if the split does not have it."""
        parts = self.load_data().parts
        if part not in parts:
            part = str(part)
            split = self.spec.split
            hint: str | None = nearest(part, parts)
            if split.way == "folds" and not split.fold:
                hint = "all rows but those of `folds(..., test = 0.2)` are training rows of some member of the ensemble"
            fault("E0806", f"the split has no part `{part}`", split.span, f"it has {', '.join(parts)}", hint=hint)
        return parts[part]

    def load_data(self) -> Dataset:
        """The data that the run was trained on, through its fitted steps.

        Raises E0501 if that were arrays, E0842 if this version of netc would divide it in another way.
        """
        with self._loading:
            if self.dataset is None:
                if self.model.data is None:
                    fault("E0501", "the run was trained on arrays, which it does not keep", path_span(self.folder))
                require_division(self.folder, self.spec, self.info)
                sources = self.info.sources if self.info is not None else ()
                with explaining(self.spec, self.model.source.folder, sources):
                    self.dataset = load(self.model, self.spec, self.states)
                self.data_changes = changes_of(self.dataset, self.model.source.folder, sources)
            return self.dataset

    @property
    def fitted(self) -> Fitted:
        """The data block with its fitted steps, by which new data is read."""
        return Fitted(self.model.source.folder, self.spec, self.states, self.model.declared)

    def read(self, table: Table, names: Sequence[str] | None = None, is_strict: bool = False) -> NewData:
        """The inputs of new data through the fitted steps, and the inner values among `names` as they are.

        Raises E0802 if a column of an input is missing, and as `read_fields` if no row can be used.
        """
        inputs, values = inputs_and_values(self.model, [*self.model.inputs] if names is None else names)
        data = read_fields(self.fitted, table, inputs, values, is_strict)
        return fitting_lengths(self.model, data, is_strict)

    def predict(
        self,
        data: Any,
        beam: int = 1,
        outputs: Sequence[str] | None = None,
        given: Sequence[str] = (),
        strict: bool = False,
    ) -> Predictions:
        """The predictions for raw data: the same, bit for bit, as those of `netc predict`.

        `data` is a path, a DataFrame (of pandas, polars, or another library with the Arrow or the dataframe interchange
        interface), columns by name, or a list of rows, each with its cells by name. Columns are bound by name; those
        that no input reads may be missing. `given` names values of the model that `data` contains, as a prediction gave
        them. The prediction for a row that cannot be used is NaN or None, and `problems` names the row; with
        `strict` it is a Fault. `beam` and `outputs` are as in Program.predict, which takes prepared arrays.
        """
        names = self.needed(given, outputs)
        new = self.read(raw_table(self.fitted, data, [*self.model.inputs], given), names, strict)
        predicted = self.predict_prepared(new.fields, beam, outputs)
        return Predictions(new, self.facts_of([*predicted]), self.labels_of, predicted)

    def needed(self, given: Sequence[str] = (), outputs: Sequence[str] | None = None) -> list[str]:
        """The inputs and the values among `given` that `outputs` are computed from, or else all that they suffice for.

        Raises ValueError for a wrong name.
        """

        def build() -> list[str]:
            only = given if given and outputs is None else [*self.model.inputs, *given]
            return [*fields_of(self.model, part_of(self.model, only, outputs))]

        return [*built_once(self._needed, ((*given,), None if outputs is None else (*outputs,)), build)]

    def predict_prepared(self, fields: Fields, beam: int = 1, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """The outputs for arrays that went through the fitted steps.

        An output that a loss compares with a target comes back in that target's units. `beam` and `outputs` are as in
        Program.predict.
        """
        outputs_by_name = self.program.predictor.predict(fields, beam, outputs)
        units, undone = built_once(self._units, "all", lambda: units_of_values(self.model)), self.undone()
        predictions: dict[str, Any] = {}
        for name, value in outputs_by_name.items():
            target = units.get(name)
            if target is not None and target in undone:
                field, states = self.spec.fields[target], self.states[target]
                is_list = isinstance(value, list)
                parts = [in_units_of_data(field, states, array) for array in (value if is_list else [value])]
                predictions[name] = parts if is_list else parts[0]
            else:
                predictions[name] = value
        return predictions

    def labels_of(self, name: str, classes: int) -> tuple[str, ...]:
        """The labels of a field's classes; their numbers if the data does not name them."""
        return class_labels(self.spec.fields[name], self.states[name], classes)

    def facts_of(self, outputs: Sequence[str]) -> OutputFacts:
        """The facts about these outputs, with the names that the data has for the entries of a target.

        Without the probability of a float target whose two classes the data does not name.
        """

        def build() -> OutputFacts:
            facts = output_facts(self.model, outputs)
            fields, states = self.spec.fields, self.states
            named = (in_words_of(entry, fields[entry.target], states[entry.target]) for entry in facts.distributions)
            return replace(facts, distributions=[entry for entry in named if entry is not None])

        return built_once(self._facts, (*outputs,), build)

    @property
    def ranks(self) -> Ranks | None:
        """The processes that train this run together; None in a process by itself. Rank 0 writes its files."""
        return self.program.workers.ranks

    @property
    def is_writer(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.ranks is None or self.ranks.rank == 0

    def save_best(self) -> None:
        """Keeps the current parameters: by the metric of `keep`, no epoch before was as good."""
        if not self.is_writer:
            return
        with self.program.guard.reading:
            save_checkpoint(self.folder / BEST, self.program.persistent, self.progress, self._owned)

    def kept_epoch(self) -> int | None:
        """The epoch whose parameters `keep` has kept; None if there are none, or of an epoch that is still to come."""
        if not keeps_best(self.model, self.folder):
            return None
        _, progress, _ = read_checkpoint(self.folder / BEST)
        return progress.epoch if progress.epoch <= self.progress.epoch else None

    def load_best(self) -> None:
        """Loads the parameters that `keep` kept, if it is set. Afterwards the run is used, and trained no further."""
        ranks, is_kept = self.ranks, keeps_best(self.model, self.folder)
        if ranks is not None:
            is_kept = ranks.largest([self.is_writer and is_kept]) == [1]
        if is_kept:
            with self.program.guard.writing:
                arrays = self.program.persistent
                if self.is_writer:
                    load_checkpoint(self.folder / BEST, arrays)
                if ranks is not None:
                    for array in arrays.values():
                        ranks.copy_from_first(array)

    def save(self) -> None:
        """Saves the metrics, then the checkpoint that counts them: no checkpoint is without the rows of its epochs."""
        assert len(self.metrics) == self.progress.epoch
        if not self.is_writer:
            return
        self._metrics_file.save(self.folder / METRICS, self.metrics)
        self.progress.metrics = self._metrics_file.checksum
        with self.program.guard.reading:
            save_checkpoint(self.folder / CHECKPOINT, self.program.persistent, self.progress, self._owned)

    @property
    def _owned(self) -> tuple[str, ...]:
        return (*self.model.trainables, *self.model.states)


def keeps_best(model: Model, folder: Path) -> bool:
    """Whether the folder has the parameters of a best epoch, and the model's settings keep them."""
    return model.train.keeps_parameters and os.path.exists(folder / BEST)
