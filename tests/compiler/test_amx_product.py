"""The product kernel in tiles of AMX, and where it is used.

On a machine without AMX, functions of amx_emulated.py stand for its instructions, with the same bits. On one with it,
the tests of all targets run the instructions too.
"""

import ctypes
import re
from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from exact_sums import TEXT, fields
from llvmlite import ir
from native import TARGETS, Kernel
from test_product_kernel import (
    Case,
    border_cases,
    call,
    check_bits_of_pairs,
    check_bits_of_shares,
    check_product,
    paired_cases,
    plain_case,
    random_case,
)

import netc
from netc.compiler import pipeline
from netc.compiler.ir.bf16 import as_bf16
from netc.compiler.lowering.lower import lower
from netc.compiler.program.kernels import Contraction
from netc.compiler.targets import amx, machine, named
from netc.compiler.targets.cpu import target as cpu
from netc.compiler.targets.cpu.compile import kernel_module, start_llvm, target_machine
from netc.compiler.targets.cpu.llvm.function import Function
from netc.compiler.targets.cpu.products import amx_emulated
from netc.compiler.targets.cpu.products.amx_tiles import CONFIGURATION
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import BLOCK, PACKED, TILE, Machine
from netc.compiler.targets.named import NAMED, machine_for
from netc.compiler.targets.processor import Processor
from netc.compiler.targets.target import Code
from netc.dsl.structs import replace
from netc.runtime.verification import report

IN_TILES = source_of(Contraction("f32", of_pairs=True, in_tiles=True))
_ANY = 200  # random cases
_DEPTH = 2 * TILE  # numbers that a tile adds to a sum
_Words = np.ndarray[Any, Any]


def with_tiles(target: str) -> Machine:
    """A target as if it had AMX: if it has not, the instructions are emulated."""
    return replace(machine_for(target), has_pairs=True, has_tiles=True)


def image_case(rows: int, columns: int, depth: int, runs: int, turns: int) -> Case:
    """The gradient of a convolution's weights: rows of a are channels, side by side, and the depth are the elements of
    the rows of images, which have two more as a border."""
    case = plain_case(rows, columns, depth, runs, has_start=True)
    case.loops["rows"] = replace(case.loops["rows"], a=1)
    case.loops["depth"] = replace(case.loops["depth"], a=rows + 2)
    case.loops["runs"] = replace(case.loops["runs"], a=(rows + 2) * (depth + 2))
    moved = {"a": (rows + 2) * (depth + 2) * (runs + 2), "b": columns * depth * runs}
    case.loops["turns"] = replace(case.loops["turns"], count=turns, **moved)
    return case


