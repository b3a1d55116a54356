"""Products of the windows of an image with weights, which convolutions and their adjoints are built of.

Channels may be split into groups, and each group of outputs is computed from one group of channels.
"""

from netc.compiler.ir.types import fixed_size
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.window import Pair, windows_of


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


def window_product(x: Value, w: Value, stride: Pair = (1, 1), dilation: Pair = (1, 1), groups: int = 1) -> Value:
    """The sums over each window of x[..., h, w, c] times w[kh, kw, c // groups, n]: [..., oh, ow, n]."""
    kh, kw, _, outputs = map(int, w.type.dims)
    seen, lead = windows_of(x, (kh, kw), stride, dilation), lead_of(x)
    if groups == 1:
        return apply("einsum", seen, w, subscripts=f"{lead}hiwjc,ijco->{lead}hwo")
    if is_depthwise(w, groups):
        weights = apply("reshape", w, dims=(kh, kw, outputs))
        return apply("einsum", seen, weights, subscripts=f"{lead}hiwjc,ijc->{lead}hwc")
    subscripts = f"{lead}hiwjgc,ijcgo->{lead}hwgo"
    product = apply("einsum", in_groups(seen, groups), in_groups(w, groups), subscripts=subscripts)
    return apply("reshape", product, dims=(*product.type.dims[:-2], outputs))


def window_weights(x: Value, y: Value, kernel: Pair, stride: Pair, dilation: Pair, groups: int) -> Value:
    """The sums over all positions of windows of x[..., h, w, c] times y[..., oh, ow, n]: [kh, kw, c // groups, n]."""
    depth, outputs, lead = fixed_size(x.type.dims[-1]) // groups, fixed_size(y.type.dims[-1]), lead_of(x)
    seen = windows_of(x, kernel, stride, dilation)
    if groups == 1:
        return apply("einsum", seen, y, subscripts=f"{lead}hiwjc,{lead}hwo->ijco")
    if depth == 1 and groups == outputs:
        product = apply("einsum", seen, y, subscripts=f"{lead}hiwjc,{lead}hwc->ijc")
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
