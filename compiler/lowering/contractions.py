"""Sums over products of two operands: by the register tile where indices and strides allow it, else by a loop.

The first of these that fits a product computes it:

    Winograd's tiles                windows of an image, where that saves time (winograd.py)
    vectors of several groups       convolutions in groups that are narrower than a vector (grouped.py)
    register tiles                  products.py
    a loop of multiply-adds         if the innermost index is one of the result, or at least _LONG_RUN terms of a sum
                                    are neighbours in both operands
    a loop that sums products       any other
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from netc.compiler.ir.forms import Form
from netc.compiler.ir.strides import broadcast, contiguous
from netc.compiler.ir.types import Dim
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.forms import lowers
from netc.compiler.lowering.grouped import grouped_tasks
from netc.compiler.lowering.indices import Strides, Views
from netc.compiler.lowering.loop import Loop, Writing
from netc.compiler.lowering.products import product_task
from netc.compiler.lowering.shards import fold_shards, is_done_at_once, is_sharded, shards_of
from netc.compiler.lowering.winograd import winograd_tasks
from netc.compiler.operations.linear import Subscripts, index_sizes
from netc.compiler.program.nests import Access, Reduction
from netc.compiler.program.scalars import Binary, FunctionCall, Name, Number, number
from netc.compiler.program.tasks import Buffer, StridedView
from netc.dsl.structs import replace

_LANES = 8  # elements of a vector
_LONG_RUN = 8  # neighbouring products that are worth summing in lanes
_FEW = 2  # elements along an index that vectors do not pay for


@lowers(Form.CONTRACTION)
def contraction(lowering: Lowering, value: Value) -> None:
    """Adds the task of a product, or of its sum with the value that the tile starts from."""
    einsum = lowering.fusion.starts.get(value)
    if einsum is not None:
        _product_and_sum(lowering, value, einsum)
    elif is_sharded(lowering, [value]):
        _product_in_shards(lowering, value)
    else:
        _product(lowering, value)


def _product(lowering: Lowering, einsum: Value) -> None:
    views = _views(lowering, einsum, None, lowering.strides_of(einsum), lambda: lowering.output(einsum))
    if not _by_tiles(lowering, einsum, einsum, views):
        _multiply_and_add(lowering, einsum)


def _by_tiles(lowering: Lowering, value: Value, einsum: Value, views: Views, in_shards: bool = False) -> bool:
    """Adds the tasks of a product that register tiles compute. Returns whether they can."""
    filters = not lowering.is_step and views.order is None
    tasks = winograd_tasks(value, einsum, views, lowering.machine, in_shards) if filters else []
    tasks = tasks or (grouped_tasks(value, einsum, views, lowering.machine, in_shards) if filters else [])
    if not tasks:
        at_once = not in_shards and is_done_at_once(lowering, einsum)
        task = product_task(value, einsum, views, lowering.machine, in_shards, at_once)
        tasks = [task] if task is not None else []
    lowering.program.tasks += tasks
    return bool(tasks)


def _views(
    lowering: Lowering,
    einsum: Value,
    start: StridedView | None,
    strides: tuple[int, ...],
    output: Callable[[], StridedView],
) -> Views:
    """The views of both operands: in elements of one type, because the tile multiplies f32, or pairs of bf16."""
    gathered = next((operand for operand in einsum.operands if operand in lowering.in_place), None)
    if gathered is not None:
        table = StridedView(lowering.tables[gathered], contiguous(gathered.type.dims))
        a, b = (table if operand is gathered else lowering.read(operand) for operand in einsum.operands)
        return Views(a, b, start, strides, output, lowering.order_of(gathered), einsum.operands[1] is gathered)
    a, b = map(lowering.read, einsum.operands)
    if len({view.buffer.type.dtype for view in (a, b) if view.buffer is not None}) != 1:
        a, b = map(lowering.read_in_memory, einsum.operands)
    return Views(a, b, start, strides, output)


def _product_in_shards(lowering: Lowering, einsum: Value) -> None:
    shards = shards_of(einsum, lowering.machine)
    target = StridedView(shards, contiguous(einsum.type.dims))
    views = _views(lowering, einsum, None, target.strides, lambda: target)
    if not _by_tiles(lowering, einsum, einsum, views, in_shards=True):
        _multiply_and_add(lowering, einsum, shards=shards)
    fold_shards(lowering, einsum, shards)


def _product_and_sum(lowering: Lowering, value: Value, einsum: Value) -> None:
    """Adds the task of a sum whose product starts from the other term; a second loop adds it to the sum of shards."""
    (start,) = (operand for operand in value.operands if operand is not einsum)
    begin = lowering.read(start)
    begin = replace(begin, strides=broadcast(begin.strides, start.type.dims, value.type.dims))
    views = _views(lowering, einsum, begin, lowering.strides_of(value), lambda: lowering.output(value))
    if _by_tiles(lowering, value, einsum, views):
        return
    if begin.buffer is None or is_sharded(lowering, [einsum]):
        contraction(lowering, einsum)
        loop = Loop(lowering, value.type.dims)
        term = loop.operand(start)
        view = lowering.read(einsum)
        line = loop.add(Binary("+", Name(term), Name(loop.load(view, value.type, view.strides))))
        loop.emit([(line, value, lowering.output(value))])
    else:
        _multiply_and_add(lowering, einsum, value, begin)


def _multiply_and_add(
    lowering: Lowering,
    einsum: Value,
    value: Value | None = None,
    start: StridedView | None = None,
    shards: Buffer | None = None,
) -> None:
    """Computes a product as a loop; with `shards`, each shard into its own row of that buffer.

    With `value`, it is the sum of the product and `start`.
    """
    value = einsum if value is None else value
    factors = _Factors.of(lowering, einsum)
    out, letters, dtype = factors.out, factors.letters(), value.type.dtype
    folded = tuple(axis for axis, letter in enumerate(letters) if letter not in out)
    loop = Loop(lowering, tuple(factors.sizes[letter] for letter in letters), folded, shards is not None)
    loop.is_whole = shards is None and is_done_at_once(lowering, einsum)
    first, second = (
        loop.load(view, operand.type, tuple(strides.get(letter, 0) for letter in letters))
        for view, operand, strides in zip(factors.views, einsum.operands, factors.strides, strict=True)
    )
    target = StridedView(shards, contiguous(value.type.dims)) if shards is not None else lowering.output(value)
    steps = dict(zip(out, target.strides, strict=True))
    target = replace(target, strides=tuple(steps[letter] for letter in letters if letter in out))
    initial: Number | Access = number(0.0, dtype)
    if start is not None:
        loop.computed.append(einsum)
        moves = dict(zip(out, start.strides, strict=True))
        initial = loop.element(start, value.type, tuple(moves.get(letter, 0) for letter in letters))
    if folded and (letters[-1] in out or factors.neighbours(letters, dtype) >= _LONG_RUN):
        added = Reduction(initial, FunctionCall("fma", dtype, (Name("b"), Name(second), Name("a"))))
        loop.emit([(first, value, target)], Writing(reduction=added))
        return
    line = loop.add(Binary("*", Name(first), Name(second)))
    if not folded and isinstance(initial, Access):
        line = loop.add(Binary("+", Name(loop.add(initial)), Name(line)))
    added = Reduction(initial, Binary("+", Name("a"), Name("b")))
    loop.emit([(line, value, target)], Writing(reduction=added if folded else None))


class _Factors(Struct, frozen=True):
    """The operands of a product that a loop computes: the letters of the result, the size of each letter, and of each
    operand its view and its strides."""

    out: str
    sizes: Mapping[str, Dim]
    views: list[StridedView]
    strides: list[Strides]

    @classmethod
    def of(cls, lowering: Lowering, einsum: Value) -> "_Factors":
        inputs, _, out = einsum.attributes_as(Subscripts).subscripts.partition("->")
        views = [lowering.read(operand) for operand in einsum.operands]
        pairs = zip(inputs.split(","), views, strict=True)
        strides = [dict(zip(letters, view.strides, strict=True)) for letters, view in pairs]
        return cls(out, index_sizes(inputs, *(operand.type for operand in einsum.operands)), views, strides)

    def letters(self) -> list[str]:
        """Returns the indices in the order of the loops: those of the result outside, except that the innermost is the
        one along which the operands are read best. Then rows of the result are sums of rows.

        Indices of one element come last, since the first index of the result is the one whose rows workers share.
        """
        out, sizes = self.out, self.sizes
        letters = dict.fromkeys(letter for strides in self.strides for letter in strides)
        summed = [letter for letter in letters if letter not in out]
        inside = [letter for letter in summed if sizes[letter] != 1]
        kept = [letter for letter in out if isinstance(size := sizes[letter], int) and size > _FEW]
        if not inside or not kept:
            return [*out, *summed]
        best = min(reversed(kept), key=self._cost)
        if self._cost(best) >= min(map(self._cost, inside)):
            return [*out, *summed]
        single = [letter for letter in out if sizes[letter] == 1]
        return [*(letter for letter in out if letter != best and letter not in single), *summed, best, *single]

    def neighbours(self, letters: Sequence[str], dtype: str) -> int:
        """Returns how many elements that are multiplied and summed are neighbours in both operands, if these have the
        element type `dtype` of the result. `letters` are in the order of the loops."""
        run = 1
        is_one = all(self.sizes[letter] == 1 for letter in self.out)  # a single sum is taken in blocks
        if is_one or any(view.buffer is None or view.buffer.type.dtype != dtype for view in self.views):
            return run
        for letter in reversed(letters):
            size = self.sizes[letter]
            if size == 1:
                continue
            is_next = all(strides.get(letter) == run for strides in self.strides)
            if letter in self.out or not isinstance(size, int) or not is_next:
                break
            run *= size
        return run

    def _cost(self, letter: str) -> float:
        """The cost of the operands for each element along an index: an element that is loaded alone costs 1."""
        size = self.sizes[letter]
        lanes = min(size, _LANES) if isinstance(size, int) else _LANES
        along = [strides.get(letter, 0) for strides in self.strides]
        return sum(0 if stride == 0 else 1 / lanes if stride == 1 else 1 for stride in along)
