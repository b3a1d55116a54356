"""The vector code of the attention kernels, as Numba intrinsics in LLVM vector IR.

A block of scores has a row for each key and a column for each query, so that a softmax over keys runs down the columns:
one vector holds a row of as many queries as it has lanes, and no sum crosses lanes. Addresses are in bytes, strides in
elements. An element's sum runs over the rows in order. attention.py and attention_gradient.py call the intrinsics.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from netc.compiler.targets.cpu.math.exponential import exp
from netc.compiler.targets.cpu.math.terms import Scope, Term, fma, select
from netc.compiler.targets.machine import Machine

_I64, _I32 = ir.IntType(64), ir.IntType(32)
_ZERO = ir.Constant(_I64, 0)
_MAXIMA = 4  # running maxima of a column: one alone would wait for itself


class _Vectors:
    """Emits loads and stores of vectors, and loops over the rows of a column."""

    def __init__(self, builder: Any, dtype: str, machine: Machine) -> None:
        self.builder, self.dtype = builder, dtype
        self.size = 4 if dtype == "f32" else 8
        self.scope = Scope(builder, machine.has_fma, machine.lanes(dtype))
        self.vector = self.scope.type_of(dtype)

    def _at(self, base: Any, row: Any, index: Any) -> Any:
        offset = self.builder.mul(self.builder.mul(row, index), ir.Constant(_I64, self.size))
        return self.builder.inttoptr(self.builder.add(base, offset), self.vector.as_pointer())

    def load(self, base: Any, row: Any = _ZERO, index: Any = _ZERO) -> Term:
        """The vector in row `index` of rows that are `row` apart."""
        value = self.builder.load(self._at(base, row, index))
        value.align = self.size
        return Term(self.scope, self.dtype, value)

    def store(self, value: Term, base: Any, row: Any = _ZERO, index: Any = _ZERO) -> None:
        self.builder.store(value.value, self._at(base, row, index)).align = self.size

    def constant(self, number: float) -> Term:
        return self.scope.constant(self.dtype, number)

    def repeated(self, scalar: Any) -> Term:
        """A vector of which every lane is a scalar."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
        mask = ir.Constant(ir.VectorType(_I32, self.scope.lanes), [0] * self.scope.lanes)
        return Term(self.scope, self.dtype, self.builder.shuffle_vector(first, undefined, mask))

    def variable(self, value: Term) -> Any:
        """Memory for a vector that changes in a loop; LLVM keeps it in a register."""
        slot = cgutils.alloca_once(self.builder, self.vector)
        self.builder.store(value.value, slot)
        return slot

    def get(self, slot: Any) -> Term:
        return Term(self.scope, self.dtype, self.builder.load(slot))

    def each(self, first: Any, end: Any, body: Callable[[Any], None]) -> None:
        """A loop over row numbers."""
        with cgutils.for_range_slice(self.builder, first, end, ir.Constant(_I64, 1), _I64) as (index, _):
            body(index)


def _intrinsic(dtype: str, machine: Machine, arguments: int, emit: Callable[..., None]) -> Any:
    """Returns an intrinsic that takes integers and emits `emit(vectors, *arguments)`."""
    signature = types.void(*[types.int64] * arguments)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        emit(_Vectors(builder, dtype, machine), *values)
        return context.get_dummy_value()

    def of_six(typing, a, b, c, d, e, f):  # type: ignore[no-untyped-def]
        return signature, codegen

    def of_five(typing, a, b, c, d, e):  # type: ignore[no-untyped-def]
        return signature, codegen

    def of_four(typing, a, b, c, d):  # type: ignore[no-untyped-def]
        return signature, codegen

    return intrinsic({4: of_four, 5: of_five, 6: of_six}[arguments])