@pytest.mark.parametrize("target", TARGETS)
def test_products_in_tiles_are_exact(target: str) -> None:
    """Counts around the borders of tiles, of blocks of them and of strips, in every way in which operands may lie."""
    tested = with_tiles(target)
    kernel, rng = Kernel(IN_TILES, tested), np.random.default_rng(1)
    assert ("llvm.x86.tdpbf16ps" in kernel.text) == ("emulated" not in kernel.text) == tested.has_amx
    for number, case in enumerate(border_cases("f32", tested)):
        if number % 3 == 0 or case.loops["depth"].count > 3:
            check_product(kernel, "f32", tested, case, rng, "bf16")
    around = sorted({1, *(TILE * number + more for number in (1, 2, 4) for more in (-1, 0, 1))})
    for rows in around:
        for columns in around:
            case = plain_case(rows, columns, 1 + (rows + columns) % 67, 1, bool(rows % 2), bool(columns % 2))
            check_product(kernel, "f32", tested, case, rng, "bf16")
    for depth in (1, 2, 31, 33, 2 * PACKED - 1, 2 * PACKED + 1, 4 * PACKED + 3):  # an odd number, and around a strip
        for form in ({}, {"b_is_transposed": True}, {"runs": 3}):
            check_product(kernel, "f32", tested, plain_case(BLOCK + 3, 33, depth, **form), rng, "bf16")
        case = plain_case(BLOCK + 3, 33, depth, has_start=True)  # rows of a lie side by side
        case.loops["rows"] = replace(case.loops["rows"], a=1)
        case.loops["depth"] = replace(case.loops["depth"], a=BLOCK + 5)
        check_product(kernel, "f32", tested, case, rng, "bf16")
    for depth, runs, turns in ((14, 14, 3), (7, 5, 4), (1, 33, 2), (33, 2, 2), (2 * PACKED + 1, 2, 1)):
        check_product(kernel, "f32", tested, image_case(BLOCK + 3, 33, depth, runs, turns), rng, "bf16")
    for depth in (TILE, 2 * TILE, 6 * TILE, 2 * PACKED, 2 * PACKED + 2 * TILE):  # a is read where it lies, if whole
        for rows in (2 * TILE - 1, 2 * TILE, 13 * TILE):
            check_product(kernel, "f32", tested, plain_case(rows, 35, depth, has_start=True), rng, "bf16")
        check_product(kernel, "f32", tested, plain_case(TILE, TILE, depth, 3), rng, "bf16")
    for rows, row in ((14, 32), (14, 64), (30, 128), (17, 16), (1, 16), (15, -32), (20, 0), (3, 32)):
        case = plain_case(
            rows, 33, 3 * TILE * 2, 3, has_start=True
        )  # windows of a row of an image, read where they lie
        case.loops["rows"] = replace(case.loops["rows"], a=row)
        case.loops["runs"] = replace(case.loops["runs"], a=(rows + 2) * 64)
        check_product(kernel, "f32", tested, case, rng, "bf16")
    for case in paired_cases(rng):
        check_product(kernel, "f32", tested, case, rng, "bf16")
    for _ in range(_ANY):
        check_product(kernel, "f32", tested, random_case(rng, "f32", tested), rng, "bf16")


def test_an_element_has_the_same_bits_wherever_rows_and_columns_are_cut() -> None:
    tested = with_tiles(TARGETS[-1])
    check_bits_of_shares(Kernel(IN_TILES, tested), "f32", tested, "bf16")


def test_pairs_that_lie_ready_give_the_bits_of_copied_ones() -> None:
    tested = with_tiles(TARGETS[-1])
    check_bits_of_pairs(Kernel(IN_TILES, tested), tested)


@pytest.mark.parametrize("target", TARGETS[-1:])
def test_sums_have_the_order_of_the_instruction(target: str) -> None:
    """For each 32 numbers, the sum of products at even places plus that at odd ones is added to the sum."""
    rows, depth, columns = 37, 2 * PACKED + 45, 41
    tested, rng = with_tiles(target), np.random.default_rng(2)
    case = plain_case(rows, columns, depth, has_start=True)
    memories = {name: case.memory(name, "bf16" if name in ("a", "b") else "f32") for name in ("a", "b", "c", "start")}
    for name in ("a", "b", "start"):
        memories[name].fill(lambda count: as_bf16(rng.standard_normal(count, np.float32)))
    pack = np.full(tested.pack_elements("f32"), np.nan, np.float32)
    call(Kernel(IN_TILES, tested), case, memories, pack)
    a, b = (np.float32(memories[name].values) for name in ("a", "b"))
    a, b = a.reshape(rows, depth), b.reshape(depth, columns)
    expected = np.broadcast_to(memories["start"].values, (1, 1, 1, rows, columns)).reshape(rows, columns)
    for begin in (tile for strip in range(0, depth, 2 * PACKED) for tile in _tiles_of(strip, depth)):
        end = min(begin + _DEPTH, depth)
        halves = [np.zeros((rows, columns), np.float32) for _ in range(2)]
        for k in range(begin, end):
            halves[(k - begin) % 2] += a[:, k, None] * b[k]
        expected = expected + (halves[0] + halves[1])
    np.testing.assert_array_equal(memories["c"].values.reshape(rows, columns), expected)


