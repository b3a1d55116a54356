"""Convolutions that are computed by Winograd's filtering: when they are, and that backends agree."""

import itertools

import numpy as np
import pytest

import netc
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.results import parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import DTypeName, Type
from netc.compiler.ir.value import apply
from netc.compiler.lowering.lower import lower
from netc.compiler.passes.differentiate import differentiate
from netc.compiler.passes.simplify import expand, simplify
from netc.compiler.program import winograd
from netc.compiler.program.kernels import WinogradKernel
from netc.compiler.program.tasks import SHARDS, Task
from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import machine_for
from netc.dsl.structs import replace

NET = """model {
  input x: float[8, 12, 3]
  target y: float[2]
  h = x -> conv(16) -> relu
  k = h -> conv(20) -> batchnorm -> relu
  r = relu(k + (k -> conv(20)))
  output z = r -> global_avgpool -> dense(2)
  loss mse(z, y)
}
train {
  precision = f64
  batch = 40
  optimizer = sgd(lr = 0.1)
}
"""
# the sums of a gradient fit the second cache only in groups, which end in parts of vectors
MANY_CHANNELS = NET.replace("conv(16)", "conv(70)").replace("conv(20)", "conv(130)")
# in phases, whose tiles may stick out, and windows in pieces
OF_WINDOWS = (
    NET.replace("conv(20)", "conv(20, dilation = (2, 4))", 1)
    .replace("conv(20)", "conv(20, kernel = 5, dilation = (1, 2))")
    .replace("global", "conv(48, kernel = (4, 3), stride = 2, pad = 5) -> reshape(80, 48) -> conv(64) -> global")
)
IN_GROUPS = NET.replace("conv(16)", "conv(40)").replace("conv(20)", "conv(72, groups = 2)")
NETS = pytest.mark.parametrize(
    "net",
    [NET, MANY_CHANNELS, OF_WINDOWS, IN_GROUPS],
    ids=["few channels", "many channels", "windows of any kind", "in groups"],
)
COUNTS = (1, 3, 17, 40)


