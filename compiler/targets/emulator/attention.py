"""The attention kernels in NumPy, over their arguments (program/attention.py): one sample and head after another, each
with all of its scores at once."""

from collections.abc import Callable, Mapping
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

    def run(access: Access, *arguments: Any) -> None:
        pointers = dict(zip(names, arguments, strict=False))
        numbers = dict(zip(number_names, arguments[len(names) :], strict=True))
        call = _Call(kernel, access, pointers, numbers)
        scale = attention.number_of(numbers["scale"])
        compute = _add_gradient if kernel.is_gradient else _attend
        for sample in range(numbers["samples"]):
            for head in range(numbers["heads"]):
                parts = call.of_head(sample, head)
                compute(parts, scale, bool(numbers["is_causal"]))
                call.store_packed(parts, sample, head)
        call.refuse_aliases()
        call.store_held()

    return run


class _Call:
    """The operands and results of a call: arrays with an axis of samples, and packed rows, which tables find."""

    def __init__(
        self,
        kernel: AttentionKernel,
        access: Access,
        pointers: Mapping[str, Reference],
        numbers: Mapping[str, int],
    ) -> None:
        self.kernel, self.access, self.pointers, self.numbers = kernel, access, pointers, numbers
        self.tensors = [name for name in kernel.pointers if name not in kernel.tables]
        self.stored = attention.written(kernel.is_gradient)
        self.arrays: dict[str, Array] = {}
        for name in kernel.pointers:
            if attention.is_rows(name) or (name in self.tensors and kernel.packs(name)):
                continue
            dtype = "i32" if name in kernel.tables else kernel.dtype
            if name in self.stored:
                self.arrays[name] = np.zeros(self._span(name)[0], DTYPES[dtype].numpy)
            else:
                self.arrays[name] = access.load(pointers[name], dtype, 0, *self._span(name))

    def _span(self, name: str) -> tuple[list[int], list[int]]:
        axes = attention.axes_of(name)
        return [self.numbers[size] for _, size in axes], [self.numbers[f"{name}_{axis}"] for axis, _ in axes]

    def of_head(self, sample: int, head: int) -> dict[str, Array]:
        """The arrays of one sample and head, cut to the sample's own queries and keys; `rest` are views of the
        others."""
        parts: dict[str, Array] = {}
        for name in self.tensors:
            end = self._length(name, sample)
            if not self.kernel.packs(name):
                array = self.arrays[name]
                part = array[sample, head] if name == "sums" else array[sample, :, head]
                parts[name] = part if end is None else part[:end]
                if end is not None:
                    parts[f"rest of {name}"] = part[end:]
                continue
            index = self._index(name, sample, head)
            if name in self.stored:
                parts[name] = np.zeros(index.shape, DTYPES[self.kernel.dtype].numpy)
            else:
                parts[name] = self.access.load_at(self.pointers[name], self.kernel.dtype, index)
        return parts

    def _length(self, name: str, sample: int) -> int | None:
        lengths = self.arrays.get(f"{attention.side_of(name)}_lengths")
        return None if lengths is None else int(lengths[sample])

    def _index(self, name: str, sample: int, head: int) -> Array:
        """The elements of a packed tensor of a sample's head: its rows, and its columns except in sums."""
        side, numbers, length = attention.side_of(name), self.numbers, self._length(name, sample)
        first = int(self.arrays[f"{side}_starts"][sample])
        at = np.arange(first, first + (length or 0))
        rows = self.access.load_at(self.pointers[f"{side}_rows"], "i32", at).astype(np.int64)
        index: Array = rows * numbers[f"{name}_row"] + head * numbers[f"{name}_head"]
        if name == "sums":
            return index
        columns = np.arange(numbers[dict(attention.axes_of(name))["column"]]) * numbers[f"{name}_column"]
        return index[:, None] + columns

    def store_packed(self, parts: Mapping[str, Array], sample: int, head: int) -> None:
        """Stores the packed results of a sample's head."""
        for name in self.stored:
            if self.kernel.packs(name):
                index = self._index(name, sample, head)
                self.access.store_at(self.pointers[name], self.kernel.dtype, index, parts[name])

    def store_held(self) -> None:
        """Stores the results that have an axis of samples."""
        for name in self.stored:
            if not self.kernel.packs(name):
                self.access.store(self.pointers[name], self.kernel.dtype, 0, *self._span(name), self.arrays[name])

    def refuse_aliases(self) -> None:
        """Raises BrokenPlan if a result shares memory with anything else: the kernel reads operands while it writes.

        Results may lie side by side in a buffer.
        """
        for name in self.stored:
            result = self.pointers[name]
            for other in self.kernel.pointers:
                pointer = self.pointers[other]
                overlaps = pointer.region is result.region and pointer.low < result.high and result.low < pointer.high
                if other == name or not overlaps:
                    continue
                if other not in self.stored or np.intersect1d(self._elements(name), self._elements(other)).size:
                    raise self.access.fail(f"writes {name} into the memory of {other}")

    def _elements(self, name: str) -> Array:
        """The bytes at which elements of a tensor begin."""
        sizes, size = dict(attention.axes_of(name)), DTYPES[self.kernel.dtype].bytes
        begins = np.array([self.pointers[name].start])
        for axis in self.kernel.axes_of(name):
            steps = np.arange(self.numbers[sizes[axis]]) * self.numbers[f"{name}_{axis}"] * size
            begins = np.add.outer(begins, steps)
        return begins


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
