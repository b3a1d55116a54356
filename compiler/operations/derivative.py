"""`grad(y, x)`: a derivative as a value of the model. It stays one value until passes/prepare.py writes out what computes it."""

from typing import Any

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Operation, Replaced, register


def _written_out(*_: Any, **__: Any) -> Any:
    raise AssertionError("a derivative is written out before it is computed")


register(
    Operation(
        "grad",
        "The derivative of y, a number of each sample, with respect to x.",
        role=Role.DERIVATIVE,
        attributes=Attributes,
        type=lambda y, x: Type(x.dtype, x.dims),
        reference=_written_out,
        lower=Replaced(),
        is_callable=False,
    )
)