def _tiles_of(strip: int, depth: int) -> Iterator[int]:
    """The places along the depth at which tiles of a strip begin."""
    yield from range(strip, min(strip + 2 * PACKED, depth), _DEPTH)


def test_the_innermost_loop_consists_of_tile_instructions() -> None:
    """A block of 2 x 2 tiles: four loads and four products for each 32 of the depth. No tile goes to the stack."""
    module, _ = kernel_module(IN_TILES, NAMED["amx"])
    assembly = target_machine(NAMED["amx"]).emit_assembly(module)
    assert "emulated" not in assembly
    assert (assembly.count("ldtilecfg"), assembly.count("tilerelease")) == (1, 1)
    blocks = re.split(r"\n(?=[.\w]+:)|\n(?=\tj\w+\s)", assembly)
    loops = {block.count("tdpbf16ps"): block for block in blocks if "tdpbf16ps" in block}
    assert sorted(block.count("tdpbf16ps") for block in blocks if "tdpbf16ps" in block) == [1, 2, 2, 4]
    assert loops[4].count("tileloadd") == 4
    instructions = re.findall(r"^\t(\w+)", loops[4], re.MULTILINE)
    assert {name for name in instructions if name not in ("tileloadd", "tdpbf16ps")} <= {"addq", "leaq", "cmpq"}
    tiles = [line for line in assembly.splitlines() if "tmm" in line]
    assert not any("rsp" in line for line in tiles)
    # each tile of sums is loaded or filled with zeros, and stored once
    assert sum("tilestored" in line for line in tiles) == sum("tilezero" in line for line in tiles) == 4 + 2 + 2 + 1
    assert sum("tileloadd" in line for line in tiles) == 4 + 2 + 2 + 1 + (4 + 3 + 3 + 2)


class _Registers:
    """The emulated registers: a function of a script of instructions, each a name and the numbers of tiles."""

    def __init__(self, script: list[tuple[str, tuple[int, ...]]]) -> None:
        """Arguments of the function: the registers, then an address and a distance for each instruction."""
        start_llvm()
        module = ir.Module("script")
        functions = amx_emulated.emulated(module)
        run = Function(module, "run", 1 + 2 * len(script), is_internal=False)
        for number, (name, tiles) in enumerate(script):
            words = run.parameters[1 + 2 * number : 3 + 2 * number]
            takes = {"ldtilecfg": 1, "tileloadd64": 2, "tilestored64": 2}.get(name, 0)
            functions[name](run, run.parameters[0], *tiles, *words[:takes])
        run.end()
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), target_machine(machine_for(TARGETS[0])))
        engine.finalize_object()
        self._engine, self._arguments = engine, 1 + 2 * len(script)

    def __call__(self, *arguments: int) -> None:
        memory = np.full(amx_emulated.BYTES, 0xFF, np.uint8)
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * self._arguments)
        kind(self._engine.get_function_address("run"))(memory.ctypes.data, *arguments)


def _configuration(shapes: dict[int, tuple[int, int]]) -> _Words:
    """The 64 bytes that give some tiles their rows and the bytes of a row."""
    content = np.zeros(64, np.uint8)
    content[0] = 1
    for tile, (rows, row_bytes) in shapes.items():
        content[16 + 2 * tile], content[48 + tile] = row_bytes, rows
    return content


def test_the_configuration_of_the_kernel_makes_all_tiles_whole() -> None:
    content = _configuration(dict.fromkeys(range(8), (TILE, 64)))
    assert np.array(CONFIGURATION, np.uint64).tobytes() == content.tobytes()


