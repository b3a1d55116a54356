"""The attention kernels alone, against NumPy in f64: widths, lengths and strides of every kind, for each instruction
set."""

import numpy as np
import pytest
from native import FLOATS, TARGETS, Kernel, check_instructions

from netc.compiler.program import attention
from netc.compiler.program.kernels import AttentionKernel
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import machine_for

RNG = np.random.default_rng(4)
# samples, queries, keys, heads, width, width of values, causal, lengths
CASES = [
    (1, 1, 1, 1, 1, 1, False, ()),
    (2, 64, 64, 2, 32, 32, True, ()),
    (1, 5, 3, 2, 7, 9, False, ()),
    (1, 5, 9, 2, 7, 9, True, ()),
    (1, 100, 30, 1, 16, 24, True, ()),
    (1, 97, 201, 3, 20, 33, False, ()),
    (1, 200, 97, 1, 64, 5, True, ()),
    (4, 33, 33, 2, 5, 5, True, ([33, 0, 1, 20], [33, 0, 1, 20])),
    (3, 40, 101, 1, 8, 8, False, ([101, 0, 97], [0, 7, 40])),
    (2, 10, 20, 2, 4, 6, False, ([3, 20],)),
    # rows that are read and written where they lie, because their columns are whole vectors
    (2, 208, 197, 2, 32, 16, False, ()),
    (1, 197, 230, 1, 16, 32, True, ([150], [190])),
    (1, 600, 50, 1, 16, 16, True, ()),  # so many queries that keys are copied
    (2, 32, 64, 2, 32, 16, True, ()),
    (2, 64, 32, 1, 16, 64, True, ()),
    (1, 16, 230, 3, 32, 32, False, ()),
    (5, 32, 48, 2, 16, 32, True, ([48, 0, 16, 20, 0], [32, 16, 0, 16, 0])),
    (3, 32, 112, 1, 16, 16, False, ([101, 0, 112], [0, 16, 32])),
]
CASES_OF_ONE_QUERY = [
    (1, 1, 1, 1, 1, 1, False, ()),
    (2, 1, 100, 2, 32, 32, False, ([100, 0],)),
    (3, 1, 67, 2, 7, 9, False, ([5, 67, 64],)),
    (1, 1, 40, 3, 16, 70, False, ()),
    (2, 1, 200, 1, 20, 33, False, ([1, 199],)),
    (1, 1, 9, 2, 64, 48, True, ()),
]
# every third is the widest in f32 and the middle one in f64
PAIRS = [*((target, "f32") for target in reversed(TARGETS)), *((target, "f64") for target in TARGETS[1:] + TARGETS[:1])]


def strided(shape: tuple[int, ...], dtype: str, spread: bool) -> np.ndarray:
    """An array of random numbers; if `spread`, its rows do not follow one another."""
    border = int(spread)
    array = RNG.standard_normal(tuple(size + 2 * border for size in shape)).astype(FLOATS[dtype])
    return array[tuple(slice(border, border + size) for size in shape)]


def axes_of(name: str) -> tuple[str, ...]:
    return tuple(axis for axis, _ in attention.axes_of(name))


