"""One batch as any graph of a model reads it: samples, parameters, states, random words, tables of varying dimensions.

The leaves are the same for every stage of the pipeline. Takes a model, fields and what stays between steps; knows no
pass and no program.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from netc.compiler.ir.graph import Graph
from netc.compiler.ir.index_tables import IndexTable, TableKind, parse_table, table_of
from netc.compiler.ir.results import ResultKind, parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import SuppliedKind, parse_supplied
from netc.compiler.ir.types import BATCH, DTYPES, Sizes
from netc.compiler.ir.value import Value
from netc.compiler.model import Model
from netc.compiler.operations.scan import ScanAttributes
from netc.compiler.passes.pack import at_length
from netc.compiler.passes.truncate import FIRST
from netc.runtime.data.stored import Array, Field, Ragged
from netc.runtime.execution.sequences import Batch
from netc.runtime.random import generator, words
from netc.runtime.verification.interpreter import Hook, interpret, results
from netc.runtime.verification.subject import types_of_fields


class Leaves(dict[str, Array]):
    """Arrays by name; tables of rows and random words are computed when they are read."""

    def __init__(self, arrays: Mapping[str, Array], batch: Batch, situation: "Situation") -> None:
        super().__init__(arrays)
        self.batch, self.situation = batch, situation

    def __missing__(self, name: str) -> Array:
        if (table := parse_table(name)) is not None:
            array = self.batch.table(table)
        else:
            supplied = parse_supplied(name)
            assert supplied is not None, name
            if supplied.kind is SuppliedKind.SAMPLES:
                array = self.batch.samples.astype(np.int32)
            elif supplied.kind is SuppliedKind.RANDOM:
                array = words(2, self.situation.seed, name, self.situation.epoch)
            elif supplied.kind in (SuppliedKind.RATE, SuppliedKind.NUMBER):
                array = np.array(self.situation.model.train.number(supplied.name or "lr"))
            else:
                assert supplied.kind is not SuppliedKind.SCALE, name
                array = np.array(1.0)
        self[name] = array
        return array


class Situation(Struct, frozen=True):
    """A batch, which is all samples of `fields`, and the `arrays` that stay between steps."""

    model: Model
    fields: Mapping[str, Field]
    arrays: Mapping[str, Array]
    seed: int
    epoch: int = 1

    def leaves(self, graph: Graph) -> tuple[Leaves, Sizes]:
        """The arrays that a graph reads, and the sizes of its named dimensions."""
        types = types_of_fields(self.model)
        varying = {name: str(type_.rows) for name, type_ in types.items() if type_.is_varying}
        fields = {
            name: field if isinstance(field, Ragged) else np.asarray(field) for name, field in self.fields.items()
        }
        count = len(next(iter(self.fields.values()))) if self.fields else 1
        batch = Batch.of(np.arange(count), dims_of(graph), None, fields, varying)
        arrays = dict(self.arrays)
        for leaf in graph.values():
            name = leaf.name
            field = fields.get(name)
            if leaf.role in (Role.INPUT, Role.TARGET) and field is not None:
                is_sequence = isinstance(field, Ragged)
                source = batch.table(IndexTable(TableKind.SOURCE, str(leaf.type.rows))) if is_sequence else None
                arrays[name] = field.rows[source] if isinstance(field, Ragged) else field
            elif name == FIRST:  # not the first chunk of a sequence, so that carried states count
                arrays[name] = np.zeros(1)
            elif parse_result(name).kind is ResultKind.CHUNK:
                drawn = generator(self.seed, "verification", name).standard_normal(leaf.type.shape(batch.sizes))
                arrays[name] = drawn.astype(DTYPES[leaf.type.dtype].numpy)
        return Leaves(arrays, batch, self), batch.sizes

    def values(self, graph: Graph, hook: Hook | None = None) -> dict[Value, Array]:
        """The array of each value of a graph."""
        leaves, sizes = self.leaves(graph)
        ready, copies = at_length(graph, longest(leaves.batch))
        memory = interpret(ready, leaves, sizes, hook)
        return {value: memory[copy] for value, copy in copies.items() if copy in memory}

    def results(self, graph: Graph, hook: Hook | None = None) -> dict[str, Array]:
        """The results of a graph by name."""
        leaves, sizes = self.leaves(graph)
        return results(at_length(graph, longest(leaves.batch))[0], leaves, sizes, hook)

    def at_length(self, graph: Graph) -> Graph:
        """The graph with no more steps than this batch has along dimensions without a declared bound."""
        return at_length(graph, longest(self.leaves(graph)[0].batch))[0]


def longest(batch: Batch) -> int:
    """The number of steps of a batch's longest sample along any dimension."""
    return max((rows.steps for rows in batch.rows.values()), default=1)


def dims_of(graph: Graph) -> list[str]:
    """The varying dimensions whose rows a graph needs."""
    dims = {str(value.type.rows): None for value in graph.values() if value.type.is_varying}
    for scan in graph.values(Role.SCAN):
        dims[scan.attributes_as(ScanAttributes).dim] = None
    for leaf in graph.values():
        if (table := table_of(leaf)) is not None:
            dims.update(dict.fromkeys(table.dims))
    return [dim for dim in dims if dim != BATCH]
