"""A checked model: the result of elaboration, as data."""

import math
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct, field

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.types import SHARD_COUNT, Precision, Type, describe_sample
from netc.compiler.ir.value import Value
from netc.dsl.diagnostics import Diagnostic
from netc.dsl.displayed import Displayed
from netc.dsl.quoting import bounded
from netc.dsl.source import Source, Span
from netc.dsl.syntax import Data, Setting, Study


class ParameterInfo(Struct, frozen=True):
    """A parameter or a state. `initial` names its initialiser, `numbers` are the initialiser's arguments.

    `decay` says whether weight decay applies to it. `weights_of` is set for a state that holds class weights, which are
    fitted on the training split before the first step: the field whose classes they belong to. `part` is the part of
    the data that a `fitted` state is computed from after each epoch: "calibration" is "valid" where there is none.
    """

    name: str
    type: Type
    initial: str
    numbers: tuple[float, ...]
    decay: bool
    span: Span
    weights_of: str | None = None
    part: str = "train"


class Optimizer(Struct, frozen=True):
    """The name of an optimizer (passes/optimizers.py), and its arguments with defaults filled in: numbers, switches."""

    name: str = "adam"
    numbers: dict[str, float | bool] = field(default_factory=dict)

    def text(self, number: Callable[[float], str] = repr) -> str:
        """The optimizer as it stands in a file, with all arguments. `number` writes a number."""
        values = {key: str(n).lower() if isinstance(n, bool) else number(n) for key, n in self.numbers.items()}
        return f"{self.name}({', '.join(f'{key} = {value}' for key, value in values.items())})"


class Better(Struct, frozen=True):
    """A metric of an epoch by its name in metrics.jsonl, and whether higher is better."""

    metric: str
    is_higher: bool
    span: Span

    def improves(self, number: float, best: float, margin: float = 0.0) -> bool:
        """Whether a number is better than the best one by more than `margin` times the size of that one.

        NaN is not an improvement, and any number improves on NaN.
        """
        if math.isnan(best):
            return not math.isnan(number)
        bound = best * (1 + margin if self.is_higher == (best >= 0) else 1 - margin)
        return number > bound if self.is_higher else number < bound


class EarlyStop(Struct, frozen=True):
    """Training ends when a metric has not improved for `patience` epochs (Better.improves)."""

    better: Better
    patience: int
    margin: float = 0.0


class Plateau(Struct, frozen=True):
    """The learning rate is multiplied by `factor` after more than `patience` epochs without an improvement of a metric
    (Better.improves)."""

    better: Better
    patience: int
    factor: float
    margin: float = 1e-4  # as in PyTorch's ReduceLROnPlateau


class Average(Struct, frozen=True):
    """A mean of the parameters, which a run keeps: over steps, the last of which count most (`decay` is the weight of
    all earlier ones at each step), or over the ends of the `last` epochs."""

    decay: float | None
    last: int | None


class StartFrom(Struct, frozen=True):
    """A run's folder from which training takes first parameters and states; `only` those that match a pattern."""

    path: str
    only: tuple[str, ...]
    span: Span


class Truncate(Struct, frozen=True):
    """Sequences along a dimension are trained in chunks of `steps` steps."""

    dim: str
    steps: int
    span: Span


class Limit(Struct, frozen=True):
    """The most bytes that a step may use, parameters and states included."""

    nbytes: int
    span: Span


class TrainSettings(Struct, frozen=True):
    """The `train` block, defaults filled in.

    `schedule` computes `factor`, by which the learning rate is multiplied, from the inputs `step`, `epoch`, `progress`
    and `epochs`; `loss_scale` has such a graph for each loss that it names. `freeze` and `lr_scale` have patterns of
    parameter names. A step of the optimizer adds up `accumulate` batches, each of which is cut into `shards`.
    """

    optimizer: Optimizer
    batch: int = 32
    epochs: int = 10
    seed: int = 0
    precision: Precision = "f32"
    shuffle: bool = True
    accumulate: int = 1
    shards: int = SHARD_COUNT
    schedule: Graph | None = None
    plateau: Plateau | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    freeze: tuple[str, ...] = ()
    lr_scale: tuple[tuple[str, float], ...] = ()
    loss_scale: tuple[tuple[str, Graph], ...] = ()
    early_stop: EarlyStop | None = None
    keep: Better | None = None
    average: Average | None = None
    start_from: StartFrom | None = None
    truncate: Truncate | None = None
    memory: Limit | None = None

    @property
    def floats(self) -> Literal["f32", "f64"]:
        """The element type of floats. With bf16 it is f32: products read rounded copies (passes/narrow.py)."""
        return "f32" if self.precision == "bf16" else self.precision

    @property
    def samples_per_step(self) -> int:
        """The samples of a step of the optimizer, which may accumulate several batches."""
        return self.batch * self.accumulate

    @property
    def watched_metrics(self) -> tuple[Better, ...]:
        """The metrics by which training decides something: `early_stop`, `keep`, a plateau."""
        settings = (self.early_stop, self.plateau)
        of_settings = tuple(setting.better for setting in settings if setting is not None)
        return of_settings if self.keep is None else (*of_settings, self.keep)

    @property
    def keeps_parameters(self) -> bool:
        """Whether a run keeps other parameters for use than those that training goes on with."""
        return self.keep is not None or self.average is not None

    def number(self, name: str) -> float:
        """A number that steps read while they run: the optimizer's by its name, `clip_norm`, `clip_value`, or the
        weight of earlier steps in an `average`."""
        match name:
            case "average":
                number = self.average.decay if self.average is not None else None
            case "clip_norm" | "clip_value":
                number = getattr(self, name)
            case _:
                number = self.optimizer.numbers[name]
        assert number is not None, name
        return number


