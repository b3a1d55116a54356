"""Convolutions in groups that are narrower than a vector: when their kernels are used, and that backends agree."""

from functools import cache

import numpy as np
import pytest

import netc
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTypeName, Precision, Type
from netc.compiler.ir.value import apply
from netc.compiler.lowering.lower import lower
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.narrow import narrow
from netc.compiler.passes.simplify import expand, simplify
from netc.compiler.program import grouped
from netc.compiler.program.kernel_listing import kernel_lines
from netc.compiler.program.kernel_parser import parse_kernel
from netc.compiler.program.kernels import GroupedKernel
from netc.compiler.program.schedule import Count
from netc.compiler.program.tasks import SHARDS
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import machine_for
from netc.dsl.structs import replace

NET = """model {
  input x: float[5, 9, 6]
  target y: float[9]
  output z = x -> conv(9, kernel = 2, stride = (1, 2), groups = 3) -> global_avgpool
  loss mse(z, y)
}
train {
  precision = f64
}
"""
FIELDS = {
    "x": np.random.default_rng(3).standard_normal((32, 5, 9, 6)),
    "y": np.random.default_rng(4).standard_normal((32, 9)),
}


def kernels_of(
    machine: Machine, x: Type, w: Type, precision: Precision = "f32", **how: object
) -> list[tuple[GroupedKernel, object]]:
    """The kernels of narrow groups in a convolution and its two gradients, each with the axis of its task."""
    graph = Graph()
    graph.precision = x.dtype
    image, weights = graph.leaf(Role.INPUT, "x", x), graph.leaf(Role.PARAMETER, "w", w)
    y = apply("conv2d", image, weights, **{"stride": (1, 1), "dilation": (1, 1), "pad": (1, 1, 1, 1), **how})
    first = differentiate(graph, apply("sum", y * y, over=(0, 1, 2, 3)), [image, weights])
    graph.results = {parse_result("x"): first[image], parse_result("w"): first[weights], parse_result("y"): y}
    tasks = lower(simplify(expand(narrow(graph, precision))), 32, machine).tasks
    return [(task.kernel, task.axis) for task in tasks if isinstance(task.kernel, GroupedKernel)]


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (4, 2), (1, 3), (12, 5), (3, 4), (8, 1)])
@pytest.mark.parametrize(("target", "dtype"), [("avx512", "f32"), ("avx2", "f32"), ("avx512", "f64"), ("sse2", "f32")])
def test_narrow_groups_have_kernels_of_their_own(inputs: int, outputs: int, target: str, dtype: DTypeName) -> None:
    """Where results of whole groups fill more than half of a vector."""
    machine = machine_for(target)
    x, w = Type(dtype, ("batch", 9, 8, 3 * inputs)), Type(dtype, (3, 2, inputs, 3 * outputs))
    parts = sorted(kernel.part for kernel, _ in kernels_of(machine, x, w, groups=3))
    lanes = machine.lanes(dtype)

    def is_narrow(inputs: int, outputs: int) -> bool:
        return max(inputs, outputs) <= lanes < 2 * outputs * min(lanes // outputs, 4 * lanes // inputs)

    forward, backward = is_narrow(inputs, outputs), is_narrow(outputs, inputs)
    assert parts == [*["convolve"] * (forward + backward), *["gradient"] * forward]


def test_one_group_has_none_and_groups_of_one_channel_only_where_windows_are_large() -> None:
    machine, x = machine_for("avx512"), Type("f32", ("batch", 9, 8, 6))
    assert kernels_of(machine, x, Type("f32", (3, 3, 6, 6)), groups=1) == []
    cases = (
        ((5, 5), {}, 0),
        ((6, 5), {}, 3),
        ((1, 31), {}, 3),
        ((7, 7), {"dilation": (1, 2)}, 3),
        ((7, 7), {"stride": (2, 2)}, 2),  # phases of the image's gradient have small windows
        ((5, 5), {"stride": (2, 2)}, 0),
    )
    for kernel, how, count in cases:
        line, w = Type("f32", ("batch", 9, 40, 6)), Type("f32", (*kernel, 1, 6))
        assert len(kernels_of(machine, line, w, groups=6, **how)) == count


@pytest.mark.parametrize(("target", "channels", "of_results"), [("avx512", 1, 14), ("avx512", 4, 7), ("avx2", 1, 7)])
def test_strips_have_about_one_size_and_more_columns_where_no_channels_are_moved(
    target: str, channels: int, of_results: int
) -> None:
    x, w = Type("f32", ("batch", 28, 28, 8 * channels)), Type("f32", (7, 7, channels, 8 * channels))
    kernels = kernels_of(machine_for(target), x, w, groups=8, pad=(3, 3, 3, 3))
    positions = {(kernel.part, kernel.groups.positions, kernel.groups.rest) for kernel, _ in kernels}
    assert positions == {("convolve", of_results, 0), ("gradient", 7, 0)}


@pytest.mark.parametrize(("channels", "ends_in_half"), [(4, True), (8, True), (9, False), (16, False), (19, True)])
def test_last_results_that_fit_half_a_vector_have_one(channels: int, ends_in_half: bool) -> None:
    x, w = Type("f32", ("batch", 9, 8, channels)), Type("f32", (7, 7, 1, channels))
    for target in ("avx2", "avx512"):
        kernels = [kernel for kernel, _ in kernels_of(machine_for(target), x, w, groups=channels)]
        assert {kernel.groups.ends_in_half for kernel in kernels} == {ends_in_half and target == "avx512"}
        for kernel in kernels:
            counts = [Count(0)] * len(grouped.numbers(kernel.part))
            assert parse_kernel(list(kernel_lines(kernel, counts)), ()) == (kernel, tuple(counts))


@pytest.mark.parametrize(
    ("stride", "dilation", "units"), [(2, 1, (2, 1)), (1, 3, (1, 3)), (4, 2, (2, 1)), (3, 2, (3, 2)), (2, 2, (1, 1))]
)
def test_a_kernel_has_the_distances_of_columns_and_elements_without_common_factors(
    stride: int, dilation: int, units: tuple[int, int]
) -> None:
    how = {"stride": (1, stride), "dilation": (1, dilation)}
    x, w = Type("f32", ("batch", 9, 40, 8)), Type("f32", (3, 3, 4, 8))
    (kernel,) = (
        kernel for kernel, _ in kernels_of(machine_for("avx2"), x, w, groups=2, **how) if kernel.part == "gradient"
    )
    assert (kernel.groups.step, kernel.groups.apart) == units
    counts = [Count(0)] * len(grouped.numbers(kernel.part))
    assert parse_kernel(list(kernel_lines(kernel, counts)), ()) == (kernel, tuple(counts))


def test_rounded_operands_of_narrow_groups_are_kept_in_f32() -> None:
    machine = machine_for("avx512bf16")
    x, w = Type("f32", ("batch", 9, 8, 4 * 6)), Type("f32", (3, 2, 6, 32))
    parts = sorted(kernel.part for kernel, _ in kernels_of(machine, x, w, "bf16", groups=4))
    assert parts == ["convolve", "convolve", "gradient"]


def test_the_choice_does_not_depend_on_workers_and_a_gradient_is_taken_in_shards_or_by_groups() -> None:
    machine = machine_for("avx512")
    x, w = Type("f32", ("batch", 8, 8, 8)), Type("f32", (3, 3, 2, 8))
    for cores in (1, 64):
        few, many = (
            [
                axis
                for kernel, axis in kernels_of(replace(machine, cores=cores, many_bytes=many), x, w, groups=4)
                if kernel.part == "gradient"
            ]
            for many in (1 << 40, 1)
        )
        assert few == [4]
        assert many == [SHARDS]


@cache
def gradients_of(threads: int, backend: str) -> list[np.ndarray]:
    """The gradients of a batch, and of one with which some shards are empty."""
    program = netc.compile(netc.parse(NET), seed=2, threads=threads, backend=backend)
    batches = ({name: rows[:count] for name, rows in FIELDS.items()} for count in (32, 3))
    return [gradient for batch in batches for gradient in program.gradients(batch, wrt=("x",))[1].values()]


@pytest.mark.parametrize("backend", ["cpu", "plan"])
def test_all_backends_agree(backend: str) -> None:
    for actual, expected in zip(gradients_of(1, backend), gradients_of(1, "reference"), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


def test_the_same_bits_on_any_number_of_threads() -> None:
    for first, other in zip(gradients_of(1, "cpu"), gradients_of(3, "cpu"), strict=True):
        assert np.array_equal(first, other)
