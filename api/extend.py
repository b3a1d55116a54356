"""Defines operations, passes, readers, data steps, optimizers and libraries of blocks in Python, to extend netc.

netc's own are defined with the same functions.

    from netc.extend import elementwise, apply

    mish = elementwise(
        "mish",
        "x * tanh(softplus(x)), smooth, not monotone (Misra 2019).",
        scalar="x * tanh(log1p(exp(x)))",
        reference=lambda x: x * np.tanh(np.log1p(np.exp(x))),
        gradient=lambda g, r, x: ...,
    )

A package registers it by an entry point of the group `netc.operations`, a command by `--plugin MODULE`, and a script by
`netc.register(mish)`. `netc ops --test mish` and `netc.testing.check(mish)` test it.
"""

from netc.compiler.elaborate.library import Library
from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Custom as Own
from netc.compiler.ir.forms import Expansion, Fold, Scalar
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.types import Mismatch, Type
from netc.compiler.ir.value import Operation, Value, apply
from netc.compiler.operations.elementwise_definition import defined as elementwise
from netc.compiler.operations.elementwise_definition import unbroadcast
from netc.compiler.passes.optimizers import OptimizerRule, Parameter
from netc.compiler.passes.simplify import rebuild
from netc.compiler.pipeline import Pass
from netc.runtime.data.readers.readers import Reader
from netc.runtime.data.readers.readers import simple_reader as reader
from netc.runtime.data.steps.data_step import DataStep as Step
from netc.runtime.data.steps.data_step import simple_step as step

__all__ = [
    "Attributes",
    "Expansion",
    "Fold",
    "Graph",
    "Library",
    "Mismatch",
    "Operation",
    "OptimizerRule",
    "Own",
    "Parameter",
    "Pass",
    "Reader",
    "Scalar",
    "Step",
    "Type",
    "Value",
    "apply",
    "elementwise",
    "reader",
    "rebuild",
    "step",
    "unbroadcast",
]
