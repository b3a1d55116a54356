"""The reference interpreter as a target: runs a graph step by step, one operation at a time in NumPy, without a plan.

compiler/reference.py has the interpreter itself, because passes fold constants with it. This file picks the samples of
each step and writes results and updates back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.rows import PREFIX, dims_of
from netc.compiler.ir.types import BATCH, Sizes, Type
from netc.compiler.reference import Evaluate, evaluate
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Array, Call, Interface, Request, Workspace

_UPDATE = "update."
_READ = (Role.INPUT, Role.TARGET, Role.GIVEN)


@dataclass(frozen=True, slots=True)
class Reference:
    """The target of the backend "reference". `interpreter` computes a graph's results; scans' bodies are its own."""

    machine: Machine
    interpreter: Evaluate = evaluate
    name = "reference"

    def build(self, request: Request) -> "Interpreted":
        """Returns the graph as an executable, for any number of samples."""
        return Interpreted(request.graph, self.interpreter)


class Interpreted:
    """A graph that is interpreted. Its tables are those that the graph reads, the source of each varying input's rows,
    and the samples and steps of all rows, which scans read."""

    def __init__(self, graph: Graph, interpreter: Evaluate) -> None:
        self.graph, self.interpreter = graph, interpreter
        self.leaves = [leaf for leaf in graph.values() if leaf.role in _READ]
        results = {name: value.type for name, value in graph.results.items() if not name.startswith(_UPDATE)}
        self.interface = Interface({leaf.name: leaf.type for leaf in self.leaves} | self._tables(), results)

    def _tables(self) -> dict[str, Type]:
        """The types of the tables that the interpreter reads besides the graph's own leaves."""
        tables = [(kind, dim) for dim in dims_of(self.graph.values()) for kind in ("sample", "step")]
        tables += [("source", str(leaf.type.rows)) for leaf in self.leaves if _is_sequence(leaf.name, leaf.type)]
        return {f"{PREFIX}{kind}.{dim}": Type("i32", (dim,)) for kind, dim in tables}

    def run(self, call: Call, workspace: Workspace) -> None:
        """Interprets the steps of a call."""
        for step in range(call.steps):
            samples = slice(step * call.batch, (step + 1) * call.batch)
            leaves = {**workspace.state, **self._leaves_of(call, step, call.order[samples])}
            results = self.interpret(leaves, _sizes(call), workspace.state)
            for name, value in results.items():
                type_ = self.interface.results[name]
                rows = samples if type_.lead else ... if type_.is_varying else step
                call.results[name][rows] = value

    def interpret(self, leaves: Mapping[str, Array], sizes: Sizes, state: Mapping[str, Array]) -> dict[str, Array]:
        """Interprets one step: writes its updates into `state`, and returns the other results."""
        results = self.interpreter(self.graph, leaves, sizes)
        results = {name: np.array(value) for name, value in results.items()}  # some are views of what is now replaced
        for name in [name for name in results if name.startswith(_UPDATE)]:
            state[name.removeprefix(_UPDATE)][...] = results.pop(name)
        return results

    def _leaves_of(self, call: Call, step: int, samples: Array) -> dict[str, Array]:
        """The arrays that one step of a call reads, by name."""
        arrays = {name: array for name, array in call.inputs.items() if name.startswith(PREFIX)}
        for leaf in self.leaves:
            array = call.inputs[leaf.name]
            if _is_sequence(leaf.name, leaf.type):
                arrays[leaf.name] = array[call.inputs[f"{PREFIX}source.{leaf.type.rows}"]]
            elif not leaf.name.startswith(PREFIX):
                arrays[leaf.name] = array[step] if leaf.is_per_step else array[samples] if leaf.type.lead else array
        return arrays


def _is_sequence(name: str, type_: Type) -> bool:
    """Whether a leaf has a row for each step of each sample of the data: it is no table of the batch."""
    return type_.is_varying and not name.startswith(PREFIX)


def _sizes(call: Call) -> Sizes:
    """The sizes of the named dimensions in each step of a call."""
    rows = {dim: rows.count for dim, rows in call.rows.items()}
    return {BATCH: call.batch, **rows} if rows else call.batch