def softmax_step(dtype: str, machine: Machine) -> Any:
    """softmax_step(scores, row, count, maximum, total, factor): some rows of a column of an online softmax.

    Scores become exp(score - maximum). The maximum and the total so far are updated; `factor` is what earlier results
    must be multiplied by, because the maximum has grown.
    """

    def emit(vectors: _Vectors, scores: Any, row: Any, count: Any, maximum: Any, total: Any, factor: Any) -> None:
        builder = vectors.builder
        before = vectors.load(maximum)
        maxima = [vectors.variable(before) for _ in range(_MAXIMA)]

        def larger(slot: Any, index: Any) -> None:
            so_far, score = vectors.get(slot), vectors.load(scores, row, index)
            builder.store(select(score > so_far, score, so_far).value, slot)

        rounds = builder.sdiv(count, ir.Constant(_I64, _MAXIMA))
        in_rounds = builder.mul(rounds, ir.Constant(_I64, _MAXIMA))

        def compare(index: Any) -> None:
            first = builder.mul(index, ir.Constant(_I64, _MAXIMA))
            for k, slot in enumerate(maxima):
                larger(slot, builder.add(first, ir.Constant(_I64, k)))

        vectors.each(_ZERO, rounds, compare)
        vectors.each(in_rounds, count, lambda index: larger(maxima[0], index))
        after = vectors.get(maxima[0])
        for slot in maxima[1:]:
            other = vectors.get(slot)
            after = select(other > after, other, after)
        shrunk = exp(before - after)
        vectors.store(after, maximum)
        vectors.store(shrunk, factor)
        added = vectors.variable(vectors.constant(0.0))

        def weigh(index: Any) -> None:
            weight = exp(vectors.load(scores, row, index) - after)
            vectors.store(weight, scores, row, index)
            builder.store((vectors.get(added) + weight).value, added)

        vectors.each(_ZERO, count, weigh)
        vectors.store(vectors.load(total) * shrunk + vectors.get(added), total)

    return _intrinsic(dtype, machine, 6, emit)


def gradient_step(dtype: str, machine: Machine) -> Any:
    """gradient_step(scores, slopes, row, count, sums, dots): some rows of a column.

    Scores become weights, exp(score - sum), and slopes, the gradient of the weights, become that of the scores:
    weight * (slope - dot).
    """

    def emit(vectors: _Vectors, scores: Any, slopes: Any, row: Any, count: Any, sums: Any, dots: Any) -> None:
        log_sum, dot = vectors.load(sums), vectors.load(dots)

        def step(index: Any) -> None:
            weight = exp(vectors.load(scores, row, index) - log_sum)
            vectors.store(weight, scores, row, index)
            vectors.store(weight * (vectors.load(slopes, row, index) - dot), slopes, row, index)

        vectors.each(_ZERO, count, step)

    return _intrinsic(dtype, machine, 6, emit)


def add_products(dtype: str, machine: Machine) -> Any:
    """add_products(x, y, row, count, to): the sum of x * y down a column."""

    def emit(vectors: _Vectors, x: Any, y: Any, row: Any, count: Any, to: Any) -> None:
        total = vectors.variable(vectors.constant(0.0))

        def add(index: Any) -> None:
            product = fma(vectors.load(x, row, index), vectors.load(y, row, index), vectors.get(total))
            vectors.builder.store(product.value, total)

        vectors.each(_ZERO, count, add)
        vectors.store(vectors.get(total), to)

    return _intrinsic(dtype, machine, 5, emit)


def clear(dtype: str, machine: Machine) -> Any:
    """clear(block, row, first, end): zeros in some rows of a column."""

    def emit(vectors: _Vectors, block: Any, row: Any, first: Any, end: Any) -> None:
        zero = vectors.constant(0.0)
        vectors.each(first, end, lambda index: vectors.store(zero, block, row, index))

    return _intrinsic(dtype, machine, 4, emit)


def scale(dtype: str, machine: Machine) -> Any:
    """scale(source, to, factor): a vector times a number."""
    number = types.float32 if dtype == "f32" else types.float64

    @intrinsic
    def scale_vector(typing, source, to, factor):
        def codegen(context, builder, signature, arguments):
            source, to, factor = arguments
            vectors = _Vectors(builder, dtype, machine)
            vectors.store(vectors.load(source) * vectors.repeated(factor), to)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, number), codegen

    return scale_vector


def as_number(dtype: str) -> Any:
    """as_number(bits): the number whose bits as an f64 are those of an integer."""

    @intrinsic
    def number_of(typing, bits):
        def codegen(context, builder, signature, arguments):
            number = builder.bitcast(arguments[0], ir.DoubleType())
            return builder.fptrunc(number, ir.FloatType()) if dtype == "f32" else number

        return (types.float32 if dtype == "f32" else types.float64)(types.int64), codegen

    return number_of
