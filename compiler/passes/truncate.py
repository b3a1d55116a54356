"""Long sequences in chunks: the graph of one chunk, whose scans begin where the chunk before ended, without a gradient to it (Williams and Peng 1990).

What a state begins with is a leaf of kind `given`, `chunk.N`, a row a sample, but in the first chunk (`chunk.first`); what it ends with the result of that
name. `shift` hands on the last step that it was given. Whatever else goes along the steps would have to see all of them: a fault.
"""

from netc.compiler.ir.dims import names_in
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import PREFIX, asked, table
from netc.compiler.ir.types import BATCH, Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.model import Truncate
from netc.compiler.operations import sequence
from netc.compiler.operations.elementwise import cast
from netc.compiler.operations.scan import Scan, part
from netc.compiler.passes.simplify import rebuild
from netc.dsl.diagnostics import Label, fault

CARRIED = "chunk."
FIRST = "chunk.first"
_OF_A_STEP = ("sample", "step", "previous")


def truncated(graph: Graph, how: Truncate) -> Graph:
    """The graph of a chunk. Faults E0602 where something takes all steps of `how.dim` together."""
    return _Chunk(graph, how).made()


class _Chunk:
    def __init__(self, graph: Graph, how: Truncate) -> None:
        self.graph, self.how = graph, how
        self.carried: dict[str, Value] = {}

    def made(self) -> Graph:
        if not any(value.type.rows == self.how.dim for value in self.graph.live()):
            message = f"`truncate` cuts `{self.how.dim}` into chunks, and no loss reads it"
            fault("E0602", message, self.how.span, hint="leave `truncate` out")
        for value in self.graph.live():
            dim = str(value.type.rows)
            if value.type.is_varying and names_in(dim) and dim != self.how.dim:
                self.refuse(value, f"this has the dimension {dim}")
        made = rebuild(self.graph, self.rule)
        made.results.update(self.carried)
        return made

    def rule(self, copy: Graph, value: Value, operands: list[Value]) -> Value:
        tables = [asked(operand.name) for operand in value.operands if operand.name.startswith(PREFIX)]
        kinds = [kind for kind, dim in tables if dim == self.how.dim]
        if value.role is Role.SCAN:
            return self.scan(copy, value, operands)
        if set(kinds) - set(_OF_A_STEP) or (kinds and value.operation not in ("gather", "cast", "equal")):
            self.refuse(value, "this takes all steps together")
        if "previous" in kinds:
            return self.before(copy, value, operands)
        made = copy.add_copy(value, operands)
        if "step" in kinds and value.operation == "equal":  # where a sequence begins
            return apply("logical_and", made, self.is_first(copy, made))
        if "step" in kinds and value.definition is cast:  # the number of a step
            return made + sequence.spread(self.done(copy, value), self.how.dim)
        return made

    def done(self, copy: Graph, like: Value) -> Value:
        """How many steps of each sample the chunks before had."""
        name, held = self.leaf(copy, Type(like.type.dtype, (BATCH,)))
        zero = apply("broadcast", copy.constant(0.0, held.type), dims=(BATCH,))
        before = apply("where", self.is_first(copy, held), zero, held)
        self.carried[name] = before + apply("cast", table(copy, "length", self.how.dim), dtype=like.type.dtype)
        return before

    def scan(self, copy: Graph, value: Value, operands: list[Value]) -> Value:
        """A scan whose carries begin as the chunk before left them."""
        one = Scan.of(value)
        if one.dim != self.how.dim or one.is_reversed:
            return copy.add_copy(value, operands)
        first, second = len(one.sequences), len(one.begins)
        names = []
        for i in range(second):
            name, held = self.leaf(copy, one.begins[i].type)
            operands[first + i] = apply("where", self.is_first(copy, held), operands[first + i], held)
            names.append(name)
        made = copy.add_copy(value, operands)
        for i, name in enumerate(names):
            end = part(made, f"last.{i}")
            self.carried[name] = apply("stop_gradient", end) if end.type.is_float else end
        return made

    def before(self, copy: Graph, value: Value, operands: list[Value]) -> Value:
        """What a step is told of the one before; at a chunk's first step, of the last of the chunk before. `where` around it says what is at the very first."""
        x = operands[0]
        name, held = self.leaf(copy, x.type.with_dims((BATCH, *x.type.dims[1:])))
        end = sequence.at_end(x, "last")
        self.carried[name] = apply("stop_gradient", end) if x.type.is_float else end
        moved = copy.add_copy(value, operands)
        begins = apply("equal", table(copy, "step", self.how.dim), 0)
        begins = apply("reshape", begins, dims=(self.how.dim, *(1,) * (x.type.rank - 1)))
        return apply("where", begins, sequence.spread(held, self.how.dim), moved)

    def leaf(self, copy: Graph, type_: Type) -> tuple[str, Value]:
        name = f"{CARRIED}{len(self.carried)}"
        self.carried[name] = held = copy.leaf("given", name, type_)
        return name, held

    def is_first(self, copy: Graph, like: Value) -> Value:
        """Whether this is the first chunk, ready to broadcast."""
        told = apply("equal", copy.leaf("given", FIRST, Type(copy.precision, (1,))), 1.0)
        return apply("reshape", told, dims=(1,) * like.type.rank)

    def refuse(self, value: Value, told: str) -> None:
        others = [Label(self.how.span, "the steps are cut into chunks here")]
        fault("E0602", f"`truncate` cuts `{self.how.dim}` into chunks", value.span, told, others=others)
