"""The operations and library layers of the language in PyTorch, on the tensors of one sample.

A function takes the sample's tensors and plain numbers. `LAYERS` take their parameters first, in the order in which the
library declares them, and return the shapes of these.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

Tensor = torch.Tensor
Pair = tuple[int, int]


def axes(over: Any, x: Tensor) -> tuple[int, ...]:
    """`over` as PyTorch's `dim`: all axes if it is absent."""
    if over is None:
        return tuple(range(x.ndim))
    return over if isinstance(over, tuple) else (over,)


def reduction(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, over=None: function(x, dim=axes(over, x)) if x.ndim else function(x.reshape(1), dim=(0,))


def pair(number: Any) -> Pair:
    return number if isinstance(number, tuple) else (number, number)


def around(pad: Any, sizes: tuple[int, int], kernel: Pair, stride: Pair, dilation: Pair) -> tuple[int, int, int, int]:
    """The padding as (left, right, top, bottom), the order of F.pad."""
    if pad == "valid":
        return 0, 0, 0, 0
    if pad == "same":
        sides: list[int] = []
        for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
            total = max(0, (math.ceil(size / s) - 1) * s + d * (k - 1) + 1 - size)
            sides = [total // 2, total - total // 2, *sides]
        return sides[0], sides[1], sides[2], sides[3]
    top, bottom, left, right = pad if isinstance(pad, tuple) else (pad,) * 4
    return left, right, top, bottom


def conv2d(x: Tensor, w: Tensor, stride: Any = 1, dilation: Any = 1, pad: Any = "valid", groups: int = 1) -> Tensor:
    """The convolution of x[h, w, c] with w[kh, kw, c / groups, n]."""
    kernel = (w.shape[0], w.shape[1])
    padded = F.pad(x.permute(2, 0, 1), around(pad, x.shape[:2], kernel, pair(stride), pair(dilation)))
    out = F.conv2d(padded[None], w.permute(3, 2, 0, 1), stride=pair(stride), dilation=pair(dilation), groups=groups)
    return out[0].permute(1, 2, 0)


def conv1d(x: Tensor, w: Tensor, stride: int = 1, dilation: int = 1, pad: Any = "valid", groups: int = 1) -> Tensor:
    borders = (pad, pad, 0, 0) if isinstance(pad, int) else pad
    return conv2d(x[:, None], w[:, None], (stride, 1), (dilation, 1), borders, groups)[:, 0]


def depthwise_conv2d(x: Tensor, w: Tensor, stride: Any = 1, dilation: Any = 1, pad: Any = "valid") -> Tensor:
    kh, kw, c, m = w.shape
    return conv2d(x, w.reshape(kh, kw, 1, c * m), stride, dilation, pad, groups=c)


def conv_transpose2d(x: Tensor, w: Tensor, stride: Any = 2, pad: Any = "same") -> Tensor:
    """The adjoint of the convolution of an image `stride` times as large."""
    h, width, _ = x.shape
    sizes = (h * pair(stride)[0], width * pair(stride)[1])
    image = torch.zeros(*sizes, w.shape[3], dtype=x.dtype, requires_grad=True)
    out = conv2d(image, w.transpose(2, 3), stride, 1, pad)
    (result,) = torch.autograd.grad(out, image, x, create_graph=True)
    return result


def conv_transpose1d(x: Tensor, w: Tensor, stride: int = 2, pad: Any = "same") -> Tensor:
    return conv_transpose2d(x[:, None], w[:, None], (stride, 1), pad)[:, 0]


def _windows(x: Tensor, size: Any, stride: Any, pad: Any, empty: float) -> Tensor:
    """x[h, w, c] -> [oh, ow, c, kh, kw], with the number `empty` outside of the image."""
    kernel, steps = pair(size), pair(size if stride is None else stride)
    padded = F.pad(x.permute(2, 0, 1), around(pad, x.shape[:2], kernel, steps, (1, 1)), value=empty)
    return padded.unfold(1, kernel[0], steps[0]).unfold(2, kernel[1], steps[1]).permute(1, 2, 0, 3, 4)


def _as_image(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Makes a pool of images accept sequences too."""

    def run(x: Tensor, size: Any = 2, stride: Any = None, pad: Any = "valid") -> Tensor:
        if x.ndim == 3:
            return pool(x, size, stride, pad)
        steps = size if stride is None else stride
        return pool(x[:, None], (size, 1), (steps, 1), pad)[:, 0]

    return run


@_as_image
def maxpool(x: Tensor, size: Any, stride: Any, pad: Any) -> Tensor:
    return _windows(x, size, stride, pad, -math.inf).amax((-2, -1))


@_as_image
def avgpool(x: Tensor, size: Any, stride: Any, pad: Any) -> Tensor:
    sums, counts = (_windows(image, size, stride, pad, 0).sum((-2, -1)) for image in (x, torch.ones_like(x)))
    return sums / counts


def upsample(x: Tensor, size: Any = 2) -> Tensor:
    if x.ndim == 2:
        return x.repeat_interleave(size, 0)
    return x.repeat_interleave(pair(size)[0], 0).repeat_interleave(pair(size)[1], 1)


def pad(x: Tensor, by: Any) -> Tensor:
    top, bottom, left, right = by if isinstance(by, tuple) else (by,) * 4
    return F.pad(x, (0, 0, left, right, top, bottom))


def shift(x: Tensor, first: Any = 0) -> Tensor:
    begin = torch.as_tensor(first, dtype=x.dtype).broadcast_to(x[:1].shape)
    return torch.cat([begin, x[:-1]])


def one_hot(x: Tensor, n: int) -> Tensor:
    return F.one_hot(x.long(), n).double()


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int = 1, causal: bool = False) -> Tensor:
    is_vector = q.ndim == 1
    q = q[None] if is_vector else q
    split = [array.reshape(array.shape[0], heads, -1).transpose(0, 1) for array in (q, k, v)]
    mask = torch.ones(q.shape[0], k.shape[0], dtype=torch.bool).tril() if causal else None
    with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
        out = F.scaled_dot_product_attention(*split, attn_mask=mask).transpose(0, 1).reshape(q.shape[0], -1)
    return out[0] if is_vector else out


def self_attention(
    x: Tensor, w: Tensor, b: Tensor, w_out: Tensor, b_out: Tensor, heads: int = 1, causal: bool = False
) -> Tensor:
    q, k, v = (x @ w + b).chunk(3, -1)
    return attention(q, k, v, heads, causal) @ w_out + b_out


def recurrent(kind: type[torch.nn.Module], is_lstm: bool = False) -> Callable[..., Any]:
    """PyTorch's layer with parameters in the language's layout. For an LSTM, also the cells of every step."""

    def run(
        x: Tensor,
        w: Tensor,
        u: Tensor,
        b: Tensor,
        c: Tensor | None = None,
        h0: Tensor | None = None,
        c0: Tensor | None = None,
        forget: float = 1,
    ) -> Any:
        module = kind(x.shape[1], u.shape[0]).double()
        biases = {"bias_ih_l0": b, "bias_hh_l0": torch.zeros_like(b) if c is None else c}
        named = {"weight_ih_l0": w.T, "weight_hh_l0": u.T, **biases}
        h, cell = (torch.zeros(1, u.shape[0], dtype=x.dtype) if start is None else start[None] for start in (h0, c0))
        if not is_lstm:
            return torch.func.functional_call(module, named, (x, h))[0]
        hs, cells = [], []
        for n in range(len(x)):
            _, (h, cell) = torch.func.functional_call(module, named, (x[n : n + 1], (h, cell)))
            hs.append(h[0])
            cells.append(cell[0])
        return torch.stack(hs), torch.stack(cells)

    return run


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(torch, name)
        for name in (
            "tanh",
            "sigmoid",
            "erf",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "atan2",
            "sinh",
            "cosh",
            "abs",
            "square",
            "exp",
            "expm1",
            "log",
            "log1p",
            "sqrt",
            "rsqrt",
            "floor",
            "round",
            "sign",
            "maximum",
            "minimum",
            "cumsum",
        )
    },
    **{name: getattr(F, name) for name in ("relu", "elu", "gelu", "silu", "softplus", "leaky_relu")},
    "normal_cdf": torch.special.ndtr,
    "clip": lambda x, low, high: torch.clamp(x, low, high),
    "where": lambda c, x, y: torch.where(c, *(torch.as_tensor(branch, dtype=torch.float64) for branch in (x, y))),
    "stop_gradient": lambda x: x.detach(),
    "neg": torch.neg,
    "add": torch.add,
    "subtract": torch.subtract,
    "multiply": torch.multiply,
    "divide": torch.divide,
    "power": torch.pow,
    "floor_divide": lambda a, b: torch.floor(a / b),
    "remainder": lambda a, b: a - torch.floor(a / b) * b,
    "sum": reduction(torch.sum),
    "mean": reduction(torch.mean),
    "max": reduction(torch.amax),
    "min": reduction(torch.amin),
    "variance": reduction(lambda x, dim: torch.var(x, dim=dim, correction=0)),
    "norm": reduction(torch.linalg.vector_norm),
    "logsumexp": lambda x, over=-1: torch.logsumexp(x, over),
    "softmax": lambda x, over=-1: torch.softmax(x, over),
    "log_softmax": lambda x, over=-1: torch.log_softmax(x, over),
    "cumsum": lambda x, over=-1: torch.cumsum(x, over),
    "reverse": lambda x, over=0: torch.flip(x, (over,)),
    "argmax": lambda x, over=-1: torch.argmax(x, over),
    "matmul": torch.matmul,
    "outer": torch.outer,
    "reshape": lambda x, *dims: x.reshape(dims),
    "broadcast": lambda x, *dims: x.broadcast_to(dims),
    "flatten": lambda x: x.reshape(-1),
    "squeeze": lambda x: x.squeeze(),
    "unsqueeze": lambda x, axis=-1: x.unsqueeze(axis),
    "transpose": lambda x, *order: x.permute(order) if order else x.transpose(-1, -2),
    "concat": lambda *xs, over=-1: torch.cat(xs, over),
    "stack": lambda *xs: torch.stack(xs),
    "split": lambda x, parts, over=-1: tuple(torch.chunk(x, parts, over)),
    "gather": lambda table, index: table[index.long()],
    "last": lambda x: x[-1],
    "shift": shift,
    "one_hot": one_hot,
    "pad": pad,
    "upsample": upsample,
    "maxpool": maxpool,
    "avgpool": avgpool,
    "conv2d": conv2d,
    "conv1d": conv1d,
    "depthwise_conv2d": depthwise_conv2d,
    "conv_transpose1d": conv_transpose1d,
    "conv_transpose2d": conv_transpose2d,
    "attention": attention,
    "global_avgpool": lambda x: x.mean(tuple(range(x.ndim - 1))),
    # losses of one sample
    "binary_cross_entropy": lambda a, b: F.softplus(a) - b * a,
    "cosine_distance": lambda a, b: 1 - F.cosine_similarity(a, b, dim=-1),
    "cross_entropy": lambda a, b: F.cross_entropy(
        a.reshape(-1, a.shape[-1]), b.reshape(-1).long(), reduction="none"
    ).reshape(b.shape),
    "nll": lambda a, b: F.nll_loss(a.reshape(-1, a.shape[-1]), b.reshape(-1).long(), reduction="none").reshape(b.shape),
}

# Losses and metrics by element: the mean is over all dimensions of a sample except a varying one.
OVER_FIXED: dict[str, Callable[..., Tensor]] = {
    "mse": lambda a, b: F.mse_loss(a, b, reduction="none"),
    "huber": lambda a, b: F.huber_loss(a, b, reduction="none"),
    "mae": lambda a, b: F.l1_loss(a, b, reduction="none"),
}


def group_norm(x: Tensor, scale: Tensor, shift: Tensor, groups: int) -> Tensor:
    """The channels of a sample are its last axis; PyTorch has them behind the batch."""
    return F.group_norm(x.movedim(-1, 0)[None], groups, scale, shift, 1e-5)[0].movedim(0, -1)


# Layers by name: the function, and the number of parameters, which follow its first argument.
LAYERS: dict[str, tuple[Callable[..., Any], int]] = {
    "dense": (lambda x, w, b, units=0: F.linear(x, w.T, b), 2),
    "layernorm": (lambda x, scale, shift: F.layer_norm(x, x.shape[-1:], scale, shift, 1e-5), 2),
    "groupnorm": (group_norm, 2),
    "embed": (lambda x, table, n=0: F.embedding(x.long(), table), 1),
    "self_attention": (self_attention, 4),
    "rnn": (recurrent(torch.nn.RNN), 3),
    "gru": (recurrent(torch.nn.GRU), 4),
    "lstm": (recurrent(torch.nn.LSTM, is_lstm=True), 3),
}
