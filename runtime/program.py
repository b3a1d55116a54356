"""`netc.Program`: training, prediction and evaluation of one compiled model behind one name.

It passes calls on; what they do is in training/ and inference/, over the memory of execution/compiled_model.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netc.compiler.backends import Backend, target_of
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import describe_sample
from netc.compiler.model import Model
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Ranks, Target
from netc.dsl.plural import counted
from netc.dsl.structs import replace
from netc.runtime.arguments import integer, names_of, require_kind
from netc.runtime.data.stored import Array, Arrays, Ragged
from netc.runtime.execution.compiled_model import CompiledModel, Fill, Options, Scheduled
from netc.runtime.execution.fields import Fields, RawFields
from netc.runtime.execution.passed_fields import PassedFields
from netc.runtime.execution.resources import State
from netc.runtime.execution.step import Step
from netc.runtime.execution.workers import Workers
from netc.runtime.inference.evaluation import Evaluator
from netc.runtime.inference.prediction import Predictor
from netc.runtime.locks import Guard, building
from netc.runtime.metric_values import Intervals, Losses, MetricValues
from netc.runtime.training.pace import Pace

if TYPE_CHECKING:  # imported where a program is trained: a prediction does without
    from netc.runtime.training.averaging import Averages
    from netc.runtime.training.training import Training


class Program:
    """A compiled model: its parameters, and prediction, gradients and training steps over them.

    `batch` is the most samples that one step takes; larger arrays are cut into batches by `predict`. `threads` defaults
    to the cores that the process may use; results are the same bits on any number of them. Several threads may call
    one program at the same time: predictions, evaluations and gradients run side by side, and a call that changes
    parameters runs alone (`guard`): the others read what it left, never half of it. `backend` names what runs the
    program (compiler/backends.py), or is a target itself. `machine` is what the program is compiled for: a target
    description or its text (targets/named.py), by default what NETC_TARGET says, else the host. Raises ValueError for
    less than 1 thread, for a backend that does not exist, for a machine beside a target, which has its own, and for a
    machine whose code this one cannot run. `ranks` are processes that run all steps of the program together, each with
    a copy of its memory: all of them must make the same calls in the same order.

    `inspect` is called with the fields of each `predict` and `evaluate`, before they are used; a run warns there of raw
    data. `predictor` and `evaluator` take fields that need no inspection.
    """

    def __init__(
        self,
        model: Model,
        seed: int | None = None,
        backend: Backend | Target = "cpu",
        batch: int | None = None,
        threads: int | None = None,
        machine: Machine | str | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        from netc.runtime.training.training import Training

        require_kind(model, Model, "a program is compiled of a model", 'netc.load("model.net") loads one')
        target = target_of(backend, machine)
        most = model.train.batch if batch is None else integer("batch", batch)
        options = Options(most, model.train.seed if seed is None else integer("seed", seed, 0), target)
        workers = Workers(target.machine.cores if threads is None else threads, ranks)
        training = Training.of(model, options, workers)
        self._share(training.compiled, training, None)

    def __repr__(self) -> str:
        threads = self.workers.count
        facts = f"{self.model.parameter_count:,} parameters, {counted(threads, 'thread')}"
        return f"<Program of {self.model.source.name!r}: {self.backend}, batch {self.batch}, {facts}>"

    @classmethod
    def of_options(cls, model: Model, options: Options, workers: Workers) -> "Program":
        """A program with initial parameters whose options may have executables that other programs run too."""
        from netc.runtime.training.training import Training

        program = cls.__new__(cls)
        training = Training.of(model, options, workers)
        program._share(training.compiled, training, None)
        return program

    @classmethod
    def of_run(cls, compiled: CompiledModel, fill: Fill) -> "Program":
        """A program over the parameters of a run; `fill` gives the optimizer's states their values.

        The training graph and these states are made when they are first needed: a prediction needs neither.
        """
        program = cls.__new__(cls)
        program._share(compiled, None, fill)
        return program

    def _share(self, compiled: CompiledModel, training: "Training | None", fill: Fill | None) -> None:
        self._compiled, self._prepared, self._fill, self.pace = compiled, training, fill, Pace()
        self.evaluator, self.predictor = Evaluator(compiled), Predictor(compiled)
        self._fields = PassedFields(compiled.fields)
        self.inspect: Callable[[RawFields], None] = lambda fields: None

    @property
    def _training(self) -> "Training":
        """The training of this model: whoever gives views of the memory away, or writes to it, asks for this first."""
        if self._prepared is None:
            from netc.runtime.training.training import Training

            with building:
                if self._prepared is None:
                    assert self._fill is not None
                    self._prepared = Training.extending(self._compiled, self._fill)
        return self._prepared

    def restart(self, model: Model, seed: int, draws: bool = True) -> None:
        """Begins again with new parameters, for a model with the same `programs_of` (training/programs.py): no step is
        built again. Views of the memory show the new parameters, which the caller sets if it does without `draws`."""
        self._compiled.model, self._compiled.options = model, replace(self._compiled.options, seed=seed)
        self._prepared = self._training.restarted(draws)

    def predict(self, fields: RawFields, beam: int = 1, outputs: Sequence[str] | None = None) -> dict[str, Any]:
        """The outputs for any number of samples; for a varying dimension, a list of arrays.

        `outputs` names the outputs to compute, or other values that the model gives a name. A field may be such a
        value too, and replaces what computes it: a code, to be decoded (inference/parts.py; raises ValueError for a
        wrong name). `beam` is the number of hypotheses that beam search keeps of what a decoder may yield
        (inference/beam.py); above 1, raises E0507 if no output is decoded step by step.
        """
        fields, beam = self._passed(fields), integer("beam", beam)
        self.inspect(fields)
        return self.predictor.predict(fields, beam, None if outputs is None else names_of("outputs", outputs))

    def _passed(self, fields: RawFields) -> dict[str, Any]:
        """Fields of a Python program as arrays and sequences. Raises ArgumentFault where they do not fit the model."""
        return self._fields.checked(fields)

    def prediction_step(self, fields: RawFields) -> Step:
        """The step that predicts all outputs from these fields, built once."""
        return self.predictor.step_for(fields)

    def evaluate(self, fields: RawFields, undo: Mapping[str, Callable[[Array], Array]] | None = None) -> MetricValues:
        """Losses, metrics and watched values over all samples.

        A loss is its sum over its count, a split metric is computed once from all samples. `undo` brings a target back
        to the units of the data; metrics are then in these units.
        """
        fields = self._passed(fields)
        self.inspect(fields)
        return self.evaluator.evaluate(fields, undo)

    def evaluate_with_intervals(
        self, fields: RawFields, undo: Mapping[str, Callable[[Array], Array]] | None = None
    ) -> tuple[MetricValues, Intervals]:
        """The result of `evaluate`, and a 95 % bootstrap interval of each loss and metric that is a number and depends
        on samples (inference/bootstrap.py). The resamples depend only on the seed."""
        fields = self._passed(fields)
        self.inspect(fields)
        return self.evaluator.evaluate_with_intervals(fields, undo)

    def step(self, fields: RawFields) -> dict[str, float]:
        """One step of the optimizer on a batch (or as many samples as are accumulated).

        Returns each loss by name and `loss`, their sum.
        """
        return self._training.step(self._passed(fields))

    def steps(self, fields: Fields, order: Array, epoch: int, scheduled: Scheduled | None = None) -> Losses:
        """A step of the optimizer for every batch of the samples that `order` numbers (or for all that accumulate).

        Random numbers depend on the seed, the epoch and the samples' numbers. `scheduled` are the rate and
        what schedules multiply losses by, a number for each step.
        """
        return self._training.steps(fields, order, epoch, scheduled)

    def gradients(self, fields: RawFields, wrt: tuple[str, ...] = ()) -> tuple[float, dict[str, Array]]:
        """The loss of a batch, as a training step computes it, and its gradients by parameter and input of `wrt`."""
        wrt = names_of("wrt", wrt)
        if unknown := [name for name in wrt if name not in self.model.inputs]:
            raise ValueError(f"the model has no input `{unknown[0]}`: it has {', '.join(self.model.inputs)}")
        if classes := [name for name in wrt if not self.model.inputs[name].is_float]:
            type_ = describe_sample(self.model.inputs[classes[0]])
            raise ValueError(f"there is no gradient with respect to `{classes[0]}`: it is {type_}, and no float")
        return self._training.gradients(self._passed(fields), wrt)

    def fit(self, fields: RawFields) -> None:
        """Sets the states that come from the training split before the first step: class weights."""
        self._training.fit(self._passed(fields))

    def refit(self, fields: RawFields, valid: RawFields | None = None, calibration: RawFields | None = None) -> None:
        """Computes the `fitted` states by the current parameters, each from its part of the data, after each epoch.

        `fields` are the training split. States of a part that is missing stay as they are; what is fitted for
        calibration takes `valid` if there is no other.
        """
        parts = {"valid": valid, "calibration": calibration}
        present = {part: self._passed(samples) for part, samples in parts.items() if samples is not None}
        present = {"train": self._passed(fields), **present}
        self._training.refit(self.evaluator, present)

    def training(self, fields: Fields) -> Step:
        """The training step for fields that are stored in this way, built once. Raises E0501 without a loss."""
        return self._training.step_for(fields)

    def training_graph(self) -> Graph:
        """The graph of a training step before the passes. Raises E0501 without a loss."""
        return self._training.training_graph()

    def profiled(self, fields: Fields) -> Step:
        """A training step of this program that counts the ticks of each call."""
        return self._training.profiled_step(fields)

    def step_of(self, key: object, graph: Callable[[], Graph], fields: Fields) -> Step:
        """A graph of this model, ready to run on fields that are stored in this way; built once for each key."""
        return self._training.compiled.step_of(key, graph, fields)

    def run_step(
        self, step: Step, fields: Fields, order: Array, epoch: int, scheduled: Scheduled | None = None
    ) -> dict[str, Array | Ragged]:
        """Runs a step of this program over the samples of `order`: see CompiledModel.run_step."""
        return self._compiled.run_step(step, fields, order, epoch, scheduled)

    @property
    def compiled(self) -> CompiledModel:
        """The model with its arrays, for those that only read them during one call, under the guard.

        Unlike `state` it has no states of the optimizer before these are needed.
        """
        return self._compiled

    @property
    def model(self) -> Model:
        return self._compiled.model

    @property
    def backend(self) -> str:
        """The name of the target."""
        return self.target.name

    @property
    def target(self) -> Target:
        """The target that the steps of this program are built for."""
        return self._compiled.options.target

    @property
    def machine(self) -> Machine:
        return self.target.machine

    @property
    def batch(self) -> int:
        return self._compiled.options.batch

    @property
    def seed(self) -> int:
        return self._compiled.options.seed

    @property
    def workers(self) -> Workers:
        return self._compiled.workers

    @property
    def guard(self) -> Guard:
        """The lock of the parameters and states: `with guard.reading:` or `with guard.writing:`."""
        return self._compiled.guard

    @property
    def varying(self) -> dict[str, str]:
        """The varying dimension of each field that has one."""
        return self._compiled.fields.varying

    @property
    def state(self) -> State:
        """The memory of parameters and states."""
        return self._training.compiled.state

    @property
    def persistent(self) -> dict[str, Array]:
        """Views of all that stays between steps, by name: parameters, states and the optimizer's states."""
        return Arrays({**self.state.arrays, **self._training.kept})

    @property
    def is_trained(self) -> bool:
        """Whether no further step of the optimizer lowers the loss, as one that searches finds out."""
        return self._training.is_over

    @property
    def averages(self) -> "Averages | None":
        """The averages of the parameters, if the run keeps these (`keep = average(...)`)."""
        return self._training.averages

    @property
    def parameters(self) -> dict[str, Array]:
        """Views of the parameters, by name: whoever writes to them changes the model."""
        persistent = self.persistent
        return Arrays({name: persistent[name] for name in self.model.parameters})
