"""`grad(y, x)`: a derivative as a value of the model. passes/prepare.py replaces it by the values that compute it."""

from typing import Any

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Operation, Replaced, register


def _no_reference(*_: Any, **__: Any) -> Any:
    raise AssertionError("a derivative is replaced before anything is computed")


register(
    Operation(
        "grad",
        "The derivative of y, one number per sample, with respect to x.",
        role=Role.DERIVATIVE,
        attributes=Attributes,
        type=lambda y, x: Type(x.dtype, x.dims),
        reference=_no_reference,
        lower=Replaced(),
        is_callable=False,
    )
)