class Attention:
    """Arguments of the kernels: arrays by the names of program/attention.py, and the settings of a case."""

    def __init__(self, case: tuple, dtype: str, machine: Machine, spread: bool) -> None:
        b, t, s, h, d, m, self.is_causal, lengths = case
        self.packed: set[str] = set()
        self.dtype, self.machine, self.scale, self.lengths = dtype, machine, 0.7 / d**0.5, len(lengths)
        shapes = {"queries": (b, t, h, d), "keys": (b, s, h, d), "values": (b, s, h, m), "gradient": (b, t, h, m)}
        self.arrays = {name: strided(shape, dtype, spread) for name, shape in shapes.items()}
        self.arrays["result"], self.arrays["sums"] = self.unwritten((b, t, h, m)), self.unwritten((b, h, t))
        for name in ("queries", "keys", "values"):
            self.arrays[f"of_{name}"] = self.unwritten(shapes[name])
        for name, numbers in zip(attention.LENGTHS, lengths, strict=False):
            self.arrays[name] = np.array(numbers, np.int32)

    def unwritten(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.full(shape, np.nan, FLOATS[self.dtype])

    def call(self, kernel: Kernel, is_gradient: bool, has_one_query: bool = False) -> None:
        """Calls a kernel. Memory that it must not need is NaN, and what lies behind its own stays as it is."""
        q, k, v = (self.arrays[name] for name in ("queries", "keys", "values"))
        numbers = {"samples": q.shape[0], "heads": q.shape[2], "query_count": q.shape[1], "key_count": k.shape[1]}
        numbers |= {"width": q.shape[3], "value_width": v.shape[3], "is_causal": int(self.is_causal)}
        numbers |= {
            "scale": attention.bits_of(self.scale),
            "lengths": self.lengths,
            **{f"{name}_sample": 1 for name in attention.LENGTHS},
        }
        self.run(kernel, is_gradient, numbers, has_one_query)

    def run(self, kernel: Kernel, is_gradient: bool, numbers: dict[str, int], has_one_query: bool = False) -> None:
        """Calls a kernel with some of its numbers, all strides but those of samples in tables left out."""
        block, lanes = self.machine.attention_block(self.dtype), self.machine.lanes(self.dtype)
        widths = numbers["width"], numbers["value_width"]
        end = attention.scratch_layout(block, lanes, *widths, is_gradient).end
        if has_one_query:
            end = attention.query_layout(lanes, numbers["heads"], numbers["key_count"], *widths).end
        row = attention.keys_layout(lanes, 1, *widths, is_gradient).row
        addresses, memories = {}, []
        for name, size in (("scratch", end), ("all_keys", row * numbers["key_count"])):
            memory = self.unwritten((size + 64,))
            memory[size:] = 7
            addresses[name] = memory.ctypes.data
            memories.append((memory, size))
        for name in attention.pointers(is_gradient):
            if name in self.arrays:
                array = self.arrays[name]
                addresses[name] = array.ctypes.data
                is_packed = name in self.packed
                axes = ("row", "head") if is_packed and name == "sums" else axes_of(name)[is_packed:]
                for axis, stride in zip(axes, array.strides, strict=True):
                    numbers[f"{name}_{axis}"] = stride // array.itemsize
        pointers = [addresses.get(name, 0) for name in attention.pointers(is_gradient)]
        kernel.call(*pointers, *(numbers.get(name, 0) for name in attention.numbers(is_gradient)))
        assert all((memory[size:] == 7).all() for memory, size in memories)

    def call_packed(self, kernel: Kernel, is_gradient: bool, sides: tuple[str, ...]) -> None:
        """Calls a kernel with the rows of all samples in any order, and copies the results back."""
        bounded = dict(self.arrays)
        q, k, v = (bounded[name] for name in ("queries", "keys", "values"))
        numbers = {"samples": q.shape[0], "heads": q.shape[2], "query_count": q.shape[1], "key_count": k.shape[1]}
        numbers |= {"width": q.shape[3], "value_width": v.shape[3], "is_causal": int(self.is_causal)}
        numbers |= {"scale": attention.bits_of(self.scale), "lengths": 2}
        numbers |= {f"{name}_sample": 1 for name in (*attention.LENGTHS, "key_starts", "query_starts")}
        addresses = {}
        for side in sides:
            lengths = bounded[f"{side}_lengths"]
            there = np.arange(numbers[f"{side}_count"]) < lengths[:, None]
            order = RNG.permutation(lengths.sum()).astype(np.int32)
            addresses[side] = (there, order)
            self.arrays[f"{side}_rows"] = order
            self.arrays[f"{side}_starts"] = (np.cumsum(lengths) - lengths).astype(np.int32)
            numbers[f"{side}_count"] = len(order)
            numbers["packs_keys" if side == "key" else "packs_queries"] = 1
        for name in (*attention.tensors(is_gradient), "sums"):
            side = attention.side_of(name)
            if side in sides:
                there, order = addresses[side]
                array = np.moveaxis(bounded[name], 1, 2) if name == "sums" else bounded[name]
                rows = self.unwritten((len(order), *array.shape[2:]))
                rows[order] = array[there]
                self.arrays[name] = rows
                self.packed.add(name)
        self.run(kernel, is_gradient, numbers)
        for name in self.packed:
            there, order = addresses[attention.side_of(name)]
            array = np.moveaxis(bounded[name], 1, 2) if name == "sums" else bounded[name]
            array[there] = self.arrays[name][order]
        for side in sides:
            del self.arrays[f"{side}_rows"], self.arrays[f"{side}_starts"]
        self.packed.clear()
        self.arrays.update(bounded)

    def sums(self) -> np.ndarray:
        """The logarithm of the sum of exponentials of a single query's scores."""
        q, k = (self.arrays[name].astype(np.float64) for name in ("queries", "keys"))
        lengths = self.arrays.get("key_lengths", np.full(len(k), 1 if self.is_causal else k.shape[1]))
        sums = np.full((len(k), k.shape[2], 1), -np.inf)
        for i, end in enumerate(lengths):
            scores = np.einsum("hd,shd->hs", q[i, 0], k[i, :end]) * self.scale
            sums[i, :, 0] = np.logaddexp.reduce(scores, axis=1)
        return sums

    def expected(self) -> dict[str, np.ndarray]:
        """The sums that both kernels compute, in f64, sample by sample."""
        arrays = {name: array.astype(np.float64) for name, array in self.arrays.items() if "_lengths" not in name}
        result = {name: np.zeros_like(arrays[name]) for name in ("result", "of_queries", "of_keys", "of_values")}
        t, s = arrays["queries"].shape[1], arrays["keys"].shape[1]
        for i in range(len(arrays["queries"])):
            ends = [int(self.arrays[name][i]) for name in attention.LENGTHS if name in self.arrays]
            keys, queries = [*ends, *(s, t)[len(ends) :]]
            q, g = (np.moveaxis(arrays[name][i, :queries], 1, 0) for name in ("queries", "gradient"))
            k, v = (np.moveaxis(arrays[name][i, :keys], 1, 0) for name in ("keys", "values"))
            scores = q @ k.swapaxes(1, 2) * self.scale
            if self.is_causal:
                scores[:, np.arange(keys) > np.arange(queries)[:, None]] = -np.inf
            weights = np.exp(scores - scores.max(2, keepdims=True, initial=-1e300))
            weights /= weights.sum(2, keepdims=True) if keys else 1
            attended = weights @ v
            slopes = weights * (g @ v.swapaxes(1, 2) - (g * attended).sum(2, keepdims=True)) * self.scale
            result["result"][i, :queries] = np.moveaxis(attended, 0, 1)
            if queries:
                result["result"][i, queries:] = result["result"][i, queries - 1]
            result["of_queries"][i, :queries] = np.moveaxis(slopes @ k, 0, 1)
            result["of_keys"][i, :keys] = np.moveaxis(slopes.swapaxes(1, 2) @ q, 0, 1)
            result["of_values"][i, :keys] = np.moveaxis(weights.swapaxes(1, 2) @ g, 0, 1)
        return result


@pytest.mark.every(3)
@pytest.mark.parametrize(("target", "dtype"), PAIRS)
def test_the_attention_kernels(target: str, dtype: str) -> None:
    """One test for all cases, because the kernels take seconds to compile."""
    machine = machine_for(target)
    forward, backward = (Kernel(source_of(AttentionKernel(dtype, of, 0)), machine) for of in (False, True))
    for kernel in (forward, backward):
        check_instructions(target, kernel.assembly)
        assert ("%zmm" in kernel.assembly) == (machine.vector_bytes == 64)
    for case in CASES:
        for spread in (False, True):
            arguments = Attention(case, dtype, machine, spread)
            arguments.call(forward, False)
            arguments.call(backward, True)
            for name, expected in arguments.expected().items():
                tolerance = 1e-5 if dtype == "f32" else 1e-13
                np.testing.assert_allclose(
                    arguments.arrays[name], expected, rtol=tolerance, atol=tolerance, err_msg=f"{name} of {case}"
                )
    for case in (case for case in CASES if len(case[-1]) > 1):
        for sides in (("key",), ("query",), ("key", "query")):
            arguments = Attention(case, dtype, machine, spread=False)
            bounded = Attention(case, dtype, machine, spread=False)
            bounded.arrays.update({name: arguments.arrays[name] for name in ("queries", "keys", "values", "gradient")})
            for kernel, is_gradient in ((forward, False), (backward, True)):
                arguments.call_packed(kernel, is_gradient, sides)
                bounded.call(kernel, is_gradient)
            for name in ("result", "sums", "of_queries", "of_keys", "of_values"):
                array, expected = (each.arrays[name] for each in (arguments, bounded))
                if name == "sums":
                    array, expected = np.moveaxis(array, 1, 2), np.moveaxis(expected, 1, 2)
                lengths = bounded.arrays[f"{attention.side_of(name)}_lengths"]
                there = np.arange(array.shape[1]) < lengths[:, None]
                np.testing.assert_array_equal(array[there], expected[there], err_msg=f"{name} of {case}, {sides}")
    check_nan(forward, dtype, machine)


@pytest.mark.every(3)
@pytest.mark.parametrize(("target", "dtype"), PAIRS)
def test_the_attention_kernel_of_one_query(target: str, dtype: str) -> None:
    """The bits of a result do not depend on the samples and heads beside it; NaN reaches it only from its own keys."""
    machine = machine_for(target)
    kernel = Kernel(source_of(AttentionKernel(dtype, False, 0, has_one_query=True)), machine)
    check_instructions(target, kernel.assembly)
    for case in CASES_OF_ONE_QUERY:
        for spread in (False, True):
            arguments = Attention(case, dtype, machine, spread)
            for i, end in enumerate(arguments.arrays.get("key_lengths", ())):
                arguments.arrays["keys"][i, end:] = arguments.arrays["values"][i, end:] = np.nan
            arguments.call(kernel, False, has_one_query=True)
            tolerance = 1e-5 if dtype == "f32" else 1e-13
            expected = arguments.expected()["result"]
            np.testing.assert_allclose(arguments.arrays["result"], expected, tolerance, tolerance, err_msg=str(case))
            np.testing.assert_allclose(arguments.arrays["sums"], arguments.sums(), tolerance, tolerance)


def check_nan(kernel: Kernel, dtype: str, machine: Machine) -> None:
    """A NaN among the keys reaches all queries that see it, and no others."""
    arguments = Attention((1, 40, 40, 1, 8, 8, True, ()), dtype, machine, False)
    arguments.arrays["keys"][0, 17] = np.nan
    arguments.call(kernel, False)
    np.testing.assert_array_equal(np.isnan(arguments.arrays["result"][0, :, 0]).all(1), np.arange(40) >= 17)
    assert not np.isnan(arguments.arrays["result"][0, :17]).any()
