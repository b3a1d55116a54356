"""The product kernel for operands that are rounded to bf16, and where it is used.

On a machine without AVX512_BF16, two multiply-adds stand for its instruction, with the same bits.
"""

import re
from typing import Any

import numpy as np
import pytest
from exact_sums import TEXT, fields, set_parameters
from native import TARGETS, Kernel
from test_product_kernel import (
    border_cases,
    check_bits_of_pairs,
    check_bits_of_shares,
    check_product,
    paired_cases,
    plain_case,
    random_case,
)

import netc
from netc.compiler import pipeline
from netc.compiler.lowering.lower import lower
from netc.compiler.program.kernels import Contraction
from netc.compiler.targets.cpu.compile import kernel_module, target_machine
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import BLOCK, PACKED, PANELS, Machine
from netc.compiler.targets.named import NAMED, machine_for
from netc.dsl.structs import replace

PAIRS = source_of(Contraction("f32", of_pairs=True))
_ANY = 120  # random cases


@pytest.mark.parametrize("target", TARGETS)
def test_products_of_pairs_are_exact(target: str) -> None:
    machine = machine_for(target)
    kernel, rng = Kernel(PAIRS, machine), np.random.default_rng(1)
    for number, case in enumerate(border_cases("f32", machine)):
        if number % 3 == 0 or case.loops["depth"].count > 3:
            check_product(kernel, "f32", machine, case, rng, "bf16")
    for depth in (1, 2, 31, 33, 2 * PACKED - 1, 2 * PACKED + 1, 4 * PACKED + 3):  # an odd number, and around a strip
        for form in ({}, {"b_is_transposed": True}, {"runs": 3}):
            check_product(kernel, "f32", machine, plain_case(BLOCK + 3, 33, depth, **form), rng, "bf16")
    case = plain_case(3, PANELS * machine.panel("f32"), 8, PACKED // 4, b_is_transposed=True)  # all panels, runs packed
    check_product(kernel, "f32", machine, case, rng, "bf16")
    for case in paired_cases(rng):
        check_product(kernel, "f32", machine, case, rng, "bf16")
    for _ in range(_ANY):
        check_product(kernel, "f32", machine, random_case(rng, "f32", machine), rng, "bf16")


@pytest.mark.parametrize("target", TARGETS[-1:])
def test_tiles_of_every_height_are_exact(target: str) -> None:
    machine = machine_for(target)
    kernel, rng = Kernel(PAIRS, machine), np.random.default_rng(2)
    for rows in range(1, 53):
        for columns in (1, machine.lanes("f32"), machine.lanes("f32") + 1, machine.panel("f32") + 5):
            check_product(kernel, "f32", machine, plain_case(rows, columns, 5 + rows % 2, runs=2), rng, "bf16")


def test_an_element_has_the_same_bits_wherever_rows_and_columns_are_cut() -> None:
    machine = machine_for(TARGETS[-1])
    check_bits_of_shares(Kernel(PAIRS, machine), "f32", machine, "bf16")


def test_pairs_that_lie_ready_give_the_bits_of_copied_ones() -> None:
    machine = machine_for(TARGETS[-1])
    check_bits_of_pairs(Kernel(PAIRS, machine), machine)


def test_the_innermost_loop_consists_of_the_instruction_for_pairs() -> None:
    """As many as the tile has vectors of sums, and nothing is read from the stack.

    A tile of one vector, or of so many rows that registers are short, has no other instruction for its rows of a: the
    instruction for pairs repeats a pair in memory itself.
    """
    machine = NAMED["avx512bf16"]
    module, _ = kernel_module(PAIRS, machine)
    blocks = re.split(r"\n(?=[.\w]+:)|\n(?=\tj\w+\s)", target_machine(machine).emit_assembly(module))
    loops = [block for block in blocks if "vdpbf16ps" in block]
    assert not any("rsp" in block for block in loops)
    sizes = [(block.count("vdpbf16ps"), len(re.findall(r"^\s+v\w+", block, re.MULTILINE))) for block in loops]
    counts = {size: "1to16" in block for size, block in zip(sizes, loops, strict=True)}
    with_repeated = {(2 * rows, 3 * rows + 2): False for rows in (12, 8, 4)}
    assert counts == {**with_repeated, (28, 30): True, **{(rows, rows + 1): True for rows in (24, 16, 12, 8, 4)}}


def _products(text: str, machine: Machine) -> list[bool]:
    """Whether each product of a training step is one of pairs."""
    graph = pipeline.run_passes(pipeline.training_graph(netc.parse(text)))
    tasks = lower(graph, 8, machine).tasks
    return [task.kernel.of_pairs for task in tasks if isinstance(task.kernel, Contraction)]


def test_products_of_rounded_operands_are_those_of_pairs() -> None:
    text = TEXT.replace("PRECISION", "bf16")
    assert all(_products(text, NAMED["avx512bf16"]))
    assert not any(_products(text, NAMED["avx512"]))
    assert not any(_products(TEXT.replace("PRECISION", "f32"), NAMED["avx512bf16"]))
    few = "model {\n  input x: float[4]\n  output y = cumsum(x)\n}\ntrain { precision = bf16 }\n"
    graph = pipeline.run_passes(pipeline.prediction_graph(netc.parse(few)))
    assert not any(getattr(task.kernel, "of_pairs", False) for task in lower(graph, 8, NAMED["avx512bf16"]).tasks)


@pytest.mark.parametrize("backend", ["cpu", "plan"])
def test_a_network_of_pairs_has_the_gradients_of_the_interpreter(backend: Any) -> None:
    model, batch = netc.parse(TEXT.replace("PRECISION", "bf16")), fields()
    machine = replace(machine_for(), has_pairs=True)
    tested = netc.Program(model, backend=backend, threads=2, machine=machine)
    tested.workers.shares_small_steps = True
    expected = netc.Program(model, backend="reference")
    set_parameters(tested, expected)
    (_, gradients), (_, meant) = tested.gradients(batch), expected.gradients(batch)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, meant[name], err_msg=name)