@pytest.mark.parametrize("fits", [True, False])
def test_emulated_tiles_have_the_rows_and_columns_of_their_configuration(fits: bool) -> None:
    """3 x 5 sums of 2 pairs each. The products of tiles whose shapes do not fit are not added."""
    rng = np.random.default_rng(3)
    configuration = _configuration({0: (3, 20), 4: (3, 8), 6: (2 if fits else 3, 20)})
    a, b = (as_bf16(rng.standard_normal(shape, np.float32)) for shape in ((3, 2, 2), (3, 5, 2)))
    left, right = (np.ascontiguousarray(x.view(np.uint32) >> 16).astype(np.uint16) for x in (a, b))
    sums, result = rng.standard_normal((3, 7), np.float32), np.full((4, 7), np.nan, np.float32)
    script = [("ldtilecfg", ()), ("tileloadd64", (0,)), ("tileloadd64", (4,)), ("tileloadd64", (6,))]
    script += [("tdpbf16ps", (0, 4, 6)), ("tilestored64", (0,)), ("tilerelease", ()), ("tilestored64", (0,))]
    operands = ((configuration, 0), (sums, 28), (left, 8), (right, 20), (sums, 0), (result, 28), (sums, 0), (sums, 28))
    before = sums.copy()
    _Registers(script)(*(number for array, row in operands for number in (array.ctypes.data, row)))
    products = [a[:, None, 0, half] * b[0, :, half] + a[:, None, 1, half] * b[1, :, half] for half in (0, 1)]
    expected = sums[:, :5] + (products[0] + products[1]) * np.float32(fits)
    np.testing.assert_array_equal(result[:3, :5], expected)
    assert np.isnan(result[3]).all()
    assert np.isnan(result[:, 5:]).all()
    assert (sums == before).all(), "a tile without configuration is not stored"


def test_emulated_products_are_added_before_they_are_rounded() -> None:
    """-2^127 + 2^128: the second product is larger than every f32, the sum is not."""
    a, b = np.float32([[-(2.0**100), 2.0**100]]), np.float32([[2.0**27], [2.0**28]])
    left, right = (np.zeros((2, 2), np.uint16) for _ in range(2))  # pairs, each with a zero behind the number
    left[:, 0], right[:, 0] = a.view(np.uint32)[0] >> 16, b.view(np.uint32)[:, 0] >> 16
    configuration, sums = _configuration({0: (1, 4), 4: (1, 8), 6: (2, 4)}), np.zeros(1, np.float32)
    script = [("ldtilecfg", ()), ("tilezero", (0,)), ("tileloadd64", (4,)), ("tileloadd64", (6,))]
    script += [("tdpbf16ps", (0, 4, 6)), ("tilestored64", (0,))]
    operands = ((configuration, 0), (sums, 0), (left, 8), (right, 4), (sums, 0), (sums, 4))
    _Registers(script)(*(number for array, row in operands for number in (array.ctypes.data, row)))
    assert sums[0] == np.float32(2.0**127)


# ------------------------------------------------------------------ where it is used

_WIDE = TEXT.replace("PRECISION", "bf16").replace("dense(8)", "dense(64)")  # 32 x 64 weights


def _products(text: str, machine: Machine) -> list[Contraction]:
    """The products of a training step."""
    graph = pipeline.run_passes(pipeline.training_graph(netc.parse(text)))
    return [task.kernel for task in lower(graph, 8, machine).tasks if isinstance(task.kernel, Contraction)]


def test_large_products_of_pairs_are_in_tiles() -> None:
    """Which ones depends on the target and on sizes, not on the number of threads."""
    kernels = _products(_WIDE, NAMED["amx"])
    assert {kernel.in_tiles for kernel in kernels} == {True, False}
    assert all(kernel.of_pairs for kernel in kernels if kernel.in_tiles)
    assert kernels == _products(_WIDE, replace(NAMED["amx"], cores=64))
    without = [replace(kernel, in_tiles=False) for kernel in kernels]
    assert without == _products(_WIDE, NAMED["avx512bf16"])
    assert not any(kernel.in_tiles for kernel in _products(_WIDE.replace("bf16", "f32"), NAMED["amx"]))


