"""The reference interpreter as a target: runs a graph step by step, one operation at a time in NumPy, without a plan.

compiler/reference.py has the interpreter itself, because passes fold constants with it. This file picks the samples of
each step and writes results and updates back.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import IndexTable, TableKind, dims_of, table_of
from netc.compiler.ir.results import ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import BATCH, Sizes
from netc.compiler.ir.value import Value
from netc.compiler.reference import Evaluate, evaluate
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.target import Array, Call, Interface, Request, Workspace

_UPDATE = ResultKind.UPDATE
_READ = (Role.INPUT, Role.TARGET, Role.GIVEN)


class Reference(Struct, frozen=True):
    """The target of the backend "reference". `interpreter` computes a graph's results; scans' bodies are its own."""

    machine: Machine
    interpreter: Evaluate = evaluate
    name = "reference"

    def build(self, request: Request) -> "Interpreted":
        """Returns the graph as an executable, for any number of samples."""
        return Interpreted(request.graph, self.interpreter)


class Interpreted:
    """A graph that is interpreted. `sources` are the tables by which it reads fields of sequences, `tables` the names
    of those that the graph and its scans read."""

    def __init__(self, graph: Graph, interpreter: Evaluate) -> None:
        self.graph, self.interpreter = graph, interpreter
        self.leaves = [leaf for leaf in graph.values() if leaf.role in _READ]
        dims = dims_of(graph.values())
        self.sources = {
            leaf: IndexTable(TableKind.SOURCE, str(leaf.type.rows)) for leaf in self.leaves if _is_field(leaf)
        }
        read = [table for leaf in self.leaves if (table := table_of(leaf)) is not None]
        walked = [IndexTable(kind, dim) for dim in dims for kind in (TableKind.SAMPLE, TableKind.STEP)]
        self.tables = list(dict.fromkeys(map(str, [*read, *walked])))
        tables = {str(table): table.type for table in (*read, *walked, *self.sources.values())}
        types = {str(result): value.type for result, value in graph.results.items() if result.kind is not _UPDATE}
        steps = frozenset(leaf.name for leaf in self.leaves if leaf.is_per_step)
        self.interface = Interface({leaf.name: leaf.type for leaf in self.leaves} | tables, types, steps)

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
        for name in self.graph.results_of(_UPDATE):
            state[name][...] = results.pop(str(_UPDATE.named(name)))
        return results

    def _leaves_of(self, call: Call, step: int, samples: Array) -> dict[str, Array]:
        """The arrays that one step of a call reads, by name."""
        arrays = {name: call.inputs[name] for name in self.tables}
        for leaf in (leaf for leaf in self.leaves if leaf.name not in arrays):
            array = call.inputs[leaf.name]
            if leaf in self.sources:
                arrays[leaf.name] = array[call.inputs[str(self.sources[leaf])]]
            else:
                arrays[leaf.name] = array[step] if leaf.is_per_step else array[samples] if leaf.type.lead else array
        return arrays


def _is_field(leaf: Value) -> bool:
    """Whether a leaf is a field of sequences, which has the rows of all samples of the data."""
    return leaf.type.is_varying and table_of(leaf) is None


def _sizes(call: Call) -> Sizes:
    """The sizes of the named dimensions in each step of a call."""
    rows = {dim: rows.count for dim, rows in call.rows.items()}
    return {BATCH: call.batch, **rows} if rows else call.batch
