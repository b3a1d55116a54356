"""The place of the largest of some floats in memory, as words of kernels.

`place_of_largest_f32(address, i, count)` is the index, from element i of a buffer on, of the largest of `count`
elements: of equal ones the first, and of the first NaN if there is one. Vectors find the largest element, and then the
first one that is equal to it. Zeros of both signs are equal.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.sums import folded_lanes
from netc.compiler.targets.cpu.values import Word, word

_SIDE_BY_SIDE = 4  # vectors
_ELEMENTS = {"f32": ir.FloatType(), "f64": ir.DoubleType()}
_BYTES = {"f32": 4, "f64": 8}
_I64, _I32, _BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)


@cache
def words(vector_bytes: int) -> dict[str, Word]:
    """Returns the words `place_of_largest_DTYPE` of a kernel's text."""
    return {f"place_of_largest_{dtype}": _place(dtype, vector_bytes) for dtype in _ELEMENTS}


def _place(dtype: str, vector_bytes: int) -> Word:
    @word(("i64", "i64", "i64"), "i32")
    def emit(builder: Any, address: Any, first: Any, count: Any) -> Any:
        base = builder.gep(builder.inttoptr(address, _ELEMENTS[dtype].as_pointer()), [first])
        return _Search(builder, dtype, vector_bytes // _BYTES[dtype], base, count).place()

    return emit


class _Search:
    """Emits the search through `count` elements from `base` on, in vectors of so many lanes."""

    def __init__(self, builder: Any, dtype: str, lanes: int, base: Any, count: Any) -> None:
        self.builder, self.dtype, self.lanes, self.base, self.count = builder, dtype, lanes, base, count
        self.element = _ELEMENTS[dtype]

    def place(self) -> Any:
        """The index, as 32 bits."""
        builder = self.builder
        largest, is_nan = self.largest()
        entry = {True: builder.append_basic_block("nan"), False: builder.append_basic_block("largest")}
        after = builder.append_basic_block("found")
        builder.cbranch(is_nan, entry[True], entry[False])
        places = []
        for of_nan, block in entry.items():
            builder.position_at_end(block)
            places.append(self.first(self.test(largest, of_nan)))
            places[-1] = (places[-1], builder.block)
            builder.branch(after)
        builder.position_at_end(after)
        result = builder.phi(_I64)
        for place, block in places:
            result.add_incoming(place, block)
        return builder.trunc(result, _I32)

    def load(self, index: Any, lanes: int) -> Any:
        """The element at an index, or the vector from it on."""
        pointer = self.builder.gep(self.base, [index])
        if lanes > 1:
            pointer = self.builder.bitcast(pointer, ir.VectorType(self.element, lanes).as_pointer())
        return self.builder.load(pointer, align=_BYTES[self.dtype])

    def repeated(self, value: Any, lanes: int) -> Any:
        """A vector of which every lane is a value; the value itself for one lane."""
        if lanes == 1:
            return value
        undefined = ir.Constant(ir.VectorType(self.element, lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, value, _I32(0))
        mask = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
        return self.builder.shuffle_vector(first, undefined, mask)

    def larger(self, x: Any, y: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", x, y), x, y)

    # -------------------------------------------------------------- the largest element

    def largest(self) -> tuple[Any, Any]:
        """The largest element, and whether one is NaN. A NaN is never larger, so it does not become the largest."""
        builder, lanes = self.builder, self.lanes
        least = ir.Constant(self.element, float("-inf"))
        totals = [self.repeated(least, lanes)] * _SIDE_BY_SIDE
        nan = ir.Constant(ir.VectorType(_BIT, lanes), [0] * lanes)
        index, totals, nan = self.walk(_I64(0), lanes, totals, nan)
        total = totals[0]
        for other in totals[1:]:
            total = self.larger(other, total)
        index, (total,), nan = self.walk(index, lanes, [total], nan)
        total = folded_lanes(builder, total, lanes, lambda lower, upper: self.larger(upper, lower))
        bits = builder.bitcast(nan, ir.IntType(lanes))
        is_nan = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
        _, (total,), is_nan = self.walk(index, 1, [total], is_nan)
        return total, is_nan

    def walk(self, start: Any, lanes: int, totals: list[Any], nan: Any) -> tuple[Any, list[Any], Any]:
        """Takes an item for each total while at least as many are left. Returns the index of the first item left."""
        builder, before = self.builder, self.builder.block
        head, body, after = (builder.append_basic_block(f"largest.{name}") for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        index, is_nan = builder.phi(_I64), builder.phi(nan.type)
        so_far = [builder.phi(total.type) for total in totals]
        for phi, value in ((index, start), (is_nan, nan), *zip(so_far, totals, strict=True)):
            phi.add_incoming(value, before)
        following = builder.add(index, _I64(lanes * len(totals)))
        builder.cbranch(builder.icmp_signed("<=", following, self.count), body, after)
        builder.position_at_end(body)
        items = [self.load(builder.add(index, _I64(lanes * i)), lanes) for i in range(len(totals))]
        seen = is_nan
        for x, y in zip(items[::2], items[1::2] or items, strict=True):
            seen = builder.or_(seen, builder.fcmp_unordered("uno", x, y))
        index.add_incoming(following, body)
        is_nan.add_incoming(seen, body)
        for phi, item in zip(so_far, items, strict=True):
            phi.add_incoming(self.larger(item, phi), body)
        builder.branch(head)
        builder.position_at_end(after)
        return index, so_far, is_nan

    # -------------------------------------------------------------- its place

    def test(self, largest: Any, of_nan: bool) -> Callable[[Any, int], Any]:
        """A function that emits whether elements are NaN, or equal to the largest one."""
        if of_nan:
            return lambda items, lanes: self.builder.fcmp_unordered("uno", items, items)
        repeated = {lanes: self.repeated(largest, lanes) for lanes in (self.lanes, 1)}
        return lambda items, lanes: self.builder.fcmp_ordered("==", items, repeated[lanes])

    def first(self, test: Callable[[Any, int], Any]) -> Any:
        """The index of the first element that passes a test, which one does."""
        builder = self.builder
        end = builder.append_basic_block("place")
        hits: list[tuple[Any, Any]] = []
        index: Any = _I64(0)
        for lanes, items in ((self.lanes, _SIDE_BY_SIDE), (self.lanes, 1), (1, 1)):
            index = self.scan(index, lanes, items, test, end, hits)
        hits.append((_I64(0), builder.block))  # of no elements at all
        builder.branch(end)
        builder.position_at_end(end)
        place = builder.phi(_I64)
        for value, block in hits:
            place.add_incoming(value, block)
        return place

    def scan(
        self,
        start: Any,
        lanes: int,
        count: int,
        test: Callable[[Any, int], Any],
        end: Any,
        hits: list[tuple[Any, Any]],
    ) -> Any:
        """Tests so many items at once while as many are left, and leaves for `end` with the first that passes."""
        builder, before = self.builder, self.builder.block
        head, body, hit, again, after = (
            builder.append_basic_block(f"place.{name}") for name in ("head", "body", "hit", "again", "after")
        )
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_I64)
        index.add_incoming(start, before)
        following = builder.add(index, _I64(lanes * count))
        builder.cbranch(builder.icmp_signed("<=", following, self.count), body, after)
        builder.position_at_end(body)
        bits: Any = _I64(0)
        for i in range(count):
            passed = test(self.load(builder.add(index, _I64(lanes * i)), lanes), lanes)
            if lanes > 1:
                passed = builder.bitcast(passed, ir.IntType(lanes))
            wide = passed if lanes == 64 else builder.zext(passed, _I64)
            bits = builder.or_(bits, builder.shl(wide, _I64(lanes * i)))
        builder.cbranch(builder.icmp_unsigned("!=", bits, _I64(0)), hit, again)
        builder.position_at_end(hit)
        hits.append((builder.add(index, builder.cttz(bits, _BIT(1))), hit))
        builder.branch(end)
        builder.position_at_end(again)
        index.add_incoming(following, again)
        builder.branch(head)
        builder.position_at_end(after)
        return index
