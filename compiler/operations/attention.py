"""Attention as one operation, and its gradient: softmax(scale * queries . keys) times values, in each head.

    attend(q, k, v)     q[batch, t, h, d], k[batch, s, h, d], v[batch, s, h, m] -> [batch, t, h, m]
    attend_sums         the logarithm of each query's sum of exponentials, [batch, h, t]: the gradient needs no more
    attend_gradient     the gradient of the queries, the keys or the values; it computes the scores again

The pass `passes/attend.py` makes `attend` of a softmax between two products. Then no value has an element for each
query and key. Behind the operands come tables: how many keys, and behind that how many queries, each sample has of the
most that are stored. Beyond its own queries the result repeats the last one, and its gradient there counts as zero.

Queries, or keys with their values, or both may be packed (passes/pack.py): q[time, h, d] has a row for each step of
each sample, and so have the result [time, h, m] and its sums [time, h]. Then there are both lengths, and two tables
more for each packed side: where a sample's steps begin in the second table, and the rows of all samples' steps.
"""

import math
from typing import Any, Literal

import numpy as np

from netc.compiler.ir.attributes import Attributes
from netc.compiler.ir.forms import Form, SpecialForm
from netc.compiler.ir.types import BATCH, Mismatch, Sizes, Type, size_of
from netc.compiler.ir.value import Operation, Value, apply, register

Array = np.ndarray[Any, Any]
LENGTHS = ("key_lengths", "query_lengths")
Of = Literal["queries", "keys", "values"]


_PACKED_RANK, _HELD_RANK = 3, 4


class Attending(Attributes, frozen=True):
    """The factor of the scores, and whether a query sees only the keys up to its own number."""

    scale: float
    causal: bool


class AttendingGradient(Attributes, frozen=True):
    """The attributes of `Attending`, and which operand's gradient it is: queries, keys or values."""

    scale: float
    causal: bool
    of: str


def table_names(packs_keys: bool, packs_queries: bool, count: int) -> tuple[str, ...]:
    """Returns the names of the tables behind the operands, of which there are `count`, in their order."""
    keys = ("key_starts", "key_rows") if packs_keys else ()
    queries = ("query_starts", "query_rows") if packs_queries else ()
    return (*LENGTHS, *keys, *queries) if keys or queries else LENGTHS[:count]


def is_packed(type_: Type) -> bool:
    """Whether queries, or keys and values, of a type have a row for each step of each sample."""
    return type_.rank == _PACKED_RANK


def _attend_type(q: Type, k: Type, v: Type, *tables: Type, scale: float, causal: bool) -> Type:
    if any(type_.rank not in (_PACKED_RANK, _HELD_RANK) or not type_.is_float for type_ in (q, k, v)):
        raise Mismatch("attention takes queries, keys and values of [batch, steps, heads, width]")
    if q.dims[-2:] != k.dims[-2:] or k.dims[:-1] != v.dims[:-1]:
        raise Mismatch(f"attention of queries {q}, keys {k} and values {v}")
    if {type_.dims[0] for type_ in (q, k) if not is_packed(type_)} - {BATCH}:
        raise Mismatch(f"attention of queries {q} and keys {k}, which are not those of a batch")
    rows = {"key_rows": k.dims[0], "query_rows": q.dims[0]}
    for name, table in zip(table_names(is_packed(k), is_packed(q), len(tables)), tables, strict=True):
        if table.dtype != "i32" or table.dims != (rows.get(name, BATCH),):
            raise Mismatch(f"{name} of attention that are {table}")
    return v.with_dims((*q.dims[:-1], v.dims[-1]))


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


class _Sides:
    """The index tables of both sides in NumPy: rows of packed operands become [batch, steps, ...], and come back."""

    def __init__(self, q: Array, k: Array, tables: tuple[Array, ...]) -> None:
        names = table_names(k.ndim == _PACKED_RANK, q.ndim == _PACKED_RANK, len(tables))
        self._tables = dict(zip(names, tables, strict=True))
        self.lengths = tables[: len(LENGTHS)]

    def _index(self, side: str) -> tuple[Array, Array]:
        """The row of each sample's steps, with the last one repeated, and whether there is such a step."""
        lengths = self._tables[f"{side}_lengths"].astype(np.int64)[:, None]
        steps = np.arange(int(lengths.max(initial=0)))
        at = self._tables[f"{side}_starts"][:, None] + np.minimum(steps, lengths - 1)
        return self._tables[f"{side}_rows"][at], steps < lengths

    def to_steps(self, x: Array, side: str) -> Array:
        return x[self._index(side)[0]] if f"{side}_rows" in self._tables else x

    def packed(self, x: Array, side: str) -> Array:
        if f"{side}_rows" not in self._tables:
            return x
        index, is_there = self._index(side)
        rows = np.zeros((len(self._tables[f"{side}_rows"]), *x.shape[2:]), x.dtype)
        rows[index[is_there]] = x[is_there]
        return rows