class Equal(Struct, frozen=True):
    """Two varying dimensions that are equal because of a `same_length` at `span`."""

    first: str
    other: str
    span: Span


class Application(Struct, frozen=True):
    """An application of a block, an `op` or an operation: it added the values of the graph from number `first` up to
    `end`."""

    name: str
    is_builtin: bool
    first: int
    end: int
    span: Span


class Comparison(Struct, frozen=True):
    """A loss of the library that compares a prediction with a label, and where the label and the loss stand."""

    loss: str
    prediction: Value
    label: Value
    label_span: Span
    span: Span


class Model(Displayed, Struct, frozen=True):
    """A checked model.

    Results of its graph are `output.NAME`, `loss.NAME`, `metric.NAME` and `watch.NAME`, each a sample's value with the
    batch in front; `weight.loss.NAME`, by which the sum of a loss is divided; `update.NAME`, a state's next value; and
    `fitted.NAME`, a state's value over its part of the data.

    `settings` are those of the `train` block as written, or as `overrides` replaced them: these are the values by which
    the file's constants and settings were replaced (`--set`), and a run keeps them. `declared` has the places of
    inputs and targets, `counted` the numbers of classes that stand for `class(auto)`, by field. `names` are the
    values that the model assigns to names. `bounds` says how many steps a varying dimension has at most, `equal`
    which ones are equally long. `applications` are in the order in which they ended, and `comparisons` are those that
    the losses consist of. `member` is set for an ensemble (compiler/ensemble/): one of its models.
    """

    source: Source
    graph: Graph
    inputs: dict[str, Type]
    targets: dict[str, Type]
    declared: dict[str, Span]
    trainables: dict[str, ParameterInfo]
    states: dict[str, ParameterInfo]
    train: TrainSettings
    settings: tuple[Setting, ...]
    data: Data | None
    study: Study | None
    constants: dict[str, object]
    counted: dict[str, int]
    names: dict[str, Value]
    bounds: dict[str, int]
    equal: tuple[Equal, ...]
    applications: tuple[Application, ...]
    comparisons: tuple[Comparison, ...]
    warnings: tuple[Diagnostic, ...]
    member: "Model | None" = None
    overrides: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}: {describe_sample(type_)}" for name, type_ in self.inputs.items())
        outputs = ", ".join(f"{name}: {describe_sample(type_)}" for name, type_ in self.outputs.items())
        types = f"{bounded(fields, 100)} -> {bounded(outputs, 100)}"
        return f"<Model {self.source.name!r}: {types}, {self.parameter_count:,} parameters>"

    @property
    def described(self) -> "Model":
        """The model whose graph says what the outputs stand for: an ensemble's outputs stand for those of its members.

        The names of its outputs, inputs and targets are those of this model.
        """
        return self if self.member is None else self.member

    @property
    def parameter_count(self) -> int:
        """The number of trainable numbers."""
        return sum(info.type.size(1) for info in self.trainables.values())

    @property
    def parameters(self) -> dict[str, Type]:
        """The types of the parameters, by name."""
        return {name: info.type for name, info in self.trainables.items()}

    @property
    def values(self) -> dict[str, Value]:
        """The values that the model gives names: its outputs, and those that it assigns."""
        outputs = {name: self.graph.results[ResultKind.OUTPUT.named(name)] for name in self.outputs}
        return {**outputs, **{name: value for name, value in self.names.items() if name not in outputs}}

    @property
    def outputs(self) -> dict[str, Type]:
        """The types of the outputs, by name, with the batch in front."""
        return {name: value.type for name, value in self.graph.results_of(ResultKind.OUTPUT).items()}
