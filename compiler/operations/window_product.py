"""Products of the windows of an image with weights, which convolutions and their adjoints are built of.

Channels may be split into groups, and each group of outputs is computed from one group of channels. Where a group has
too few outputs to fill a vector of the register tile, vectors run along the outputs of all groups: the inputs of each
output's group are laid out beside each other first.
"""

from netc.compiler.ir.types import fixed_size
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.window import Pair, windows_of

_NARROW = 4  # outputs of a group; on Zen 4 register tiles win from 6 on, and are half as fast at 2


def lead_of(x: Value) -> str:
    """The subscript of the batch, or an empty text without a batch."""
    return "b" if x.type.is_batched else ""


def in_groups(x: Value, groups: int) -> Value:
    """Splits the last axis into [groups, size // groups]."""
    size = fixed_size(x.type.dims[-1])
    return apply("reshape", x, dims=(*x.type.dims[:-1], groups, size // groups))


def is_depthwise(w: Value, groups: int) -> bool:
    """Whether weights [kh, kw, 1, n] have one group, with one input and one output, for each channel."""
    return groups > 1 and w.type.dims[2] == 1 and groups == w.type.dims[3]


def is_narrow(groups: int, outputs: int) -> bool:
    """Whether vectors run along the outputs of all groups."""
    return groups > 1 and outputs // groups <= _NARROW


def beside_outputs(x: Value, groups: int, outputs: int) -> Value:
    """x[..., c] as [..., d * n]: for input i of a group and output o, element [i, o] is input i of the group of o."""
    if groups == outputs == x.type.dims[-1]:
        return x
    x, rank = in_groups(x, groups), x.type.rank
    x = apply("transpose", x, order=(*range(rank - 1), rank, rank - 1))
    lead, each = x.type.dims, outputs // groups
    x = apply("broadcast", apply("reshape", x, dims=(*lead, 1)), dims=(*lead, each))
    return apply("reshape", apply("copied", x), dims=(*lead[:-2], fixed_size(lead[-2]) * outputs))


def window_product(x: Value, w: Value, stride: Pair = (1, 1), dilation: Pair = (1, 1), groups: int = 1) -> Value:
    """The sums over each window of x[..., h, w, c] times w[kh, kw, c // groups, n]: [..., oh, ow, n]."""
    kh, kw, _, outputs = map(int, w.type.dims)
    if is_narrow(groups, outputs):
        return _narrow_product(x, w, stride, dilation, groups)
    seen, lead = windows_of(x, (kh, kw), stride, dilation), lead_of(x)
    if groups == 1:
        return apply("einsum", seen, w, subscripts=f"{lead}hiwjc,ijco->{lead}hwo")
    subscripts = f"{lead}hiwjgc,ijcgo->{lead}hwgo"
    product = apply("einsum", in_groups(seen, groups), in_groups(w, groups), subscripts=subscripts)
    return apply("reshape", product, dims=(*product.type.dims[:-2], outputs))


def _narrow_product(x: Value, w: Value, stride: Pair, dilation: Pair, groups: int) -> Value:
    """The same where vectors run along the outputs of all groups."""
    kh, kw, depth, outputs = map(int, w.type.dims)
    lead, channels = lead_of(x), "c" if depth == 1 else "dc"
    weights = apply("reshape", w, dims=(kh, kw, outputs)) if depth == 1 else w
    seen = windows_of(beside_outputs(x, groups, outputs), (kh, kw), stride, dilation)
    if depth > 1:
        seen = in_groups(seen, depth)
    return apply("einsum", seen, weights, subscripts=f"{lead}hiwj{channels},ij{channels}->{lead}hwc")


def window_weights(x: Value, y: Value, kernel: Pair, stride: Pair, dilation: Pair, groups: int) -> Value:
    """The sums over all positions of windows of x[..., h, w, c] times y[..., oh, ow, n]: [kh, kw, c // groups, n]."""
    depth, outputs, lead = fixed_size(x.type.dims[-1]) // groups, fixed_size(y.type.dims[-1]), lead_of(x)
    is_along_outputs = is_narrow(groups, outputs)
    seen = windows_of(beside_outputs(x, groups, outputs) if is_along_outputs else x, kernel, stride, dilation)
    if groups == 1:
        return apply("einsum", seen, y, subscripts=f"{lead}hiwjc,{lead}hwo->ijco")
    if is_along_outputs and depth == 1:
        product = apply("einsum", seen, y, subscripts=f"{lead}hiwjc,{lead}hwc->ijc")
    elif is_along_outputs:
        return apply("einsum", in_groups(seen, depth), y, subscripts=f"{lead}hiwjdc,{lead}hwc->ijdc")
    else:
        seen, y = in_groups(seen, groups), in_groups(y, groups)
        product = apply("einsum", seen, y, subscripts=f"{lead}hiwjgc,{lead}hwgo->ijcgo")
    return apply("reshape", product, dims=(*kernel, depth, outputs))


def transposed_weights(w: Value, groups: int = 1) -> Value:
    """Weights [kh, kw, c // groups, n] as [kh, kw, n // groups, c]: inputs and outputs of each group change places.

    They are copied, because the register tile needs contiguous columns; the loop of a depthwise product does not.
    """
    if is_depthwise(w, groups):
        return w
    if groups == 1:
        return apply("copied", apply("transpose", w, order=(0, 1, 3, 2)))
    kh, kw, depth, outputs = map(int, w.type.dims)
    turned = apply("copied", apply("transpose", in_groups(w, groups), order=(0, 1, 4, 3, 2)))
    return apply("reshape", turned, dims=(kh, kw, outputs // groups, groups * depth))
