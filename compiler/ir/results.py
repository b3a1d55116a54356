"""Results of a graph: what each is for (its kind) and what it is called, as a key of `Graph.results`.

A graph prints a result as `KIND.NAME`, and its parser reads that back. Arrays, tables of a plan and files are keyed by
this text; nobody else takes it apart.
"""

from enum import Enum
from functools import cache

from msgspec import Struct


class ResultKind(Enum):
    """The purpose of a result. The value is the text before its name in printed graphs."""

    OUTPUT = "output"  # a prediction
    LENGTH = "length"  # the true size of each sample along a dimension that an output stores at its bound
    LOSS = "loss"
    METRIC = "metric"
    WATCH = "watch"  # a watched value; its statistics are `watch.NAME.STATISTIC`
    LOSS_WEIGHT = "weight.loss"  # the sum of a loss is divided by the sum of its weight
    METRIC_WEIGHT = "weight.metric"
    FITTED = "fitted"  # a state's value after each epoch, over a part of the data
    UPDATE = "update"  # the next value of a parameter or a state
    TOTAL = "total"  # the mean of one loss, or without a name the sum of all losses
    COUNT = "count"  # what the sum of a loss was divided by
    GRADIENT = "gradient"  # of a parameter or an input
    FACTOR = "factor"  # of a schedule
    NEXT = "next"  # in the body of a scan: a carry after the step
    YIELD = "yield"  # in the body of a scan: a value that is stacked
    LAST = "last"  # a part of a scan: a carry after each sample's last step
    CHUNK = "chunk"  # what the next chunk of truncated sequences begins with
    STATE = "state"  # the next value of a state of a stepping graph, or a carry that the gradient diagnosis probes
    UNIT = "unit"  # values of units that the diagnosis observes
    COLLECTED = "collect"  # a value of each batch that is collected over a split
    NAMED = "name"  # a value that the model gives a name
    REPLACED = "given"  # a value that becomes an input of a part of a model
    VALUE = ""  # any other result

    def named(self, name: str | int = "") -> "Result":
        """The result of this kind with a name. Carries and other numbered results are named by their number."""
        return Result(self, str(name))


class Result(Struct, frozen=True):
    """The key of one result of a graph."""

    kind: ResultKind
    name: str = ""

    def __str__(self) -> str:
        return ".".join(filter(None, (self.kind.value, self.name)))

    @property
    def number(self) -> int:
        """The name of a numbered result, such as the next value of a carry."""
        return int(self.name)

    @property
    def weight(self) -> "Result | None":
        """The key of the weight by which a loss or a metric is divided; None for other kinds."""
        kind = _WEIGHTS.get(self.kind)
        return kind.named(self.name) if kind is not None else None


_WEIGHTS = {ResultKind.LOSS: ResultKind.LOSS_WEIGHT, ResultKind.METRIC: ResultKind.METRIC_WEIGHT}
_KINDS = {kind.value: kind for kind in ResultKind if kind.value}

# the results that belong to a training step, an evaluation and a prediction of a model
TRAINED = (ResultKind.LOSS, ResultKind.LOSS_WEIGHT, ResultKind.UPDATE)
EVALUATED = (
    ResultKind.LOSS,
    ResultKind.METRIC,
    ResultKind.WATCH,
    ResultKind.LOSS_WEIGHT,
    ResultKind.METRIC_WEIGHT,
    ResultKind.OUTPUT,
)
PREDICTED = (ResultKind.OUTPUT, ResultKind.LENGTH)


@cache
def parse_result(text: str) -> Result:
    """Reads the printed form of a result. A text that begins with no kind is a name by itself."""
    first, _, rest = text.partition(".")
    second, _, name = rest.partition(".")
    if kind := _KINDS.get(f"{first}.{second}"):
        return Result(kind, name)
    return Result(_KINDS[first], rest) if first in _KINDS else Result(ResultKind.VALUE, text)
