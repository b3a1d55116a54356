"""Cuts long sequences into chunks: the graph of one chunk, whose scans begin where the chunk before ended.

No gradient flows to the chunk before (truncated backpropagation: Williams and Peng 1990). Except in the first chunk
(`chunk.first`), the initial value of a carry is the leaf `chunk.N` of kind `given`, with a row for each sample; its
last value is the result of that name. `shift` passes on the last step of its operand in the same way. Any other
operation along the steps needs all of them: a fault.
"""

from netc.compiler.ir.dims import names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import TableKind, table, table_of
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import Truncate
from netc.compiler.operations import sequence
from netc.compiler.operations.elementwise import cast, equal
from netc.compiler.operations.gathering import gather
from netc.compiler.operations.scan import Scan, part
from netc.compiler.passes.simplify import rebuild
from netc.dsl.diagnostics import Label, fault

FIRST = "chunk.first"
_OF_A_STEP = (TableKind.SAMPLE, TableKind.STEP, TableKind.PREVIOUS)


def truncated(graph: Graph, how: Truncate) -> Graph:
    """Returns the graph of a chunk. Raises the fault E0602 if an operation takes all steps of `how.dim` together."""
    return _Chunk(graph, how).graph_of_chunk()


class _Chunk:
    def __init__(self, graph: Graph, how: Truncate) -> None:
        self.graph, self.how = graph, how
        self.carried: dict[Result, Value] = {}

    def graph_of_chunk(self) -> Graph:
        if not any(value.type.rows == self.how.dim for value in self.graph.live()):
            message = f"`truncate` cuts `{self.how.dim}` into chunks, and no loss reads it"
            fault("E0602", message, self.how.span, hint="leave `truncate` out")
        for value in self.graph.live():
            dim = str(value.type.rows)
            if value.type.is_varying and names_in(dim) and dim != self.how.dim:
                self.refuse(value, f"this has the dimension {dim}")
        chunk = rebuild(self.graph, self.rule)
        chunk.results.update(self.carried)
        return chunk

    def rule(self, copy: Graph, value: Value, operands: list[Value]) -> Value:
        tables = [read for operand in value.operands if (read := table_of(operand)) is not None]
        kinds = [read.kind for read in tables if read.dim == self.how.dim]
        if value.role is Role.SCAN:
            return self.scan(copy, value, operands)
        if set(kinds) - set(_OF_A_STEP) or (kinds and value.definition not in (gather, cast, equal)):
            self.refuse(value, "this takes all steps together")
        if TableKind.PREVIOUS in kinds:
            return self.before(copy, value, operands)
        copied = copy.add_copy(value, operands)
        if TableKind.STEP in kinds and value.definition is equal:  # where a sequence begins
            return apply("logical_and", copied, self.is_first(copy, copied))
        if TableKind.STEP in kinds and value.definition is cast:  # the number of a step
            return copied + sequence.spread(self.done(copy, value), self.how.dim)
        return copied

    def done(self, copy: Graph, like: Value) -> Value:
        """Returns how many steps of each sample were in the chunks before."""
        result, state = self.leaf(copy, Type(like.type.dtype, (BATCH,)))
        zero = apply("broadcast", copy.constant(0.0, state.type), dims=(BATCH,))
        before = apply("where", self.is_first(copy, state), zero, state)
        self.carried[result] = before + apply(
            "cast", table(copy, TableKind.LENGTH, self.how.dim), dtype=like.type.dtype
        )
        return before

    def scan(self, copy: Graph, value: Value, operands: list[Value]) -> Value:
        """Returns a scan whose carries begin with their last values in the chunk before."""
        original = Scan.of(value)
        if original.dim != self.how.dim or original.is_reversed:
            return copy.add_copy(value, operands)
        first, second = len(original.sequences), len(original.begins)
        results = []
        for i in range(second):
            result, state = self.leaf(copy, original.begins[i].type)
            operands[first + i] = apply("where", self.is_first(copy, state), operands[first + i], state)
            results.append(result)
        chunk = copy.add_copy(value, operands)
        for i, result in enumerate(results):
            end = part(chunk, ResultKind.LAST.named(i))
            self.carried[result] = apply("stop_gradient", end) if end.type.is_float else end
        return chunk

    def before(self, copy: Graph, value: Value, operands: list[Value]) -> Value:
        """Returns the value of the previous step for each step; for the first step of a chunk, that is the last of
        the chunk before.

        The `where` around this value chooses another one at the first step of a sequence.
        """
        x = operands[0]
        result, state = self.leaf(copy, x.type.with_dims((BATCH, *x.type.dims[1:])))
        end = sequence.at_end(x, TableKind.LAST)
        self.carried[result] = apply("stop_gradient", end) if x.type.is_float else end
        moved = copy.add_copy(value, operands)
        begins = apply("equal", table(copy, TableKind.STEP, self.how.dim), 0)
        begins = apply("reshape", begins, dims=(self.how.dim, *(1,) * (x.type.rank - 1)))
        return apply("where", begins, sequence.spread(state, self.how.dim), moved)

    def leaf(self, copy: Graph, type_: Type) -> tuple[Result, Value]:
        """Adds the leaf for what the chunk before passes on, and returns the result that has the same name."""
        result = ResultKind.CHUNK.named(len(self.carried))
        self.carried[result] = state = copy.leaf(Role.GIVEN, str(result), type_)
        return result, state

    def is_first(self, copy: Graph, like: Value) -> Value:
        """Whether this is the first chunk, ready to broadcast."""
        first = apply("equal", copy.leaf(Role.GIVEN, FIRST, Type(copy.precision, (1,))), 1.0)
        return apply("reshape", first, dims=(1,) * like.type.rank)

    def refuse(self, value: Value, reason: str) -> None:
        others = [Label(self.how.span, "the steps are cut into chunks here")]
        fault("E0602", f"`truncate` cuts `{self.how.dim}` into chunks", value.span, reason, others=others)
