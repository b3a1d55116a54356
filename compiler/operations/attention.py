"""Attention as one operation, and its gradient: softmax(scale * queries . keys) times values, in each head.

    attend(q, k, v)     q[batch, t, h, d], k[batch, s, h, d], v[batch, s, h, m] -> [batch, t, h, m]
    attend_sums         the logarithm of each query's sum of exponentials, [batch, h, t]: the gradient needs no more
    attend_gradient     the gradient of the queries, the keys or the values; it computes the scores again

The pass `passes/attend.py` makes `attend` of a softmax between two products. Then no value has an element for each
query and key. `lengths` are how many keys, and behind that how many queries, each sample has of the most that are
stored; beyond its own queries the result repeats the last one, and its gradient there counts as zero.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Form
from netc.compiler.ir.types import Mismatch, Sizes, Type, size_of
from netc.compiler.ir.value import Operation, SpecialForm, Value, apply, register

Array = np.ndarray[Any, Any]
Of = Literal["queries", "keys", "values"]


@dataclass(frozen=True, slots=True)
class Attending(Attributes):
    """The factor of the scores, and whether a query sees only the keys up to its own number."""

    scale: float
    causal: bool


@dataclass(frozen=True, slots=True)
class AttendingGradient(Attributes):
    """The attributes of `Attending`, and which operand's gradient it is: queries, keys or values."""

    scale: float
    causal: bool
    of: str


def _attend_type(q: Type, k: Type, v: Type, *lengths: Type, scale: float, causal: bool) -> Type:
    if any(type_.rank != 4 or not type_.is_float for type_ in (q, k, v)):
        raise Mismatch("attention takes queries, keys and values of [batch, steps, heads, width]")
    if q.dims[2:] != k.dims[2:] or k.dims[:3] != v.dims[:3] or len({type_.dims[0] for type_ in (q, k, v)}) != 1:
        raise Mismatch(f"attention of queries {q}, keys {k} and values {v}")
    if any(str(length) != f"i32[{q.dims[0]}]" for length in lengths):
        raise Mismatch("lengths are one number for each sample")
    return v.with_dims((*q.dims[:3], v.dims[3]))


def _einsum(subscripts: str, x: Array, y: Array) -> Array:
    product: Array = np.einsum(subscripts, x, y, optimize=True)
    return product


