"""The lines of a listing that say what a kernel computes. kernel_parser.py reads them back.

for i0 < n0 = rows                 a loop; its count is an argument of the kernel, for which the task gives `rows`
for i1 < 5, folded                 a loop over an axis that folds reduce
s0 = batch                         a number of elements that lines compute with, an argument too
t0 = f32 p0[i0 * 5 + i1]           a load: its type, its pointer and its offset (`range[...]`: the offset itself)
t1 = tanh.f32(t0) * f32(2.0)       an expression: functions, conversions and numbers have a type
f32 p1[i0] = fold of t1 from f32(0.0) by a + b
"""

from collections.abc import Iterator, Sequence

from netc.compiler.ir.graph import literal
from netc.compiler.program import attention, grouped, winograd
from netc.compiler.program.kernels import (
    AttentionKernel,
    Contraction,
    CustomKernel,
    FirstEqual,
    GroupedKernel,
    Kernel,
    StoredCount,
    VectorKernel,
    WinogradKernel,
)
from netc.compiler.program.names import quoted
from netc.compiler.program.nests import Access, Nest, Output
from netc.compiler.program.scalars import Expression, Spelling, written
from netc.compiler.program.schedule import Count

_SPELLING = Spelling(
    number=lambda number: f"{number.dtype}({number.text})",
    function=lambda call: f"{call.function}.{call.dtype}",
    conversion=lambda dtype: dtype,
)


def heading(kernel: VectorKernel) -> str:
    """Returns the words for a kernel that is not a nest: what it computes, and in which type."""
    match kernel:
        case Contraction(dtype, of_pairs, in_tiles, gathered):
            operands = f" of pairs{' in tiles' if in_tiles else ''}" if of_pairs else ""
            return f"contraction in {dtype}{operands}{f' of gathered {gathered}' if gathered else ''}"
        case AttentionKernel(dtype, is_gradient, _, has_one_query):
            kind = "gradient " if is_gradient else "of one query " if has_one_query else ""
            return f"attention {kind}in {dtype}"
        case WinogradKernel(dtype, part):
            return f"winograd {part} in {dtype}"
        case GroupedKernel(dtype, part, groups):
            is_dense = groups.step == groups.apart == 1
            window = (
                f"{groups.down} x {groups.across}{'' if is_dense else f' every {groups.step}, {groups.apart} apart'}"
            )
            strips = f"strips of {groups.positions} and {groups.rest}{' with halves' if groups.ends_in_half else ''}"
            return f"grouped {part} of {groups.inputs} to {groups.outputs} by {window} in {strips}, in {dtype}"


def kernel_lines(kernel: Kernel, counts: Sequence[Count]) -> Iterator[str]:
    """Yields the lines of a kernel that is called with some counts; of a contraction its heading alone."""
    match kernel:
        case Nest():
            yield from _nest(kernel, counts)
        case CustomKernel():
            yield from _custom(kernel, counts)
        case Contraction():
            yield heading(kernel)
        case AttentionKernel(is_gradient=is_gradient):
            yield heading(kernel)
            yield from _named(attention.numbers(is_gradient), counts)
        case WinogradKernel(part=part):
            yield heading(kernel)
            yield from _named(winograd.shape_numbers(part), counts)
        case GroupedKernel(part=part):
            yield heading(kernel)
            yield from _named(grouped.numbers(part), counts)
        case StoredCount(dtype):
            yield f"stores {dtype} n0 = {count_text(counts[0])}"
        case FirstEqual():
            yield f"first equal of n0 = {count_text(counts[0])}"


def _named(names: Sequence[str], counts: Sequence[Count]) -> Iterator[str]:
    """Yields a line for each number of a generic kernel."""
    return (f"{name} = {count_text(count)}" for name, count in zip(names, counts, strict=True))


def count_text(count: Count) -> str:
    """Returns a count: `rows`, `4 * time`, `12`."""
    if count.is_fixed:
        return str(count.factor)
    return quoted(count.per) if count.factor == 1 else f"{count.factor} * {quoted(count.per)}"


def _nest(nest: Nest, counts: Sequence[Count]) -> Iterator[str]:
    arguments = iter(counts)
    for axis, extent in enumerate(nest.extents):
        count = str(extent) if extent is not None else f"n{axis} = {count_text(next(arguments))}"
        yield f"for i{axis} < {count}{', folded' if nest.folded[axis] else ''}"
    yield from (f"s{size} = {count_text(next(arguments))}" for size in range(nest.sizes))
    if nest.sums != "in order":
        yield f"sums {nest.sums}"
    for line in nest.lines:
        value = line.value
        yield f"{line.name} = {_access(value) if isinstance(value, Access) else expression_text(value)}"
    for output in nest.outputs:
        yield f"{_access(output.target)} = {_stored(nest, output)}"


def _stored(nest: Nest, output: Output) -> str:
    """The text of the value that an output stores."""
    fold = output.fold
    if fold is not None:
        keys = f" with keys {fold.keyed}" if fold.keyed else ""
        begin = _access(fold.initial) if isinstance(fold.initial, Access) else expression_text(fold.initial)
        points = ", at each point" if nest.is_running else ""
        return f"fold of {output.line} from {begin} by {expression_text(fold.combine)}{keys}{points}"
    if nest.argmax:
        return f"index of the largest {output.line}"
    if nest.combine is not None:
        return f"combined with {output.line} by {expression_text(nest.combine)}"
    return output.line


def expression_text(tree: Expression) -> str:
    """Returns a scalar expression with the types of its functions, conversions and numbers."""
    return written(tree, _SPELLING)


def _access(access: Access) -> str:
    terms = [
        f"i{axis}" if stride == 1 else f"i{axis} * {stride}" for axis, stride in enumerate(access.strides) if stride
    ]
    if access.indirect is not None:
        terms.append(f"{access.indirect[0]} * {access.indirect[1]}")
    pointer = "range" if access.pointer is None else f"p{access.pointer}"
    return f"{access.dtype} {pointer}[{' + '.join(terms) or '0'}]"


def _custom(kernel: CustomKernel, counts: Sequence[Count]) -> Iterator[str]:
    each = f" for each of n0 = {count_text(counts[0])}" if kernel.is_batched else ""
    yield f"custom {quoted(kernel.operation)}{each}"
    yield from (f"attribute {name}={literal(value)}" for name, value in kernel.attributes)
    for array in kernel.arrays:
        shape, strides = ", ".join(map(str, array.shape)), ", ".join(map(str, array.strides))
        yield f"{array.dtype} p{array.pointer}[{shape}], strides [{strides}], {array.apart} apart"
