"""Runs one graph both compiled and by the reference interpreter."""

from netc.compiler.ir.value import OPERATIONS
from netc.compiler.reference import evaluate
from netc.testing import BATCH, compiled, graph_of, random_array


def examples():
    for name, operation in OPERATIONS.items():
        for i, (types, attributes) in enumerate(operation.examples):
            yield name, i, types, attributes


__all__ = ["BATCH", "compiled", "evaluate", "examples", "graph_of", "random_array"]
