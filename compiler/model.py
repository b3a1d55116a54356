"""A checked model: what elaboration gives and everything after it starts from. Data, nothing else."""

from dataclasses import dataclass, field

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import DTypeName, Type
from netc.compiler.ir.value import Value
from netc.dsl.diagnostics import Diagnostic
from netc.dsl.source import Source, Span
from netc.dsl.syntax import Data

CLASS_WEIGHTS = "class_weights."  # and a field: a state that is fitted on the training split, before the first step
FITTED = "fitted."  # and a state: the result that it is after each epoch, over the training split


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """A value that stays between steps, trained (a parameter) or not (a state): `initial` names the initialiser, `numbers` are its arguments."""

    name: str
    type: Type
    initial: str
    numbers: tuple[float, ...]
    decay: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Optimizer:
    """The name of an optimizer in passes/update.py, and all its numbers, defaults filled in."""

    name: str = "adam"
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Better:
    """A figure of an epoch, as metrics.jsonl names it, and which way is better."""

    figure: str
    is_higher: bool
    span: Span

    def than(self, one: float, other: float) -> bool:
        return one > other if self.is_higher else one < other


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """Training ends when a figure has not become better for so many epochs."""

    better: Better
    patience: int


@dataclass(frozen=True, slots=True)
class Plateau:
    """The rate is multiplied by `factor` whenever a figure has not become better for `patience` epochs."""

    better: Better
    patience: int
    factor: float


@dataclass(frozen=True, slots=True)
class StartFrom:
    """The folder of a run whose parameters and states are the first ones here; `only` those whose names match a pattern."""

    path: str
    only: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Truncate:
    """Sequences along a dimension are trained in chunks of so many steps."""

    dim: str
    steps: int
    span: Span


@dataclass(frozen=True, slots=True)
class Limit:
    """So many bytes may a step take, parameters and states with it."""

    nbytes: int
    span: Span


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """The `train` block, defaults filled in.

    `schedule` gives `factor`, what to multiply the rate by, from the inputs `step`, `epoch`, `progress` and `epochs`; `loss_scale` such a graph for
    each loss that it names. `freeze` and `lr_scale` are patterns of parameter names. A step of the optimizer adds up `accumulate` batches.
    """

    optimizer: Optimizer
    batch: int = 32
    epochs: int = 10
    seed: int = 0
    precision: DTypeName = "f32"
    shuffle: bool = True
    accumulate: int = 1
    schedule: Graph | None = None
    plateau: Plateau | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    freeze: tuple[str, ...] = ()
    lr_scale: tuple[tuple[str, float], ...] = ()
    loss_scale: tuple[tuple[str, Graph], ...] = ()
    early_stop: EarlyStop | None = None
    keep: Better | None = None
    start_from: StartFrom | None = None
    truncate: Truncate | None = None
    memory: Limit | None = None

    @property
    def samples_per_step(self) -> int:
        """Of a step of the optimizer: a batch, or as many as are accumulated."""
        return self.batch * self.accumulate

    @property
    def has_schedule(self) -> bool:
        """Whether something moves the rate while training."""
        return self.schedule is not None or self.plateau is not None


@dataclass(frozen=True, slots=True)
class Equal:
    """Two varying dimensions that are said to be equal, and where."""

    one: str
    other: str
    span: Span


@dataclass(frozen=True, slots=True)
class Application:
    """That a block, an `op` or an operation was applied: the values of the model's graph from number `first` up to `end` were made by it."""

    name: str
    is_builtin: bool
    first: int
    end: int
    span: Span


@dataclass(frozen=True, slots=True)
class Model:
    """Results of the graph: `output.NAME`, `loss.NAME`, `metric.NAME`, `watch.NAME`, each of a sample's shape with the batch in front; `weight.loss.NAME`,
    what a loss is divided by; `update.NAME`, a state's next value; `fitted.NAME`, what a state is over the training split.

    `inputs` and `targets` are what the model declares, and where; `counted` is what the data said where the file says `class(auto)`, `names` what the model assigns to names, `bounds` how long varying dimensions are at most, `equal` which are said to be as long; `applications` are in the order in which they ended.
    """

    source: Source
    graph: Graph
    inputs: dict[str, Type]
    targets: dict[str, Type]
    declared: dict[str, Span]
    trainables: dict[str, ParameterInfo]
    states: dict[str, ParameterInfo]
    train: TrainSettings
    data: Data | None
    constants: dict[str, object]
    counted: dict[str, int]
    names: dict[str, Value]
    bounds: dict[str, int]
    equal: tuple[Equal, ...]
    applications: tuple[Application, ...]
    warnings: tuple[Diagnostic, ...]

    @property
    def parameters(self) -> dict[str, Type]:
        return {name: info.type for name, info in self.trainables.items()}

    @property
    def values(self) -> dict[str, Value]:
        """What the model gives a name: outputs, and what it assigns."""
        outputs = {name: self.graph.results[f"output.{name}"] for name in self.outputs}
        return {**outputs, **{name: value for name, value in self.names.items() if name not in outputs}}

    @property
    def outputs(self) -> dict[str, Type]:
        return {
            name.removeprefix("output."): value.type
            for name, value in self.graph.results.items()
            if name.startswith("output.")
        }
