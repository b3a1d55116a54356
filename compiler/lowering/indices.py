"""The operands of a product by named indices (an einsum): of which kind each index is, and how operands are read.

Rows are in the left operand and the result, columns in the right operand and the result, depth only in the operands,
and the fourth kind in all three.
"""

import math
from collections.abc import Callable

from msgspec import Struct

from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.operations.linear import Subscripts, index_sizes
from netc.compiler.program.tasks import Buffer, StridedView
from netc.dsl.structs import replace

FEW_COLUMNS = 2  # for which the tile does not pay

Strides = dict[str, int]  # by index; an index that an operand does not have is not in it


class Views(Struct, frozen=True):
    """The views through which a product reads its operands `a` and `b` and its starting value, and writes its result.

    `start` is None if the product starts from zero; its strides are by the indices of the result. `output` makes the
    view of the result, whose strides are `strides`; it is called only if the tile is used. In shards, that view has
    one result for each shard, along a first axis. Rows of a, or of b if the `second` operand is gathered, are found by
    the numbers in `order`, if there is one.
    """

    a: StridedView
    b: StridedView
    start: StridedView | None
    strides: tuple[int, ...]
    output: Callable[[], StridedView]
    order: Buffer | None = None
    second: bool = False


class Indices(Struct, frozen=True):
    """The indices of the operands a and b and of the result, each a letter, and their sizes."""

    left: str
    right: str
    out: str
    sizes: dict[str, Dim]

    @property
    def rows(self) -> list[str]:
        return [letter for letter in self.out if letter in self.left and letter not in self.right]

    @property
    def columns(self) -> list[str]:
        return [letter for letter in self.out if letter in self.right and letter not in self.left]

    @property
    def both(self) -> list[str]:
        return [letter for letter in self.out if letter in self.left and letter in self.right]

    @property
    def depth(self) -> list[str]:
        return [letter for letter in self.left if letter in self.right and letter not in self.out]

    @property
    def width(self) -> int:
        """The number of columns; 0 if it depends on the batch."""
        return math.prod(size if isinstance(size, int) else 0 for size in map(self.sizes.__getitem__, self.columns))

    def fit_tile(self) -> bool:
        """Whether something is summed, each index is of one of the four kinds, and the last of the result is one of
        several columns. An outer product only writes its result, which a loop does row after row."""
        kinds = [*self.rows, *self.columns, *self.both]
        if len(self.out) != len(kinds) or set(self.left + self.right) - set(self.out) - set(self.depth):
            return False
        columns = self.columns
        return bool(columns and self.depth) and self.out[-1] == columns[-1] and self._has_several_columns()

    def _has_several_columns(self) -> bool:
        """Whether there are several columns, or the columns of each sample are."""
        last = self.sizes[self.columns[-1]]
        return self.width > FEW_COLUMNS or (self.width == 0 and isinstance(last, int) and last > FEW_COLUMNS)

    def strides_of(self, views: Views) -> tuple[Strides, Strides, Strides, Strides]:
        """Returns the strides of a, b, the result and the starting value, which are 0 if there is none."""
        start = views.start.strides if views.start is not None else (0,) * len(self.out)
        return (
            dict(zip(self.left, views.a.strides, strict=True)),
            dict(zip(self.right, views.b.strides, strict=True)),
            dict(zip(self.out, views.strides, strict=True)),
            dict(zip(self.out, start, strict=True)),
        )


def indices_of(einsum: Value, views: Views) -> tuple[Indices, Views]:
    """Returns the indices of a product, and its views with operands exchanged if the last index of the result is one of
    the left operand's."""
    inputs, _, out = einsum.attributes_as(Subscripts).subscripts.partition("->")
    left, right = inputs.split(",")
    sizes = index_sizes(inputs, *(operand.type for operand in einsum.operands))
    if out and out[-1] in left and out[-1] not in right:
        left, right, views = right, left, replace(views, a=views.b, b=views.a, second=not views.second)
    return Indices(left, right, out, sizes), views