def _attended(q: Array, k: Array, v: Array, *tables: Array, scale: float, causal: bool) -> Array:
    sides = _Sides(q, k, tables)
    weights, _ = _weights(sides.to_steps(q, "query"), sides.to_steps(k, "key"), sides.lengths, scale, causal)
    result = _einsum("bhts,bshm->bthm", weights, sides.to_steps(v, "key"))
    return sides.packed(_repeated(result, sides.lengths, 1), "query")


def _sums(result: Array, q: Array, k: Array, *tables: Array, scale: float, causal: bool) -> Array:
    sides = _Sides(q, k, tables)
    _, sums = _weights(sides.to_steps(q, "query"), sides.to_steps(k, "key"), sides.lengths, scale, causal)
    sums = _repeated(sums, sides.lengths, 2)
    return sides.packed(np.moveaxis(sums, 1, 2), "query") if q.ndim == _PACKED_RANK else sums


def _gradient_of(  # noqa: PLR0913  operands and attributes, as every reference takes them
    g: Array, q: Array, k: Array, v: Array, result: Array, *more: Array, scale: float, causal: bool, of: Of
) -> Array:
    """The gradient of one operand. `more` are the sums, which only the kernel needs, and tables."""
    sides = _Sides(q, k, more[1:])
    g, q, result = (sides.to_steps(operand, "query") for operand in (g, q, result))
    k, v = sides.to_steps(k, "key"), sides.to_steps(v, "key")
    gradient = _held_gradient((g, q, k, v, result), sides.lengths, scale, causal, of)
    return sides.packed(gradient, "query" if of == "queries" else "key")


def _held_gradient(
    operands: tuple[Array, ...], lengths: tuple[Array, ...], scale: float, causal: bool, of: Of
) -> Array:
    g, q, k, v, result = operands
    weights, _ = _weights(q, k, lengths, scale, causal)
    if len(lengths) > 1:
        g = np.where(np.arange(g.shape[1])[:, None, None] < lengths[1][:, None, None, None], g, g.dtype.type(0))
    if of == "values":
        return _einsum("bhts,bthm->bshm", weights, g)
    slopes = _einsum("bthm,bshm->bhts", g, v)
    of_scores = weights * (slopes - _einsum("bthm,bthm->bht", g, result)[..., None]) * q.dtype.type(scale)
    return _einsum("bhts,bshd->bthd", of_scores, k) if of == "queries" else _einsum("bhts,bthd->bshd", of_scores, q)


def _gradients(
    g: Value, result: Value, q: Value, k: Value, v: Value, *tables: Value, scale: float, causal: bool
) -> tuple[Value | None, ...]:
    sums = apply("attend_sums", result, q, k, *tables, scale=scale, causal=causal)
    operands = (g, q, k, v, result, sums, *tables)
    kinds: tuple[Of, ...] = ("queries", "keys", "values")
    parts = (apply("attend_gradient", *operands, scale=scale, causal=causal, of=of) for of in kinds)
    return (*parts, *(None for _ in tables))


def _sums_type(q: Type) -> Type:
    return q.with_dims(q.dims[:-1] if is_packed(q) else (q.dims[0], q.dims[2], q.dims[1]))


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
        type=lambda result, q, k, *tables, scale, causal: _sums_type(q),
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
    samples = size_of(BATCH, sizes) if is_packed(q) and is_packed(k) else 1
    keys = k.dims[0] if is_packed(k) else k.dims[1]
    queries = q.dims[1] if is_packed(k) and not is_packed(q) else math.prod(size_of(dim, sizes) for dim in q.dims[:-2])
    pairs = size_of(queries, sizes) * size_of(keys, sizes) * size_of(q.dims[-2], sizes) // max(samples, 1)
    width, value_width = size_of(q.dims[-1], sizes), size_of(v.dims[-1], sizes)
    products = 3 * width + 2 * value_width if at else width + value_width
    is_causal = value.keywords["causal"]
    return 2 * pairs * products // (2 if is_causal else 1)


__all__ = [
    "Attending",
    "AttendingGradient",
    "attend",
    "attend_gradient",
    "attend_sums",
    "attention_flops",
    "is_packed",
    "table_names",
]
