"""What the steps of one program share: parameters and states in one memory, threads, and the target."""

from dataclasses import dataclass, field

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import Type
from netc.compiler.model import Model
from netc.compiler.planning.plan import layout
from netc.compiler.targets.selection import target_of
from netc.compiler.targets.target import Target
from netc.runtime.data.stored import Array
from netc.runtime.execution.memory import Memory
from netc.runtime.execution.workers import Workers


@dataclass(frozen=True, slots=True)
class State:
    """The arrays that stay between steps, parameters and states, in one memory: offsets and arrays by name."""

    memory: Memory
    offsets: dict[str, int]
    arrays: dict[str, Array]

    @classmethod
    def of(cls, model: Model | None, graph: Graph | None) -> "State":
        """Memory of zeros for what `state_layout` lists."""
        types, offsets, size = state_layout(model, graph)
        memory = Memory(size)
        return cls(memory, offsets, {name: memory.view(offsets[name], type_, 1) for name, type_ in types.items()})


def state_layout(model: Model | None, graph: Graph | None) -> tuple[dict[str, Type], dict[str, int], int]:
    """Types, offsets and total bytes of the arrays that stay between steps.

    The model's parameters and states come first, then what the graph of a training step adds (the optimizer's states).
    """
    types = {name: info.type for name, info in {**model.trainables, **model.states}.items()} if model else {}
    for kind in ("parameter", "state"):
        types |= {value.name: value.type for value in (graph.values(kind) if graph else ())}
    offsets, size = layout((name, type_.nbytes(1)) for name, type_ in types.items())
    return types, offsets, size


@dataclass(frozen=True, slots=True)
class Resources:
    """Where the steps of a program run, and on which memory."""

    state: State
    workers: Workers
    target: Target = field(default_factory=target_of)