def _weights(q: Array, k: Array, lengths: tuple[Array, ...], scale: float, causal: bool) -> tuple[Array, Array]:
    """The weights [batch, h, t, s], and the logarithm of each query's sum of exponentials."""
    scores = _einsum("bthd,bshd->bhts", q, k) * q.dtype.type(scale)
    t, s = scores.shape[2:]
    if causal:
        scores = np.where(np.arange(s) > np.arange(t)[:, None], -np.inf, scores)
    if lengths:
        scores = np.where(np.arange(s) >= lengths[0][:, None, None, None], -np.inf, scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        most = scores.max(-1, keepdims=True, initial=-np.inf)
        powers = np.exp(scores - np.where(np.isneginf(most), 0, most))
        total = powers.sum(-1, keepdims=True)
        sums = (most + np.log(total))[..., 0]
        weights = powers / np.where(total == 0, 1, total)
    return weights.astype(q.dtype), sums.astype(q.dtype)


def _repeated(x: Array, lengths: tuple[Array, ...], axis: int) -> Array:
    """Rows beyond a sample's own queries become its last one; zeros if it has none."""
    if len(lengths) < 2 or not x.shape[axis]:
        return x
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    at, ends = np.arange(x.shape[axis]).reshape(shape), lengths[1].reshape(-1, *[1] * (x.ndim - 1))
    last = np.take_along_axis(x, np.maximum(np.minimum(at, ends - 1), 0) + np.zeros_like(x, np.int64), axis)
    return np.where(ends > 0, last, x.dtype.type(0))


def _attended(q: Array, k: Array, v: Array, *lengths: Array, scale: float, causal: bool) -> Array:
    weights, _ = _weights(q, k, lengths, scale, causal)
    return _repeated(_einsum("bhts,bshm->bthm", weights, v), lengths, 1)


def _sums(result: Array, q: Array, k: Array, *lengths: Array, scale: float, causal: bool) -> Array:
    return _repeated(_weights(q, k, lengths, scale, causal)[1], lengths, 2)


def _gradient_of(  # noqa: PLR0913  operands and attributes, as every reference takes them
    g: Array, q: Array, k: Array, v: Array, result: Array, *more: Array, scale: float, causal: bool, of: Of
) -> Array:
    """The gradient of one operand. `more` are the sums, which only the kernel needs, and lengths."""
    lengths = more[1:]
    weights, _ = _weights(q, k, lengths, scale, causal)
    if len(lengths) > 1:
        g = np.where(np.arange(g.shape[1])[:, None, None] < lengths[1][:, None, None, None], g, g.dtype.type(0))
    if of == "values":
        return _einsum("bhts,bthm->bshm", weights, g)
    slopes = _einsum("bthm,bshm->bhts", g, v)
    of_scores = weights * (slopes - _einsum("bthm,bthm->bht", g, result)[..., None]) * q.dtype.type(scale)
    return _einsum("bhts,bshd->bthd", of_scores, k) if of == "queries" else _einsum("bhts,bthd->bshd", of_scores, q)


def _gradients(
    g: Value, result: Value, q: Value, k: Value, v: Value, *lengths: Value, scale: float, causal: bool
) -> tuple[Value | None, ...]:
    sums = apply("attend_sums", result, q, k, *lengths, scale=scale, causal=causal)
    operands = (g, q, k, v, result, sums, *lengths)
    kinds: tuple[Of, ...] = ("queries", "keys", "values")
    parts = (apply("attend_gradient", *operands, scale=scale, causal=causal, of=of) for of in kinds)
    return (*parts, *(None for _ in lengths))


def _no_second_gradient(*_: Value, **__: Any) -> Any:
    raise AssertionError("derivatives that a model uses are written out before attention becomes one operation")


attend = register(
    Operation(
        "attend",
        "Attention: softmax(scale * queries . keys) times values, in each head.",
        attributes=Attending,
        type=_attend_type,
        reference=_attended,
        lower=SpecialForm(Form.ATTENTION),
        gradient=_gradients,
        is_callable=False,
    )
)
attend_sums = register(
    Operation(
        "attend_sums",
        "The logarithm of the sum of exponentials of each query's scores; the kernel of `attend` computes it beside.",
        attributes=Attending,
        type=lambda result, q, k, *lengths, scale, causal: q.with_dims((q.dims[0], q.dims[2], q.dims[1])),
        reference=_sums,
        lower=SpecialForm(Form.ATTENTION_SUMS),
        is_callable=False,
    )
)
attend_gradient = register(
    Operation(
        "attend_gradient",
        "The gradient of the queries, the keys or the values of `attend`; one kernel computes all three.",
        attributes=AttendingGradient,
        type=lambda g, q, k, v, *_, scale, causal, of: {"queries": q, "keys": k, "values": v}[of],
        reference=_gradient_of,
        lower=SpecialForm(Form.ATTENTION_GRADIENT),
        gradient=_no_second_gradient,
        is_callable=False,
    )
)


def attention_flops(value: Value, sizes: Sizes) -> int:
    """FLOPs of `attend` or `attend_gradient`: two products forward, five backward; half of them if causal.

    The kernel that computes all three gradients counts for that of the queries.
    """
    at = 0 if value.definition is attend else 1
    if at and value.attributes_as(AttendingGradient).of != "queries":
        return 0
    q, k, v = (operand.type for operand in value.operands[at : at + 3])
    pairs = math.prod(size_of(dim, sizes) for dim in (*q.dims[:3], k.dims[1]))
    width, value_width = size_of(q.dims[3], sizes), size_of(v.dims[3], sizes)
    products = 3 * width + 2 * value_width if at else width + value_width
    is_causal = value.keywords["causal"]
    return 2 * pairs * products // (2 if is_causal else 1)


__all__ = ["Attending", "AttendingGradient", "attend", "attend_gradient", "attend_sums", "attention_flops"]
