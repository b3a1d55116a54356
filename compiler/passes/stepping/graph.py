"""The graph of one step of a model of sequences, with its states and histories (step.py makes it)."""

from typing import NoReturn

from msgspec import Struct, field

from netc.compiler.ir.graph import Graph, needed_by
from netc.compiler.ir.results import Result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Precision, Type
from netc.compiler.ir.value import Value
from netc.compiler.operations.attention import attend, attend_sums
from netc.compiler.operations.gathering import gather
from netc.compiler.passes.narrow import narrow
from netc.compiler.passes.stepping.axes import NeedsAll
from netc.compiler.passes.stepping.histories import readers, with_rounded
from netc.dsl.diagnostics import fault
from netc.dsl.structs import replace

STEP = "step.number"  # the leaf that says which step it is, from 0


class Stepping(Struct):
    """A step as a graph: its results `state.N` are the next values of its inputs of these names.

    The results of `begins` are the first values of those states that do not begin with zero. A history
    [batch, capacity, ...] has the rows of all earlier steps, followed by zeros; its result [batch, 1, ...] is the row
    of this step. The leaf STEP is the number of the step, where the graph has it.
    """

    graph: Graph
    begins: Graph
    states: dict[str, Type] = field(default_factory=dict)
    histories: dict[str, Type] = field(default_factory=dict)

    def narrowed(self, precision: Precision) -> "Stepping":
        """The same with products that read operands of a precision. Histories keep rows that are rounded to it."""
        graph = narrow(self.graph, precision)
        return replace(self, graph=with_rounded(graph, self.histories))

    def divided(self, field: str, output: Result) -> list[Graph]:
        """The step in the parts that are run one after the other; each result is in one of them.

        If the output does not read the row of the input `field`, the first part is all that does not: it can be run
        before the row is known, as where the output decides on the row.
        """
        late = {result for result, value in self.graph.results.items() if _reads(value, field)}
        early = [result for result in self.graph.results if result not in late]
        if not late or output in late:
            return [self.graph]
        return [self.graph.only(*early), self.graph.only(*late)]

    @property
    def reads_earlier_steps_alone(self) -> bool:
        """Whether the space behind the earlier steps of histories costs no time: attention alone reads them."""
        leaves = [leaf for leaf in self.graph.values(Role.GIVEN) if leaf.name in self.histories]
        return all(
            reader.definition in (attend, attend_sums) and reader.operands.index(value) > 0
            for leaf in leaves
            for reader, value in readers(self.graph, leaf)
        )

    @property
    def is_limited(self) -> bool:
        """Whether no step may come after the bound of the dimension: it attends, or reads a table by its number."""
        return bool(self.histories) or any(
            STEP in {source.name for source in needed_by([value.operands[1]])} for value in self.graph.values(gather)
        )


def _reads(value: Value, field: str) -> bool:
    return any(leaf.name == field for leaf in needed_by([value]))


def refuse(need: NeedsAll) -> NoReturn:
    """Raises E0506 at the value that needs all steps."""
    fault("E0506", "a step would see a later one", need.value.span, need.reason, hint=need.hint)
