"""The index of the largest of some floats in memory, as a built-in of kernel text.

`index_of_largest_f32(address, i, count)` searches `count` elements from element i of a buffer on, and returns the index
among them of the largest: the first of equal ones, or of the first NaN if there is one. Zeros of both signs are equal.

A row of a few vectors is loaded at once, for its largest element and the first index that has it, by code of its own
for each number of vectors. A longer row is walked in rounds of one, two or four vectors. Each lane keeps its largest
element and the round in which it occurred, and the first round with the largest of all is then searched. So no branch
depends on where the largest element is. The last round or vector overlaps the one before, which does no harm. All
elements are added up on the way, in units of a CPU that do not compare: if there is a NaN, the sum is NaN, and the row
is searched for it afterwards.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial, reduce
from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.text.sums import folded_lanes
from netc.compiler.targets.cpu.text.values import Builtin, builtin, splat
from netc.compiler.targets.machine import WIDE

_MOST_AT_ONCE = 9  # vectors of a row without a loop
_PAIRS = 8  # the least vectors of a row that is walked in rounds of two, not of one
# The least vectors of a row that is walked in rounds of four. On Zen 4 they take 10 to 15% less time with vectors of 32
# bytes, and 6% more with those of 64.
_FOURS = 16
_Way = tuple[int, Callable[[], tuple[Any, Any]]]  # the least elements of a row, and how it is searched
_ELEMENTS = {"f32": ir.FloatType(), "f64": ir.DoubleType()}
_BYTES = {"f32": 4, "f64": 8}
_I64, _I32, _BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)
_NUMBERS = {"f32": _I32, "f64": _I64}  # integers as wide as the elements, so that one mask chooses both


@cache
def builtins(vector_bytes: int) -> dict[str, Builtin]:
    """Returns the built-ins `index_of_largest_DTYPE` of kernel text."""
    return {f"index_of_largest_{dtype}": _index_of_largest(dtype, vector_bytes) for dtype in _ELEMENTS}


def _index_of_largest(dtype: str, vector_bytes: int) -> Builtin:
    @builtin(("i64", "i64", "i64"), "i32")
    def emit(builder: Any, address: Any, first: Any, count: Any) -> Any:
        base = builder.gep(builder.inttoptr(address, _ELEMENTS[dtype].as_pointer()), [first])
        return _Search(builder, dtype, vector_bytes // _BYTES[dtype], base, count).index()

    return emit


class _Search:
    """Emits the search through `count` elements from `base` on, in vectors of `lanes` lanes."""

    def __init__(self, builder: Any, dtype: str, lanes: int, base: Any, count: Any) -> None:
        self.builder, self.dtype, self.lanes, self.base, self.count = builder, dtype, lanes, base, count
        self.element = _ELEMENTS[dtype]

    def index(self) -> Any:
        """The index, as 32 bits."""
        builder = self.builder
        doubt, end = builder.append_basic_block("largest.doubt"), builder.append_basic_block("largest.end")
        incoming: list[tuple[Any, Any]] = []  # indices, with the blocks that they come from

        def leave(position: Any, may_be_nan: Any) -> None:
            incoming.append((position, builder.block))
            builder.cbranch(may_be_nan, doubt, end)

        few = min(64 // self.lanes + 1, _MOST_AT_ONCE)  # the tests of all of them but the last are one integer
        more = self.lanes * few + 1  # the least elements of a row of more vectors
        pairs = max(self.lanes * _PAIRS, more)
        searches: list[_Way] = [(pairs, partial(self.in_rounds, 2))]
        if self.lanes * _BYTES[self.dtype] < WIDE:
            searches.insert(0, (self.lanes * _FOURS, partial(self.in_rounds, 4)))
        searches += [(more, partial(self.in_rounds, 1))] * (more < pairs)
        for lanes, most in ((self.lanes, few), (self.lanes // 2, 2)):
            for vectors in range(most, 0, -1):
                least = lanes * (vectors - 1) + 1 if vectors > 1 else lanes
                searches += [(least, partial(self.at_once, lanes, vectors))] * (lanes > 1)
        searches.append((0, self.one_by_one))

        def choose(ways: Sequence[_Way]) -> None:
            """Writes the choice between some searches by the number of elements. They are ordered by the least number
            that each takes, the largest first. The first test separates the search for the shortest rows from all
            others."""
            if len(ways) == 1:
                leave(*ways[0][1]())
                return
            half = len(ways) - 1 if ways is searches else len(ways) // 2
            fits, fewer = (builder.append_basic_block(f"largest.{name}") for name in ("fits", "fewer"))
            builder.cbranch(builder.icmp_signed(">=", self.count, _I64(ways[half - 1][0])), fits, fewer)
            for block, part in ((fits, ways[:half]), (fewer, ways[half:])):
                builder.position_at_end(block)
                choose(part)

        choose(searches)
        builder.position_at_end(doubt)
        largest = self.chosen(incoming)
        incoming.append((self.first_nan(largest), builder.block))
        builder.branch(end)
        builder.position_at_end(end)
        result = self.chosen(incoming)
        return builder.trunc(result, _I32)

    def in_rounds(self, vectors: int) -> tuple[Any, Any]:
        """The index of the largest element, and whether an element may be NaN. A round has `vectors` vectors."""
        builder, lanes, size = self.builder, self.lanes, self.lanes * vectors
        last = builder.sub(self.count, _I64(size))
        before = builder.udiv(builder.sub(self.count, _I64(1)), _I64(size))  # rounds before the last one

        integer = _NUMBERS[self.dtype]
        nothing = _repeated(self.element, 0.0, lanes)
        first, step, most = (_repeated(integer, number, lanes) for number in (0, 1, (1 << 31) - 1))
        least = _repeated(self.element, float("-inf"), lanes)

        def look_at(begin: Any, state: list[Any]) -> list[Any]:
            largest, seen_in, number, total = state
            items = [self.load(builder.add(begin, _I64(lanes * i)), lanes) for i in range(vectors)]
            total = builder.fadd(total, _in_pairs(items, builder.fadd))
            best = _in_pairs(items, self.larger)
            is_larger = builder.fcmp_ordered(">", best, largest)
            seen_in = builder.select(is_larger, number, seen_in)
            return [builder.select(is_larger, best, largest), seen_in, builder.add(number, step), total]

        def body(index: Any, state: list[Any]) -> list[Any]:
            return look_at(builder.mul(index, _I64(size)), state)

        seen = self.loop(before, [least, first, first, nothing], body)
        largest, seen_in, _, total = look_at(last, seen)
        best = splat(builder, folded_lanes(builder, largest, lanes, lambda x, y: self.larger(y, x)), lanes)
        seen_in = builder.select(builder.fcmp_ordered("==", largest, best), seen_in, most)
        number = folded_lanes(builder, seen_in, lanes, self.smaller)
        number = builder.sext(number, _I64) if integer is _I32 else number
        begin = self.smaller(builder.mul(number, _I64(size)), last)
        items = [self.load(builder.add(begin, _I64(lanes * i)), lanes) for i in range(vectors)]
        bits = self.joined([self.equal(item, best) for item in items], lanes)
        return builder.add(begin, builder.cttz(bits, _BIT(0))), self.has_nan(total, lanes)

    def at_once(self, lanes: int, vectors: int) -> tuple[Any, Any]:
        """The same for a row of so few vectors, each of `lanes` lanes: finds the largest element, then the first index
        that has it."""
        builder = self.builder
        last = builder.sub(self.count, _I64(lanes))
        begins = [*(_I64(lanes * i) for i in range(vectors - 1)), last]
        items = [self.load(begin, lanes) for begin in begins]
        largest, total = _in_pairs(items, self.larger), _in_pairs(items, builder.fadd)
        best = splat(builder, folded_lanes(builder, largest, lanes, lambda x, y: self.larger(y, x)), lanes)
        *masks, of_last = [self.equal(item, best) for item in items]
        position = builder.add(last, builder.cttz(self.joined([of_last], lanes), _BIT(0)))
        if masks:
            bits = self.joined(masks, lanes)
            is_before = builder.icmp_unsigned("!=", bits, _I64(0))
            position = builder.select(is_before, builder.cttz(bits, _BIT(0)), position)
        return position, self.has_nan(total, lanes)

    def equal(self, item: Any, best: Any) -> Any:
        """The lanes of two vectors that are equal, as bits."""
        return self.builder.bitcast(self.builder.fcmp_ordered("==", item, best), ir.IntType(item.type.count))

    def joined(self, masks: Sequence[Any], lanes: int) -> Any:
        """Tests of vectors one after another, as the bits of one integer."""
        builder, bits = self.builder, _I64(0)
        for i, mask in enumerate(masks):
            wide = mask if lanes == 64 else builder.zext(mask, _I64)
            bits = builder.or_(bits, builder.shl(wide, _I64(lanes * i)))
        return bits

    def has_nan(self, total: Any, lanes: int) -> Any:
        """Whether a lane of a vector is NaN."""
        nans = self.builder.bitcast(self.builder.fcmp_unordered("uno", total, total), ir.IntType(lanes))
        return self.builder.icmp_unsigned("!=", nans, ir.Constant(nans.type, 0))

    def one_by_one(self) -> tuple[Any, Any]:
        """The same for a row that fills no vector."""
        builder = self.builder

        def body(index: Any, state: list[Any]) -> list[Any]:
            largest, position, is_nan = state
            item = self.load(index, 1)
            is_larger = builder.fcmp_ordered(">", item, largest)
            is_nan = builder.or_(is_nan, builder.fcmp_unordered("uno", item, item))
            return [builder.select(is_larger, item, largest), builder.select(is_larger, index, position), is_nan]

        start = [ir.Constant(self.element, float("-inf")), _I64(0), _BIT(0)]
        _, position, is_nan = self.loop(self.count, start, body)
        return position, is_nan

    def first_nan(self, otherwise: Any) -> Any:
        """The index of the first NaN, or `otherwise` if there is none."""
        builder, before = self.builder, self.builder.block
        head, body, again, end = (
            builder.append_basic_block(f"nan.{name}") for name in ("head", "body", "again", "end")
        )
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_I64)
        index.add_incoming(_I64(0), before)
        builder.cbranch(builder.icmp_signed("<", index, self.count), body, end)
        builder.position_at_end(body)
        item = self.load(index, 1)
        builder.cbranch(builder.fcmp_unordered("uno", item, item), end, again)
        builder.position_at_end(again)
        index.add_incoming(builder.add(index, _I64(1)), again)
        builder.branch(head)
        builder.position_at_end(end)
        return builder.select(builder.icmp_signed("<", index, self.count), index, otherwise)

    # -------------------------------------------------------------- details

    def loop(self, count: Any, start: Sequence[Any], body: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
        """A loop over range(count) with variables: `body(index, values)` gives their next values; returns the last."""
        builder, before = self.builder, self.builder.block
        head, inside, after = (builder.append_basic_block(f"largest.{name}") for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(value.type) for value in (_I64(0), *start)]
        builder.cbranch(builder.icmp_signed("<", phis[0], count), inside, after)
        builder.position_at_end(inside)
        following = [builder.add(phis[0], _I64(1)), *body(phis[0], phis[1:])]
        for phi, first, value in zip(phis, (_I64(0), *start), following, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return phis[1:]

    def chosen(self, incoming: Sequence[tuple[Any, Any]]) -> Any:
        """The index that came with control from one of several blocks."""
        position = self.builder.phi(_I64)
        for value, block in incoming:
            position.add_incoming(value, block)
        return position

    def load(self, index: Any, lanes: int) -> Any:
        """The element at an index, or the vector from it on."""
        pointer = self.builder.gep(self.base, [index])
        if lanes > 1:
            pointer = self.builder.bitcast(pointer, ir.VectorType(self.element, lanes).as_pointer())
        return self.builder.load(pointer, align=_BYTES[self.dtype])

    def larger(self, x: Any, y: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", x, y), x, y)

    def smaller(self, x: Any, y: Any) -> Any:
        return self.builder.select(self.builder.icmp_signed("<", x, y), x, y)


def _repeated(element: Any, number: float, lanes: int) -> Any:
    return ir.Constant(ir.VectorType(element, lanes), [number] * lanes)


def _in_pairs(items: list[Any], combine: Callable[[Any, Any], Any]) -> Any:
    """Combines items, neighbours first."""
    while len(items) > 1:
        items = [reduce(combine, items[i : i + 2]) for i in range(0, len(items), 2)]
    return items[0]
