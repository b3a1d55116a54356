"""The transpose of a strided convolution, computed without zeros between the elements of its operand.

The positions of the result fall into phases, by their remainder modulo the stride. Each phase is a convolution with
every `stride`-th weight, and the result interleaves the phases (Shi et al. 2016, "Is the deconvolution layer the same
as a convolutional layer?"). If there are few channels, one product computes all phases side by side, with some zeros
among its weights, because its columns then fill a vector.
"""

from collections.abc import Sequence

from msgspec import Struct

from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.window import Pads, Pair, image_axes
from netc.compiler.operations.window_product import transposed_weights, window_product

_FEW_COLUMNS = 16  # columns of a product that one vector holds
Span = tuple[int, int]  # start and stop along an axis


class _Phase(Struct, frozen=True):
    """The positions q = stride * h + n along one axis, for one n.

    Position q reads y[h + first] to y[h + first + taps - 1]. The weights are w[tap], w[tap + stride], ... in reverse
    order.
    """

    tap: int
    taps: int
    first: int

    @classmethod
    def of(cls, n: int, kernel: int, stride: int, pad: int) -> "_Phase":
        """Returns phase n. Weight i and element p meet at the position q with q + pad = stride * p + i."""
        last, tap = divmod(n + pad, stride)
        taps = max(-(-(kernel - tap) // stride), 0)
        return cls(tap, taps, last - taps + 1)

    def span(self) -> Span:
        """The elements that position 0 of the phase reads."""
        return self.first, self.first + self.taps


_Both = tuple[_Phase, _Phase]  # along the height and the width


def spread_by_phases(y: Value, w: Value, stride: Pair, pad: Pads, size: Pair, groups: int = 1) -> Value:
    """Spreads y[..., oh, ow, n] by w[kh, kw, c // groups, n] over an image [..., *size, c].

    `pad` (top, bottom, left, right) is the border of the image that is cut off.
    """
    along = [[_Phase.of(n, int(w.type.dims[i]), stride[i], pad[2 * i]) for n in range(stride[i])] for i in (0, 1)]
    phases = [(tall, wide) for tall in along[0] for wide in along[1]]
    spans_of_axes = [[phase.span() for phase in axis_phases if phase.taps] for axis_phases in along]
    reach = [(min(first for first, _ in spans), max(stop for _, stop in spans)) for spans in spans_of_axes]
    counts = [-(-size[n] // stride[n]) for n in (0, 1)]
    seen = _within(y, [(reach[n][0], counts[n] + reach[n][1] - 1) for n in (0, 1)])
    has_all = all(tall.taps and wide.taps for tall, wide in phases)
    if has_all and groups == 1 and int(w.type.dims[2]) * len(phases) <= _FEW_COLUMNS:
        parts = _side_by_side(seen, w, phases, stride, reach)
    else:
        parts = [_alone(seen, w, phase, stride, reach, counts, groups) for phase in phases]
    return _within(apply("interleave", *parts, size=stride), [(0, size[0]), (0, size[1])])


def _side_by_side(seen: Value, w: Value, phases: Sequence[_Both], stride: Pair, reach: Sequence[Span]) -> list[Value]:
    """Computes all phases by one product over the window that they read together.

    The weights of a phase are padded with zeros to that window. Returns the phases, in order.
    """
    padded = []
    for phase in phases:
        before = tuple(phase[n].first - reach[n][0] for n in (0, 1))
        after = tuple(reach[n][1] - phase[n].span()[1] for n in (0, 1))
        weights = apply("transpose", _weights(w, phase, stride), order=(0, 1, 3, 2))
        padded.append(apply("pad", weights, axes=(0, 1), before=before, after=after, step=(1, 1)))
    product = window_product(seen, apply("concat", *padded, axis=3))
    channels, last = int(w.type.dims[2]), product.type.rank - 1
    return [apply("slice", product, axis=last, start=n * channels, stop=(n + 1) * channels) for n in range(len(phases))]


def _alone(
    seen: Value,
    w: Value,
    phase: _Both,
    stride: Pair,
    reach: Sequence[Span],
    counts: Sequence[int],
    groups: int,
) -> Value:
    """Computes one phase by a convolution of the elements that it reads."""
    if not phase[0].taps or not phase[1].taps:  # with a stride wider than the kernel, nothing is spread to this phase
        dims = (*seen.type.dims[:-3], *counts, int(w.type.dims[2]) * groups)
        return apply("broadcast", seen.graph.constant(0.0, seen.type), dims=dims)
    spans = []
    for n, along_axis in enumerate(phase):
        start = along_axis.first - reach[n][0]
        spans.append((start, start + counts[n] + along_axis.taps - 1))
    weights = transposed_weights(_weights(w, phase, stride), groups)
    return window_product(_within(seen, spans), weights, groups=groups)


def _weights(w: Value, phase: _Both, stride: Pair) -> Value:
    """The weights of a phase in reverse order: [taps along h, taps along w, c // groups, n]."""
    for axis, along_axis in enumerate(phase):
        stop = along_axis.tap + (along_axis.taps - 1) * stride[axis] + 1
        w = apply("slice", w, axis=axis, start=along_axis.tap, stop=stop, step=stride[axis])
        w = apply("reverse", w, over=(axis,))
    return w


def _within(x: Value, spans: Sequence[Span]) -> Value:
    """The elements of an image within a span along height and width, with zeros beyond the image."""
    axes = image_axes(x.type)
    sizes = [int(x.type.dims[axis]) for axis in axes]
    before, after = [max(-start, 0) for start, _ in spans], [max(spans[n][1] - sizes[n], 0) for n in (0, 1)]
    if any(before) or any(after):
        x = apply("pad", x, axes=axes, before=tuple(before), after=tuple(after), step=(1, 1))
    for n, axis in enumerate(axes):
        start, stop = spans[n][0] + before[n], spans[n][1] + before[n]
        if start or stop != x.type.dims[axis]:
            x = apply("slice", x, axis=axis, start=start, stop=stop)
    return x
