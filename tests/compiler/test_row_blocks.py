"""The number of rows of a parameter that a worker takes at once through its gradient and its update."""

import pytest

import netc
from netc.compiler.lowering.lower import lower
from netc.compiler.pipeline import prediction_graph, run_passes, training_graph
from netc.compiler.planning.plan import plan
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.nests import Nest
from netc.compiler.program.schedule import PERSISTENT, Group
from netc.compiler.targets.machine import GROUP, Machine
from netc.compiler.targets.named import NAMED
from netc.dsl.structs import replace

MACHINE = replace(NAMED["avx512"], second_cache=1 << 20)


def group_of_gradient(steps: int, inputs: int, outputs: int, machine: Machine = MACHINE) -> Group:
    """The group of a weight's gradient and its update with Adam, in a batch of 8 samples with some steps each. Products
    read bf16 if the machine multiplies pairs."""
    text = (
        f"model {{\n  input x: float[{steps}, {inputs}]\n  target y: float[{steps}, {outputs}]\n"
        f"  param W: float[{inputs}, {outputs}]\n  z = x @ W\n  loss mse(z, y)\n}}\n"
        "train {\n  optimizer = adam(lr = 0.1)\n  batch = 8\n"
    )
    text += "  precision = bf16\n}\n" if machine.has_pairs else "}\n"
    tasks = lower(run_passes(training_graph(netc.parse(text))), 8, machine)
    offsets, end = {}, 0
    for name, buffer in tasks.leaves.items():
        if buffer.kind == "persistent":
            offsets[name], end = end, end + buffer.type.nbytes(1)
    planned = plan(tasks, offsets, 8, machine)
    groups = (group for phase in planned.schedule.phases for group in phase)
    return next(group for group in groups if group.kind == "pieces" and group.extent == inputs and len(group.calls) > 1)


def groups_of_layers(batch: int, inputs: int, *widths: int, is_trained: bool = False) -> list[Group]:
    """The groups of dense layers that workers take by samples, with those of their gradients if they are trained."""
    layers = " -> relu -> ".join(f"dense({width})" for width in widths)
    text = (
        f"model {{\n  input x: float[{inputs}]\n  target y: float[{widths[-1]}]\n"
        f"  output z = x -> {layers}\n  loss mse(z, y)\n}}\n"
        f"train {{\n  optimizer = sgd(lr = 0.1)\n  batch = {batch}\n}}\n"
    )
    graph = (training_graph if is_trained else prediction_graph)(netc.parse(text))
    tasks = lower(run_passes(graph), batch, MACHINE)
    planned = plan(tasks, dict.fromkeys(tasks.leaves, 0), batch, MACHINE)
    return [group for phase in planned.schedule.phases for group in phase if group.kind == "samples"]


def test_weights_of_a_point_are_shared_by_channels() -> None:
    """Those of a convolution by 1 x 1 elements are [1, 1, channels, outputs]: the first axis has nothing to share."""
    text = (
        "model {\n  input x: float[6, 6, 40]\n  target y: float[72]\n"
        "  z = x -> conv(72, kernel = 1) -> relu -> global_avgpool\n  loss mse(z, y)\n}\n"
        "train {\n  optimizer = adam(lr = 0.1)\n  batch = 4\n}\n"
    )
    tasks = lower(run_passes(training_graph(netc.parse(text))), 4, MACHINE)
    planned = plan(tasks, dict.fromkeys(tasks.leaves, 0), 4, MACHINE)
    groups = [planned_group for planned_group in planned.groups() if planned_group.group.kind == "pieces"]
    weights = [[type(task.kernel) for _, task in each.calls] for each in groups if each.group.extent == 40]
    assert weights == [[Contraction, Nest]]  # the gradient, and the update in the same group


def prefetches(group: Group) -> bool:
    """Whether the product prefetches arrays that the update writes."""
    product = group.calls[0].arguments
    return sum(getattr(argument, "memory", None) == PERSISTENT for argument in product) > 0


