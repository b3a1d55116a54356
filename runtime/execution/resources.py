"""The resources that all steps of a program share: the memory of parameters and states, threads, and the target."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field

from netc.compiler.backends import target_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.program.plan import layout
from netc.compiler.targets.target import Divided, Target
from netc.runtime.data.stored import Arrays
from netc.runtime.execution.memory import Memory
from netc.runtime.execution.shared_executables import SharedExecutables
from netc.runtime.execution.workers import Workers

if TYPE_CHECKING:
    from netc.compiler.ir.graph import Graph
    from netc.compiler.model import Model


class State(Struct, frozen=True):
    """The arrays that stay between steps, parameters and states, in one memory: offsets and arrays by name. `divided`
    says of which of them a rank has only its rows."""

    memory: Memory
    offsets: dict[str, int]
    arrays: Arrays
    divided: Divided = field(default_factory=Divided)

    @classmethod
    def of(cls, model: "Model | None", graph: "Graph | None") -> "State":
        """Memory of zeros for what `state_layout` lists."""
        return cls.laid_out(*state_layout(model, graph))

    @classmethod
    def laid_out(cls, types: Mapping[str, Type], offsets: dict[str, int], size: int) -> "State":
        """Memory of zeros for arrays of these types at these offsets."""
        memory = Memory(size)
        arrays = Arrays({name: memory.view(offsets[name], type_, 1) for name, type_ in types.items()})
        return cls(memory, offsets, arrays)


def state_layout(model: "Model | None", graph: "Graph | None") -> tuple[dict[str, Type], dict[str, int], int]:
    """Types, offsets and total bytes of the arrays that stay between steps.

    The model's parameters and states come first, then what the graph of a training step adds (the optimizer's states),
    also those that it only writes.
    """
    types = {name: info.type for name, info in {**model.trainables, **model.states}.items()} if model else {}
    if graph is not None:
        for role in (Role.PARAMETER, Role.STATE):
            types |= {value.name: value.type for value in graph.values(role)}
        types |= {name: value.type for name, value in graph.results_of(ResultKind.UPDATE).items() if name not in types}
    offsets, size = layout((name, type_.nbytes(1)) for name, type_ in types.items())
    return types, offsets, size


class Resources(Struct, frozen=True):
    """The parameters and states, the threads and the target of a program. All its steps use the same ones.

    With `executables`, numbers of a model are inputs of its steps, which share executables with other programs.
    """

    state: State
    workers: Workers
    target: Target = field(default_factory=target_of)
    executables: SharedExecutables | None = None
