"""The transpose of a convolution with a stride, without what a stride leaves out: no zeros are put between the elements and multiplied.

The places of the result fall into phases, by their remainder to the stride. Each phase is a convolution of its own, with the weights of that phase, and the
image interleaves them (Shi et al. 2016, "Is the deconvolution layer the same as a convolutional layer?"). Where channels are few, one product has all phases
side by side, with zeros among its weights: then its columns fill a vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.window import Pads, Pair, image_axes, windows_of

_FEW_COLUMNS = 16  # of a product: what fills one vector
Span = tuple[int, int]  # along an axis: from where, up to where


@dataclass(frozen=True, slots=True)
class _Phase:
    """Along one axis, of the places q = stride * h + n: they are read from y[h + first] to y[h + first + taps - 1], by the weights `tap`, `tap` + stride, ...
    from the last to the first."""

    tap: int
    taps: int
    first: int

    @classmethod
    def of(cls, n: int, kernel: int, stride: int, pad: int) -> "_Phase":
        """q + pad = stride * p + i for the weight i and the element p: i runs over one class of numbers, modulo the stride."""
        last, tap = divmod(n + pad, stride)
        taps = max(-(-(kernel - tap) // stride), 0)
        return cls(tap, taps, last - taps + 1)

    def span(self) -> Span:
        return self.first, self.first + self.taps


_Both = tuple[_Phase, _Phase]  # along the height and the width


def spread_by_phases(y: Value, w: Value, stride: Pair, pad: Pads, size: Pair) -> Value:
    """y[..., oh, ow, n] spread by w[kh, kw, c, n] over an image [..., *size, c], of which `pad` (top, bottom, left, right) is cut off."""
    along = [[_Phase.of(n, int(w.type.dims[i]), stride[i], pad[2 * i]) for n in range(stride[i])] for i in (0, 1)]
    phases = [(tall, wide) for tall in along[0] for wide in along[1]]
    read = [[one.span() for one in those if one.taps] for those in along]
    reach = [(min(first for first, _ in spans), max(stop for _, stop in spans)) for spans in read]
    counts = [-(-size[n] // stride[n]) for n in (0, 1)]
    seen = _within(y, [(reach[n][0], counts[n] + reach[n][1] - 1) for n in (0, 1)])
    has_all = all(tall.taps and wide.taps for tall, wide in phases)
    if has_all and int(w.type.dims[2]) * len(phases) <= _FEW_COLUMNS:
        parts = _side_by_side(seen, w, phases, stride, reach)
    else:
        parts = [_alone(seen, w, one, stride, reach, counts) for one in phases]
    return _within(apply("interleave", *parts, size=stride), [(0, size[0]), (0, size[1])])


def _side_by_side(seen: Value, w: Value, phases: Sequence[_Both], stride: Pair, reach: Sequence[Span]) -> list[Value]:
    """One product of the window that all phases read; a phase has zeros where it has no weight."""
    padded = []
    for one in phases:
        before = tuple(one[n].first - reach[n][0] for n in (0, 1))
        after = tuple(reach[n][1] - one[n].span()[1] for n in (0, 1))
        padded.append(apply("pad", _weights(w, one, stride), axes=(0, 1), before=before, after=after, step=(1, 1)))
    whole = _product(seen, apply("concat", *padded, axis=3), (reach[0][1] - reach[0][0], reach[1][1] - reach[1][0]))
    channels, last = int(w.type.dims[2]), whole.type.rank - 1
    return [apply("slice", whole, axis=last, start=n * channels, stop=(n + 1) * channels) for n in range(len(phases))]


def _alone(seen: Value, w: Value, phase: _Both, stride: Pair, reach: Sequence[Span], counts: Sequence[int]) -> Value:
    """A phase as a convolution of what it reads."""
    if not phase[0].taps or not phase[1].taps:  # a stride wider than the kernel: nothing is spread to there
        dims = (*seen.type.dims[:-3], *counts, int(w.type.dims[2]))
        return apply("broadcast", seen.graph.constant(0.0, seen.type), dims=dims)
    spans = []
    for n, one in enumerate(phase):
        start = one.first - reach[n][0]
        spans.append((start, start + counts[n] + one.taps - 1))
    own = apply("copied", _weights(w, phase, stride))
    return _product(_within(seen, spans), own, (phase[0].taps, phase[1].taps))


def _weights(w: Value, phase: _Both, stride: Pair) -> Value:
    """Those of a phase, turned round, as a convolution takes them."""
    for axis, one in enumerate(phase):
        stop = one.tap + (one.taps - 1) * stride[axis] + 1
        w = apply("slice", w, axis=axis, start=one.tap, stop=stop, step=stride[axis])
        w = apply("reverse", w, over=(axis,))
    return apply("transpose", w, order=(0, 1, 3, 2))


def _product(x: Value, w: Value, kernel: Pair) -> Value:
    batch = "b" if x.type.is_batched else ""
    return apply("einsum", windows_of(x, kernel, (1, 1), (1, 1)), w, subscripts=f"{batch}hiwjo,ijoc->{batch}hwc")


def _within(x: Value, spans: Sequence[Span]) -> Value:
    """An image's elements within a span along each of its axes, zeros where there are none."""
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