@pytest.mark.parametrize(
    ("sizes", "rows", "ahead"),
    [
        # 4 arrays of 2 KiB a row: 60 rows are half of the second cache. The gradient of z has 128 KiB and stays in it.
        ((8, 784, 512), 60, True),
        # It has 1.5 MiB, and would come from memory for each block: one block, and nothing stays until the update.
        ((96, 128, 512), 128, False),
        # 12 rows are half of the second cache. The gradient of z stays in it, but would be read for each two tiles.
        ((8, 128, 1568), 128, False),
        # 8 rows of depth: tiles cannot prefetch the update's arrays, so the gradient alone has to stay..
        ((1, 784, 2048), 108, False),
        # 32 rows, half a tile's lines; at 40 they are prefetched.
        ((4, 784, 512), 396, False),
        ((5, 784, 512), 60, True),
        # 252 rows would leave a last block of 8.
        ((8, 512, 128), 264, True),
    ],
)
def test_blocks_fit_the_cache_unless_operands_are_read_too_often(
    sizes: tuple[int, int, int], rows: int, ahead: bool
) -> None:
    group = group_of_gradient(*sizes)
    assert (group.row_block, prefetches(group)) == (rows, ahead)


@pytest.mark.parametrize(("name", "rows"), [("avx512bf16", 132), ("amx", 128)])
def test_blocks_of_pairs_fill_the_cache(name: str, rows: int) -> None:
    """Each copies the gradient of z, and prefetches nothing of the update. Blocks are whole tiles, here of 12 and 32
    rows."""
    machine = replace(NAMED[name], second_cache=1 << 20)
    assert group_of_gradient(16, 784, 512, machine).row_block == rows


@pytest.mark.parametrize(
    ("sizes", "rows"),
    [
        # Weights of 1.6 and 1 MB, larger than the second cache, are read for each block, and drive out what a layer
        # passes on to the next one whatever the rows: one block.
        ((128, 784, 512, 512), 128),
        # Weights of 0.4 MB stay in it, beside the rows of as many samples as fit.
        ((512, 784, 128, 128), 120),
        # All fits.
        ((64, 784, 128, 10), 64),
    ],
)
def test_blocks_of_samples_are_as_large_as_what_is_needed_again_allows(sizes: tuple[int, ...], rows: int) -> None:
    (forward,) = groups_of_layers(*sizes)
    assert forward.row_block == rows


@pytest.mark.parametrize(("side", "rows"), [(40, 4), (56, 2), (72, 1), (200, 64)])
def test_a_few_large_images_are_padded_and_read_while_they_are_in_the_cache(side: int, rows: int) -> None:
    """An image of 16 channels is padded, and then convolved. If not even one fits, no block would help."""
    text = f"model {{\n  input x: float[{side}, {side}, 16]\n  output y = x -> depthwise(kernel = 3)\n}}\n"
    tasks = lower(run_passes(prediction_graph(netc.parse(text + "train { batch = 64 }\n"))), 64, MACHINE)
    planned = plan(tasks, dict.fromkeys(tasks.leaves, 0), 64, MACHINE)
    groups = [group for phase in planned.schedule.phases for group in phase if group.kind == "samples"]
    assert [group.row_block for group in groups if len(group.calls) > 1] == [rows]


def test_blocks_are_fewer_if_products_copy_weights_for_each() -> None:
    """The gradients of an autoencoder's layers read its weights turned, from copies of them. A block of 48 of its 64
    samples would fit the second cache better, but another one would copy 0.9 MB again."""
    *_, backward = groups_of_layers(64, 784, 128, 32, 128, 784, is_trained=True)
    assert backward.row_block == 64


def test_a_workers_own_memory_does_not_grow_with_the_depth_of_a_network() -> None:
    """What the backward pass reads of the forward pass, here the numbers before each `gelu`, is not private if it has
    left the second cache since."""

    def private(depth: int) -> int:
        layers = " -> ".join(["dense(128) -> gelu"] * depth)
        text = (
            f"model {{\n  input x: float[128]\n  target y: float[128]\n  z = x -> {layers}\n  loss mse(z, y)\n}}\n"
            "train {\n  optimizer = sgd(lr = 0.1)\n  batch = 256\n}\n"
        )
        machine = replace(MACHINE, second_cache=1 << 18)
        tasks = lower(run_passes(training_graph(netc.parse(text))), 256, machine)
        return plan(tasks, dict.fromkeys(tasks.leaves, 0), 256, machine).private

    assert private(24) == private(12)


@pytest.mark.parametrize("rows", [28, 64, 128, 784])
def test_workers_share_rows_of_a_tall_tile(rows: int) -> None:
    """If no tile of 12 rows were cut, two workers would have 36 and 28 of 64 rows."""
    group = group_of_gradient(1, rows, 32)
    assert group.grain == GROUP < MACHINE.tile_rows
    assert group.row_block == rows or group.row_block % MACHINE.tile_rows == 0
