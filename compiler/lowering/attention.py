"""Attention and its gradient: one kernel call each for all samples and heads.

The kernel of `attend` also computes the logarithms of its sums, and that of a gradient those of queries, keys and
values, whichever of these values is lowered first. Samples are shared out; if there are fewer than workers could take,
the heads are. Packed rows have no lead: index tables say which of them belong to a sample.
"""

from collections.abc import Mapping, Sequence

from netc.compiler.ir.forms import Form
from netc.compiler.ir.types import BATCH, Dim, Type, size_of
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.forms import lowers
from netc.compiler.operations.attention import attend_gradient, attend_sums, is_packed, table_names
from netc.compiler.program import attention
from netc.compiler.program.kernels import AttentionKernel
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Buffer, Pointer, StridedView, Task, all_of

_FEW_SAMPLES = 8  # with fewer in a batch, heads are shared out


@lowers(Form.ATTENTION)
def attend(lowering: Lowering, value: Value) -> None:
    """Adds the call that computes a result and the logarithms of its sums."""
    q, k, v, *tables = value.operands
    sums = next((user for user in lowering.fusion.users[value] if user.definition is attend_sums), None)
    views = {
        "queries": lowering.read_in_memory(q),
        "keys": lowering.read_in_memory(k),
        "values": lowering.read_in_memory(v),
        "result": lowering.output(value),
        "sums": lowering.output(sums)
        if sums is not None
        else all_of(Buffer(attend_sums.type(value.type, q.type, k.type, **value.keywords))),
    }
    _add(lowering, value, views, tables, (value, *([sums] if sums is not None else [])))


@lowers(Form.ATTENTION_SUMS)
def sums(lowering: Lowering, value: Value) -> None:
    """Adds nothing: the call for the result has computed the sums too."""
    assert value in lowering.views, f"{value} without its attention"


@lowers(Form.ATTENTION_GRADIENT)
def gradient(lowering: Lowering, value: Value) -> None:
    """Adds the call that computes all three gradients, unless one of the others has added it."""
    if value in lowering.views:
        return
    g, q, k, v, result, sums, *tables = value.operands
    siblings = {
        user.keywords["of"]: user
        for user in lowering.fusion.users[g]
        if user.definition is attend_gradient and user.operands == value.operands
    }
    named = {"queries": q, "keys": k, "values": v, "result": result, "gradient": g, "sums": sums}
    views = {name: lowering.read_in_memory(operand) for name, operand in named.items()}
    for of in ("queries", "keys", "values"):
        unread = all_of(Buffer(named[of].type))
        views[f"of_{of}"] = lowering.output(siblings[of]) if of in siblings else unread
    _add(lowering, value, views, tables, tuple(siblings.values()))


def _add(
    lowering: Lowering,
    value: Value,
    views: Mapping[str, StridedView],
    tables: Sequence[Value],
    values: tuple[Value, ...],
) -> None:
    """Adds the call of a kernel for some views of its operands and results, by their names in program/attention.py."""
    is_gradient = value.definition is attend_gradient
    q, k, v = (operand.type for operand in value.operands[is_gradient : is_gradient + 3])
    kernel = _kernel(value, views, tables)
    heads = int(q.dims[-2])
    by_heads = size_of(BATCH, lowering.sizes) < _FEW_SAMPLES and heads != 1
    views = {**views, **dict(zip(kernel.tables, map(lowering.read, tables), strict=True))}
    strides = {name: dict(zip(kernel.axes_of(name), view.strides, strict=True)) for name, view in views.items()}
    lead = "head" if by_heads else "sample"
    pointers = {name: view.pointer(strides[name].get(lead, 0)) for name, view in views.items()}
    scratch = _scratch(lowering, kernel, (q, k, v))
    pointers |= {name: Pointer(buffer) for name, buffer in zip(attention.SCRATCH, scratch, strict=True)}
    unused = pointers["queries"]  # the kernel does not use these, so they stand anywhere
    written = {pointers[name].buffer for name in attention.written(is_gradient)}
    numbers = _counts(value, kernel, (q, k, v), by_heads)
    numbers |= {f"{name}_{axis}": Count(stride) for name, steps in strides.items() for axis, stride in steps.items()}
    lowering.program.tasks.append(
        Task(
            kernel,
            tuple(pointers.get(name, unused) for name in attention.pointers(is_gradient)),
            tuple(numbers.get(name, Count(0)) for name in attention.numbers(is_gradient)),
            frozenset({*written, *scratch}),
            heads if by_heads else BATCH,
            values,
        )
    )


def _counts(value: Value, kernel: AttentionKernel, types: tuple[Type, Type, Type], by_heads: bool) -> dict[str, Count]:
    """Returns the kernel's numbers except strides, by name. The rows of the task are heads or samples."""
    q, k, v = types
    return {
        "samples": Count(1, BATCH if by_heads else "rows"),
        "heads": Count(1, "rows") if by_heads else Count(int(q.dims[-2])),
        "query_count": _count(_steps(q)),
        "key_count": _count(_steps(k)),
        "width": Count(int(q.dims[-1])),
        "value_width": Count(int(v.dims[-1])),
        "scale": Count(attention.bits_of(value.keywords["scale"])),
        "is_causal": Count(int(value.keywords["causal"])),
        "lengths": Count(kernel.lengths),
        "packs_keys": Count(int(kernel.packs_keys)),
        "packs_queries": Count(int(kernel.packs_queries)),
    }


def _kernel(value: Value, views: Mapping[str, StridedView], tables: Sequence[Value]) -> AttentionKernel:
    is_gradient = value.definition is attend_gradient
    q, k = (operand.type for operand in value.operands[is_gradient : is_gradient + 2])
    packs_keys, packs_queries = is_packed(k), is_packed(q)
    lengths = len(set(table_names(packs_keys, packs_queries, len(tables))) & {*attention.LENGTHS})
    is_along = views["keys"].strides[-1] == 1 == views["values"].strides[-1]
    is_one = not packs_queries and q.dims[1] == 1
    has_one_query = is_one and not is_gradient and lengths < len(attention.LENGTHS) and is_along
    return AttentionKernel(value.type.dtype, is_gradient, lengths, has_one_query, packs_keys, packs_queries)


def _steps(type_: Type) -> Dim:
    """The number of steps that are stored for each sample, or for all together."""
    return type_.dims[0] if is_packed(type_) else type_.dims[1]


def _count(dim: Dim) -> Count:
    return Count(1, dim) if isinstance(dim, str) else Count(int(dim))


def _scratch(lowering: Lowering, kernel: AttentionKernel, types: tuple[Type, Type, Type]) -> tuple[Buffer, Buffer]:
    """The kernel's memory of blocks, and that of all keys: for as many as a head may have, all of the batch if they are
    packed. Of these it only touches the rows of the longest sample."""
    q, k, v = types
    dtype, widths = q.dtype, (int(q.dims[-1]), int(v.dims[-1]))
    block, lanes = lowering.machine.attention_block(kernel.dtype), lowering.machine.lanes(kernel.dtype)
    if kernel.has_one_query:
        layout = attention.query_layout(lanes, int(q.dims[-2]), int(k.dims[1]), *widths)
        buffer = Buffer(Type(dtype, (layout.end,)), "scratch")
        return buffer, buffer
    end = attention.scratch_layout(block, lanes, *widths, kernel.is_gradient).end
    row = attention.keys_layout(lanes, 1, *widths, kernel.is_gradient).row
    blocks, keys = Type(dtype, (end,)), Type(dtype, (_steps(k), row))
    return Buffer(blocks, "scratch"), Buffer(keys, "scratch")
