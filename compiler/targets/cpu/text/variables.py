"""The values of a kernel's variables in each block of its function: static single assignment.

Where control comes from several blocks, as at the head of a loop, a `phi` instruction of LLVM chooses the value by the
block that control came from. It is written when the variable is first read there (Braun et al., "Simple and efficient
construction of static single assignment form", 2013).

    total = 0.0                 head:  total1 = phi [0.0, entry], [total2, body]
    for i in range(n):          body:  total2 = total1 + x
        total = total + x

Knows no syntax.
"""

from collections.abc import Collection, Mapping
from functools import reduce
from typing import Any

from llvmlite import ir
from msgspec import Struct, field

from netc.compiler.targets.cpu.text.values import Kind, Value, common, converted, type_of


class State(Struct, eq=False):
    """The values and types of variables in a block.

    `predecessors` are the blocks that control comes from, each with its state. Variables that are not in `changed` have
    the same value in all of them. The head of a loop is open until the loop's body is written, because the block that
    jumps back is not known before.
    """

    block: Any
    number: int
    values: dict[str, Value]
    predecessors: list[tuple[Any, "State"]] = field(default_factory=list)
    changed: Collection[str] = ()
    is_head: bool = False
    is_open: bool = False
    chosen: dict[str, Any] = field(default_factory=dict)  # by variable, the phi of an open head, not yet complete


class Variables:
    """The variables of a function.

    `wider` has types for phis at heads of loops, by the number of a state and a name: the value before the loop does
    not tell that one of another type comes from its end. `widened` collects the types that it lacks.
    """

    def __init__(self, builder: Any, wider: Mapping[tuple[int, str], Kind]) -> None:
        self.builder, self.wider = builder, wider
        self.widened: dict[tuple[int, str], Kind] = {}
        self.count = 0
        self.now = self.state(builder.block)

    def here(self) -> tuple[Any, State]:
        """The current block and state, as a predecessor of another block."""
        return self.builder.block, self.now

    def state(self, block: Any, *predecessors: tuple[Any, State], changed: Collection[str] = ()) -> State:
        """Returns the state at the start of a block. Its predecessors may disagree on the variables in `changed`."""
        self.count += 1
        values = predecessors[0][1].values if predecessors else {}
        unchanged = {name: value for name, value in values.items() if name not in changed}
        return State(block, self.count, unchanged, list(predecessors), changed)

    def close(self, head: State) -> None:
        """Completes the phis at the head of a loop, all of whose predecessors are known now."""
        head.is_open = False
        for name, chosen in list(head.chosen.items()):
            self._complete(head, name, chosen)

    def read(self, name: str, state: State | None = None) -> Value | None:
        """Returns the value of a variable at the end of a state (by default the current one); None if it has none."""
        state = state or self.now
        if name in state.values:
            return state.values[name]
        if not state.predecessors:
            return None
        if name not in state.changed:
            result = self.read(name, state.predecessors[0][1])
        elif state.is_head:
            return self._chosen_at_head(state, name)
        else:
            result = self._chosen(state, name)
        if result is not None:
            state.values[name] = result
        return result

    def _chosen(self, state: State, name: str) -> Value | None:
        values = [self.read(name, before) for _, before in state.predecessors]
        if all(value is values[0] for value in values):
            return values[0]
        kind = _common([value for value in values if value], name)
        result = Value(kind, self._choice(state, kind))
        self._complete(state, name, result.value)
        return result

    def _chosen_at_head(self, head: State, name: str) -> Value | None:
        _, before = head.predecessors[0]
        first = self.read(name, before)
        kind = self.wider.get((head.number, name)) or (first.kind if first else "i64")
        chosen = self._choice(head, kind)
        head.values[name] = Value(kind, chosen)
        if head.is_open:
            head.chosen[name] = chosen
        else:
            self._complete(head, name, chosen)
        return head.values[name]

    def _choice(self, state: State, kind: Kind) -> Any:
        with self.builder.goto_block(state.block):
            self.builder.position_at_start(state.block)
            return self.builder.phi(type_of(kind))

    def _complete(self, state: State, name: str, chosen: Any) -> None:
        """Adds the value from each predecessor to a phi. A variable that has none there is 0."""
        values = [self.read(name, before) for _, before in state.predecessors]
        kind = _common([value for value in values if value], name)
        if type_of(kind) != chosen.type:  # the function will be written again with this type
            self.widened[state.number, name] = kind
            state.values[name] = Value(kind, self._choice(state, kind))
            return
        for (block, _), value in zip(state.predecessors, values, strict=True):
            with self.builder.goto_block(block):
                zero = ir.Constant(type_of(kind), None)
                chosen.add_incoming(zero if value is None else converted(self.builder, value, kind), block)


def _common(values: Collection[Value], name: str) -> Kind:
    """The common type of values that a phi chooses from."""
    kinds = [value.kind for value in values]

    def both(first: Kind, second: Kind) -> Kind:
        kind = common(first, second)
        if kind is None:
            raise ValueError(f"values of `{name}` have no common type in a kernel: {first} and {second}")
        return kind

    return reduce(both, kinds) if kinds else "i64"
