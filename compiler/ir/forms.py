"""The rules by which operations become kernels: each operation declares one as its `lower`.

An operation without a kernel of its own is a view or expands to others. For a `Form`, compiler/lowering/ has a
function, registered with `lowers` (lowering/forms.py).
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, ClassVar

from msgspec import Struct

from netc.compiler.ir.strides import StridedLayout


class Form(Enum):
    """The form of a kernel, and what the kernel does."""

    CONTRACTION = "sums products of two operands"
    ARGMAX = "finds the index of the largest element along an axis"
    RUNNING_SUM = "adds up the elements along an axis and stores each sum so far"
    CONCAT = "writes its operands side by side"
    PAD = "writes its operand with padding around it"
    INTERLEAVE = "writes its operands into every second, third, ... row and column of an image"
    GATHER = "reads the rows of a table that an index names"
    SCATTER = "combines rows at the places that an index names"
    FIRST_EQUAL = "finds the first of equal elements of an index"
    PUT = "replaces the rows of a table that an index names"
    TO_STEPS = "packs sequences of a fixed length as rows"
    FROM_STEPS = "unpacks rows as sequences of a fixed length"
    SCAN = "runs a body once a step"
    EXTENT = "counts the elements of dimensions"
    ATTENTION = "sums values by the softmax of scores, block by block"
    ATTENTION_SUMS = "is computed by the kernel of its attention"
    ATTENTION_GRADIENT = "computes the gradients of attention, block by block"
    CUSTOM = "runs a function of the user, sample by sample"


class Scalar(Struct, frozen=True):
    """Element by element: a Python expression over the operands x, y, z and the attributes.

    It may call the functions of targets/cpu/math/.
    """

    expression: str


class Fold(Struct, frozen=True):
    """A reduction: an initial value and a Python expression that combines the result so far, `a`, with the next, `b`.

    `keyed` (max or min) does the same over integers that are ordered as the elements are; a vector may combine these in
    any order.
    """

    initial: str
    combine: str
    keyed: str | None = None


class View(Struct, frozen=True):
    """No kernel: the operand's memory is read with other strides.

    `layout(strides, result, operand, **attributes)` takes the strides of the operand and the two types. It returns the
    view's layout, or None if no strides describe it; the operand is then copied.
    """

    layout: Callable[..., StridedLayout | None]


class SpecialForm(Struct, frozen=True):
    """A kernel of a special form, for which compiler/lowering/ has a function."""

    form: Form


class Scatter(Struct, frozen=True):
    """Each row of the first operand is combined with the row of the result that the second operand, an index, names.

    `initial` and `combine` are those of a `Fold`.
    """

    form: ClassVar[Form] = Form.SCATTER
    initial: str
    combine: str


class Custom(Struct, frozen=True):
    """A custom kernel: a plain function over the arrays of one sample, the result's first (program/custom.py)."""

    form: ClassVar[Form] = Form.CUSTOM
    function: Callable[..., None]


class SplitMetric(Struct, frozen=True):
    """No kernel: the reference computes it once, over all samples of a split. Only metrics and `fitted` may use it."""


class Replaced(Struct, frozen=True):
    """No kernel: a pass replaces the value before its graph is lowered."""


class Expansion(Struct, frozen=True):
    """A function that builds the result from other operations."""

    build: Callable[..., Any]


KernelRule = Scalar | Fold | View | SpecialForm | Scatter | Custom | SplitMetric | Replaced | Expansion
