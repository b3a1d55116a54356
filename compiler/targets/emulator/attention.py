"""The attention kernels in NumPy, over their arguments (program/attention.py): one sample and head after another, each
with all of its scores at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netc.compiler.ir.types import DTYPES
from netc.compiler.program import attention
from netc.compiler.program.kernels import AttentionKernel
from netc.compiler.targets.emulator.memory import Access, Reference

Array = np.ndarray[Any, Any]


def attention_of(kernel: AttentionKernel) -> Callable[..., None]:
    """Returns a kernel as a function of an Access, its pointers and its numbers."""
    names, number_names = attention.pointers(kernel.is_gradient), attention.numbers(kernel.is_gradient)
    used = attention.used(kernel.is_gradient, kernel.lengths)
    stored = attention.written(kernel.is_gradient)

    def run(access: Access, *arguments: Any) -> None:
        pointers = dict(zip(names, arguments, strict=False))
        numbers = dict(zip(number_names, arguments[len(names) :], strict=True))
        arrays, spans = {}, {}
        for name in used:
            axes, dtype = attention.axes_of(name), "i32" if name in attention.LENGTHS else kernel.dtype
            spans[name] = [numbers[size] for _, size in axes], [numbers[f"{name}_{axis}"] for axis, _ in axes]
            if name in stored:
                arrays[name] = np.zeros(spans[name][0], DTYPES[dtype].numpy)
            else:
                arrays[name] = access.load(pointers[name], dtype, 0, *spans[name])
        scale = attention.number_of(numbers["scale"])
        compute = _add_gradient if kernel.is_gradient else _attend
        for sample in range(numbers["samples"]):
            for head in range(numbers["heads"]):
                compute(_of_head(arrays, sample, head), scale, bool(numbers["is_causal"]))
        _refuse_aliases(access, {name: pointers[name] for name in used}, stored)
        for name in stored:
            access.store(pointers[name], kernel.dtype, 0, *spans[name], arrays[name])

    return run


def _of_head(arrays: Mapping[str, Array], sample: int, head: int) -> dict[str, Array]:
    """The arrays of one sample and head, cut to the sample's own queries and keys; `rest` are views of the others."""
    ends = [int(arrays[name][sample]) if name in arrays else None for name in attention.LENGTHS]
    parts: dict[str, Array] = {}
    for name, array in arrays.items():
        if name not in attention.LENGTHS:
            part = array[sample, head] if name == "sums" else array[sample, :, head]
            of_keys = name in ("keys", "values", "of_keys", "of_values")
            end = ends[0 if of_keys else 1]
            parts[name] = part if end is None else part[:end]
            if end is not None:
                parts[f"rest of {name}"] = part[end:]
    return parts


def _scores(parts: Mapping[str, Array], scale: float, is_causal: bool) -> Array:
    scores = (parts["queries"] * parts["queries"].dtype.type(scale)) @ parts["keys"].T
    t, s = scores.shape
    return np.where(np.arange(s) > np.arange(t)[:, None], -np.inf, scores).astype(scores.dtype) if is_causal else scores


def _attend(parts: Mapping[str, Array], scale: float, is_causal: bool) -> None:
    scores = _scores(parts, scale, is_causal)
    if scores.size:
        most = scores.max(1, keepdims=True)
        powers = np.exp(scores - most)
        total = powers.sum(1, keepdims=True)
        parts["result"][...] = powers @ parts["values"] / total
        parts["sums"][...] = (most + np.log(total))[:, 0]
    else:
        parts["sums"][...] = -np.inf
    for name in ("result", "sums"):
        if f"rest of {name}" in parts and len(parts[name]):
            parts[f"rest of {name}"][...] = parts[name][-1]


def _add_gradient(parts: Mapping[str, Array], scale: float, is_causal: bool) -> None:
    weights = np.exp(_scores(parts, scale, is_causal) - parts["sums"][:, None])
    gradient = parts["gradient"]
    dots = (gradient * parts["result"]).sum(1, keepdims=True)
    slopes = weights * (gradient @ parts["values"].T - dots)
    slopes *= slopes.dtype.type(scale)
    parts["of_values"][...] = weights.T @ gradient
    parts["of_queries"][...] = slopes @ parts["keys"]
    parts["of_keys"][...] = slopes.T @ parts["queries"]


def _refuse_aliases(access: Access, pointers: Mapping[str, Reference], stored: Sequence[str]) -> None:
    """Raises BrokenPlan if a result shares memory with anything else: the kernel reads operands while it writes."""
    for name in stored:
        for other, pointer in pointers.items():
            own = pointers[name]
            if other != name and pointer.region is own.region and pointer.low < own.high and own.low < pointer.high:
                raise access.fail(f"writes {name} into the memory of {other}")