@pytest.mark.parametrize("backend", ["cpu", "plan"])
def test_a_network_in_tiles_has_the_gradients_of_the_interpreter(backend: Any) -> None:
    model, batch = netc.parse(_WIDE), fields()
    tested = netc.Program(model, backend=backend, threads=2, machine=with_tiles(TARGETS[-1]))
    tested.workers.shares_small_steps = True
    assert any(kernel.in_tiles for kernel in _products(_WIDE, tested.machine))
    expected = netc.Program(model, backend="reference")
    rng = np.random.default_rng(4)
    for name, array in tested.parameters.items():
        array[...] = expected.parameters[name][...] = np.float32(rng.integers(-2, 3, array.shape) / 4)  # sums are exact
    (_, gradients), (_, meant) = tested.gradients(batch), expected.gradients(batch)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, meant[name], err_msg=name)


# ------------------------------------------------------------------ permission

_PROCESSOR = Processor("sapphirerapids", "+avx2,+fma,+avx512f,+avx512bf16,+amx-tile,+amx-bf16")


@pytest.mark.parametrize("is_permitted", [True, False])
def test_a_process_without_permission_uses_pairs(monkeypatch: pytest.MonkeyPatch, is_permitted: bool) -> None:
    for module in (machine, named):
        monkeypatch.setattr(module, "processor", lambda: _PROCESSOR)
    for module in (amx, named):
        monkeypatch.setattr(module, "is_permitted", lambda: is_permitted)
    described = machine._host.__wrapped__()
    assert (described.has_pairs, described.has_tiles, described.has_amx) == (True, is_permitted, True)
    monkeypatch.setattr(named, "_host_features", named._host_features.__wrapped__)
    assert ("amx-tile" in named._missing("amx")) == (not is_permitted)
    monkeypatch.setattr(report, "machine_for", lambda: described)
    assert ("Linux does not let this process use tiles" in report.environment()["target"]) == (not is_permitted)


def test_a_target_that_linux_does_not_permit_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    permitted = dict.fromkeys(named._NEEDED["avx512bf16"], True)
    sets = ",".join(f"+{name}" for name in named._NEEDED["amx"])
    monkeypatch.setattr(named, "processor", lambda: Processor("sapphirerapids", sets))
    monkeypatch.setattr(named, "_host_features", lambda: permitted)
    with pytest.raises(ValueError, match=r"(?s)does not let this process use amx-tile, amx-bf16.*hint: .*avx512bf16"):
        machine_for("amx")


def test_a_description_of_another_process_asks_for_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `Machine` that was sent to a process in which nobody asked what the host is."""
    program = netc.Program(netc.parse(_WIDE), threads=1, machine=NAMED["amx"])
    monkeypatch.setattr(named, "is_permitted", lambda: False)
    monkeypatch.setattr(named, "_host_features", named._host_features.__wrapped__)
    with pytest.raises(ValueError, match="this machine cannot run code for amx"):
        program.gradients(fields())


def test_saved_code_in_tiles_is_not_opened_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_cache(name: str) -> bytes:
        raise AssertionError("the code is looked for")

    monkeypatch.setattr(amx, "is_permitted", lambda: False)
    monkeypatch.setattr(cpu.cache, "read_named", no_cache)
    saved = Code(b"", ("0" * 32,), None)  # type: ignore[arg-type]  # the layout is not read
    assert cpu.Cpu(NAMED["amx"]).reopen(saved, 1) is None
    with pytest.raises(AssertionError, match="looked for"):
        cpu.Cpu(NAMED["avx512bf16"]).reopen(saved, 1)  # type: ignore[arg-type]


def test_the_system_grants_tiles_exactly_if_the_processor_has_them() -> None:
    features = llvm.get_host_cpu_features()
    if amx.is_permitted():
        assert features.get("amx-tile")
    assert ("amx" in TARGETS) == (amx.is_permitted() and all(features.get(name) for name in named._NEEDED["amx"]))
