"""Attention and its gradient: one kernel call each for all samples and heads.

The kernel of `attend` also computes the logarithms of its sums, and that of a gradient those of queries, keys and
values, whichever of these values is lowered first. Samples are shared out; if there are fewer than workers could take,
the heads are.
"""

from collections.abc import Mapping, Sequence

from netc.compiler.ir.forms import Form
from netc.compiler.ir.types import BATCH, Type, size_of
from netc.compiler.ir.value import Value
from netc.compiler.lowering.buffers import Lowering
from netc.compiler.lowering.forms import lowers
from netc.compiler.operations.attention import attend_gradient, attend_sums
from netc.compiler.program import attention
from netc.compiler.program.kernels import AttentionKernel
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import Buffer, Pointer, StridedView, Task, all_of

_FEW_SAMPLES = 8  # with fewer in a batch, heads are shared out


@lowers(Form.ATTENTION)
def attend(lowering: Lowering, value: Value) -> None:
    """Adds the call that computes a result and the logarithms of its sums."""
    q, k, v, *lengths = value.operands
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
    _add(lowering, value, views, lengths, (value, *([sums] if sums is not None else [])))


@lowers(Form.ATTENTION_SUMS)
def sums(lowering: Lowering, value: Value) -> None:
    """Adds nothing: the call for the result has computed the sums too."""
    assert value in lowering.views, f"{value} without its attention"


@lowers(Form.ATTENTION_GRADIENT)
def gradient(lowering: Lowering, value: Value) -> None:
    """Adds the call that computes all three gradients, unless one of the others has added it."""
    if value in lowering.views:
        return
    g, q, k, v, result, sums, *lengths = value.operands
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
    _add(lowering, value, views, lengths, tuple(siblings.values()))


def _add(
    lowering: Lowering,
    value: Value,
    views: Mapping[str, StridedView],
    lengths: Sequence[Value],
    values: tuple[Value, ...],
) -> None:
    """Adds the call of a kernel for some views of its operands and results, by their names in program/attention.py."""
    is_gradient = value.definition is attend_gradient
    q, k, v = (operand.type for operand in value.operands[is_gradient : is_gradient + 3])
    is_along = views["keys"].strides[-1] == 1 == views["values"].strides[-1]
    has_one_query = q.dims[1] == 1 and not is_gradient and len(lengths) < 2 and is_along
    kernel = AttentionKernel(value.type.dtype, is_gradient, len(lengths), has_one_query)
    by_heads = size_of(BATCH, lowering.sizes) < _FEW_SAMPLES and q.dims[2] != 1
    numbers = {
        "samples": Count(1, BATCH if by_heads else "rows"),
        "heads": Count(1, "rows") if by_heads else Count(int(q.dims[2])),
        "query_count": Count(int(q.dims[1])),
        "key_count": Count(int(k.dims[1])),
        "width": Count(int(q.dims[3])),
        "value_width": Count(int(v.dims[3])),
        "scale": Count(attention.bits_of(value.keywords["scale"])),
        "is_causal": Count(int(value.keywords["causal"])),
        "lengths": Count(len(lengths)),
    }
    views = {**views, **{name: lowering.read(each) for name, each in zip(attention.LENGTHS, lengths, strict=False)}}
    pointers = {}
    for name, view in views.items():
        assert view.buffer is not None
        axes = [axis for axis, _ in attention.axes_of(name)]
        strides = dict(zip(axes, view.strides, strict=True))
        numbers.update({f"{name}_{axis}": Count(stride) for axis, stride in strides.items()})
        pointers[name] = Pointer(view.buffer, view.offset, strides.get("head" if by_heads else "sample", 0))
    sizes = int(k.dims[1]), int(q.dims[3]), int(v.dims[3])
    block, lanes = lowering.machine.attention_block(kernel.dtype), lowering.machine.lanes(kernel.dtype)
    room = (
        attention.room_of_query(lanes, int(q.dims[2]), *sizes)
        if has_one_query
        else attention.room(block, lanes, *sizes, is_gradient)
    )
    for name in attention.LENGTHS[len(lengths) :]:  # the kernel does not use them
        numbers[f"{name}_sample"], pointers[name] = Count(0), pointers["queries"]
    scratch = Buffer(Type(value.type.dtype, (room.end,)), "scratch")
    pointers["scratch"] = Pointer(scratch)
    written = {pointers[name].buffer for name in attention.written(is_gradient)}
    lowering.program.tasks.append(
        Task(
            kernel,
            tuple(pointers[name] for name in attention.pointers(is_gradient)),
            tuple(numbers[name] for name in attention.numbers(is_gradient)),
            frozenset({*written, scratch}),
            int(q.dims[2]) if by_heads else q.dims[0],
            values,
        )
    )