def fields_of(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {"x": rng.standard_normal((count, 8, 12, 3)), "y": rng.standard_normal((count, 2))}


def tasks_of(
    machine: Machine,
    size: tuple[int, int] = (8, 8),
    channels: int = 16,
    outputs: int = 16,
    dtype: DTypeName = "f32",
    kernel: tuple[int, int] = (3, 3),
    groups: int = 1,
    **changes: object,
) -> list[Task]:
    """The tasks of Winograd's kernels in a convolution and its two gradients."""
    graph = Graph()
    graph.precision = dtype
    x = graph.leaf(Role.INPUT, "x", Type(dtype, ("batch", *size, channels)))
    w = graph.leaf(Role.PARAMETER, "w", Type(dtype, (*kernel, channels // groups, outputs)))
    around = (kernel[0] // 2, (kernel[0] - 1) // 2, kernel[1] // 2, (kernel[1] - 1) // 2)
    y = apply("conv2d", x, w, **{"stride": (1, 1), "dilation": (1, 1), "pad": around, "groups": groups, **changes})
    first = differentiate(graph, apply("sum", y * y, over=(0, 1, 2, 3)), [x, w])
    graph.results = {parse_result("x"): first[x], parse_result("w"): first[w], parse_result("y"): y}
    graph = simplify(expand(graph))
    return [task for task in lower(graph, 32, machine).tasks if isinstance(task.kernel, WinogradKernel)]


def parts_of(tasks: list[Task]) -> list[str]:
    return sorted(task.kernel.part for task in tasks if isinstance(task.kernel, WinogradKernel))


ALL = ["convolve", "convolve", "gradient", "transform", "transform"]


@pytest.mark.parametrize("target", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_a_convolution_and_its_gradients_are_computed_so(target: str, dtype: DTypeName) -> None:
    assert parts_of(tasks_of(machine_for(target), dtype=dtype)) == ALL


@pytest.mark.parametrize(
    "case",
    [
        {"size": (4, 4)},  # few tiles, for which the weights are transformed
        {"channels": 4, "outputs": 4},  # transforms take longer than they save
        {"kernel": (1, 1)},
        {"kernel": (1, 5), "size": (1, 65)},  # no two halves of a row
        {"stride": (2, 2)},  # few tiles
        {"size": (24, 24), "stride": (3, 3)},  # each element meets two results of a tile alone
        {"size": (9, 8), "dilation": (2, 2), "pad": (2, 2, 2, 2)},  # the phases have 5 rows and 4: 3 tiles and 2
        {"size": (8, 8), "dilation": (9, 1), "pad": (9, 9, 1, 1)},  # a phase has no row
    ],
    ids=str,
)
def test_others_are_summed_directly(case: dict) -> None:
    assert parts_of(tasks_of(machine_for("avx512"), **case)) == []


@pytest.mark.parametrize("case", [{"size": (6, 6)}, {"size": (5, 6)}, {"size": (7, 5)}], ids=str)
def test_small_images_have_gradients_alone(case: dict) -> None:
    """Gradients transform no weights."""
    assert parts_of(tasks_of(machine_for("avx512"), channels=64, **case)) == ["gradient"]


@pytest.mark.parametrize(
    "case",
    [
        {"kernel": (5, 5)},
        {"kernel": (7, 7), "size": (7, 15)},
        {"kernel": (4, 4)},
        {"kernel": (2, 2)},
        {"kernel": (1, 7)},
        {"kernel": (7, 1)},
        {"kernel": (10, 4)},
        {"kernel": (1, 5), "size": (1, 64)},
        {"kernel": (1, 3), "size": (1, 80), "dilation": (1, 4), "pad": (0, 0, 4, 4)},
        {"kernel": (1, 9), "size": (1, 128), "stride": (1, 2)},
        {"kernel": (3, 5), "dilation": (2, 1), "pad": (2, 2, 2, 2)},
        {"stride": (2, 2), "size": (16, 19)},
        {"stride": (2, 2), "size": (16, 16), "kernel": (4, 4)},
        {"stride": (2, 2), "size": (17, 16), "kernel": (7, 7)},
        {"stride": (2, 1), "size": (16, 16)},
    ],
    ids=str,
)
def test_windows_of_other_sizes_and_strides_are_cut_into_pieces(case: dict) -> None:
    """With a stride, the gradient of the image has convolutions of its own."""
    tasks = [
        task
        for task in tasks_of(machine_for("avx512"), **{"channels": 64, "outputs": 64, **case})
        if isinstance(task.kernel, WinogradKernel)
    ]
    assert parts_of(tasks) == ALL or "stride" in case
    (gradient,) = (task for task in tasks if task.kernel.part == "gradient")
    expected = *case.get("kernel", (3, 3)), *case.get("stride", (1, 1))
    for task in (tasks[0], tasks[1], gradient):
        numbers = dict(zip(winograd.numbers(task.kernel.part), task.counts, strict=True))
        assert tuple(numbers[name].factor for name in winograd.OF_WINDOW) == expected


def test_pieces_are_all_elements_of_a_window() -> None:
    for window, stride in itertools.product(range(1, 12), range(1, 5)):
        pieces = winograd.pieces(window, stride)
        elements = [piece.first + stride * i for piece in pieces for i in range(piece.elements)]
        assert sorted(elements) == list(range(window))
        assert all(piece.elements <= pieces[0].elements <= winograd.LONGEST for piece in pieces)
        ends = [piece.position + piece.elements + 1 for piece in pieces]
        assert [piece.position for piece in pieces] == [0, *ends[:-1]]
        assert ends[-1] == winograd.positions_of(window, stride)


@pytest.mark.parametrize(
    "case",
    [
        {"dilation": (2, 2), "pad": (2, 2, 2, 2)},
        {"dilation": (4, 1), "pad": (4, 4, 1, 1)},
        {"dilation": (1, 3), "pad": (1, 1, 3, 3), "size": (5, 12)},
        {"dilation": (2, 3), "pad": (2, 2, 3, 3), "size": (7, 11)},
    ],
    ids=str,
)
def test_a_dilated_convolution_is_computed_in_phases(case: dict) -> None:
    tasks = tasks_of(machine_for("avx512"), **{"channels": 32, "outputs": 32, **case})
    assert parts_of(tasks) == ALL
    for task in tasks:
        if isinstance(task.kernel, WinogradKernel) and task.kernel.part != "transform":
            numbers = dict(zip(winograd.numbers(task.kernel.part), task.counts, strict=True))
            assert (numbers["dilation_down"].factor, numbers["dilation_across"].factor) == case["dilation"]


@pytest.mark.parametrize(
    "case",
    [
        {"size": (7, 8)},  # tiles stick out
        {"channels": 190, "outputs": 30},
        {"channels": 24, "outputs": 512},
        {"channels": 1024, "outputs": 1024},
        {"channels": 128, "outputs": 256, "groups": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_any_number_of_channels_and_the_sums_of_a_group_fit_the_cache(
    case: dict, target: str, dtype: DTypeName
) -> None:
    machine = machine_for(target)
    tasks = tasks_of(machine, dtype=dtype, **case)
    assert parts_of(tasks) == ALL
    (numbers,) = (
        {name: count.factor for name, count in zip(winograd.numbers("gradient"), task.counts, strict=True)}
        for task in tasks
        if isinstance(task.kernel, WinogradKernel) and task.kernel.part == "gradient"
    )
    layout = winograd.scratch_layout(
        machine.lanes(dtype), numbers["channel_group"], numbers["output_group"], numbers["block"], is_gradient=1
    )
    assert (layout.end - layout.sums) * Type(dtype, ()).itemsize <= machine.second_cache // 2


def test_the_choice_does_not_depend_on_workers_and_a_gradient_is_taken_in_shards_or_by_channels() -> None:
    machine = machine_for("avx512")
    for cores in (1, 64):
        few, many = (
            [
                task.axis
                for task in tasks_of(replace(machine, cores=cores, many_bytes=many))
                if isinstance(task.kernel, WinogradKernel) and task.kernel.part == "gradient"
            ]
            for many in (1 << 40, 1)
        )
        assert few == [16]
        assert many == [SHARDS]


@NETS
@pytest.mark.parametrize(("precision", "tolerance"), [("f64", 1e-11), ("f32", 2e-5)])
def test_all_backends_agree(precision: str, tolerance: float, net: str) -> None:
    """For batches that are not full too: some shards are then empty."""
    model = netc.parse(net.replace("f64", precision))
    ours, emulated, meaning = (netc.compile(model, seed=3, backend=name) for name in ("cpu", "plan", "reference"))
    for count in COUNTS:
        fields = fields_of(count)
        loss, expected = meaning.gradients(fields, wrt=("x",))
        largest = max(np.abs(gradient).max() for gradient in expected.values())
        for program in (ours, *([emulated] if count == COUNTS[2] else [])):
            ours_loss, gradients = program.gradients(fields, wrt=("x",))
            assert ours_loss == pytest.approx(loss, rel=tolerance)
            for name, gradient in expected.items():
                np.testing.assert_allclose(gradients[name], gradient, atol=tolerance * largest, rtol=0, err_msg=name)
    steps = [program.step(fields_of(40))["loss"] for program in (ours, meaning)]
    assert steps[0] == pytest.approx(steps[1], rel=tolerance)
    kernels = {
        task.kernel.part for task in ours.training(fields_of(40)).plan.tasks if isinstance(task.kernel, WinogradKernel)
    }
    assert kernels == {"transform", "convolve", "gradient"}


@NETS
@pytest.mark.parametrize("threads", [2, 3])
def test_the_same_bits_on_any_number_of_threads(threads: int, net: str) -> None:
    fields = {name: array.astype(np.float32) for name, array in fields_of(40).items()}
    results = []
    for count in (1, threads):
        program = netc.Program(netc.parse(net.replace("f64", "f32")), threads=count)
        losses = [program.step(fields)["loss"] for _ in range(3)]
        results.append([*losses, *program.persistent.values(), program.predict({"x": fields["x"]})["z"]])
    assert all(np.array_equal(first, other) for first, other in zip(*results, strict=True))


def test_a_sample_gives_the_same_bits_in_any_batch() -> None:
    program = netc.compile(netc.parse(NET.replace("f64", "f32")), seed=1)
    x = fields_of(9)["x"].astype(np.float32)
    together = program.predict({"x": x})["z"]
    assert all(np.array_equal(program.predict({"x": x[i : i + 1]})["z"][0], together[i]) for i in range(9))
