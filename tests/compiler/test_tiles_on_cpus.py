"""The register tile's code for CPUs that LLVM schedules differently, whether this machine can run it or not."""

import re
from typing import Any

import pytest
from llvmlite import ir

from netc.compiler.program.kernels import Contraction, Gathered
from netc.compiler.targets.cpu.compile import kernel_module, optimised, start_llvm, target_machine
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.cpu.products.panel_kernel import FIELDS
from netc.compiler.targets.cpu.products.tile import Kind, tile
from netc.compiler.targets.cpu.products.tile_sizes import all_sizes, copying_sizes, far_sizes, sizes
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.machine import VECTORS, Machine

# LLVM has a scheduling model for each of these, which others of their makers share.
AVX2 = ("alderlake", "broadwell", "haswell", "skylake", "x86-64-v3", "znver1", "znver2", "znver3")
AVX512 = ("icelake-server", "sapphirerapids", "skylake-avx512", "x86-64-v4", "znver4", "znver5")
GATHERED: tuple[Gathered, ...] = ("", "depth", "rows")


def machine_of(cpu: str) -> Machine:
    is_wide = cpu in AVX512
    return Machine(cpu, "", 64 if is_wide else 32, True, 32 if is_wide else 16)


def loop_of_depth(machine: Machine, gathered: Gathered, kind: Kind = "") -> str:
    """The assembly of the innermost loop of the tallest and widest tile."""
    start_llvm()
    module, size = ir.Module("tile"), sizes(machine)[1]
    tile(module, size, Lanes("f32", machine), FIELDS, gathered, kind).function.linkage = "external"
    (loop,) = loops_of(optimised(module, machine), machine)
    assert loop.count("vfmadd") == size.height * size.vectors
    return loop


def loops_of(module: Any, machine: Machine) -> list[str]:
    """The assembly of the blocks that multiply and add."""
    assembly = target_machine(machine).emit_assembly(module)
    return [block for block in re.split(r"^\S+:|^\s+j\w+\s", assembly, flags=re.MULTILINE) if "vfmadd" in block]


def check_registers(loop: str) -> None:
    assert not re.search(r"\bvmov\w+\s+%[xyz]mm", loop), "a vector is stored, or copied to another register"
    assert not re.search(r"\(%r[bs]p\).*%[xyz]mm", loop), "a vector is read from the stack"


@pytest.mark.every(3)
@pytest.mark.parametrize("gathered", GATHERED)
@pytest.mark.parametrize("cpu", sorted(AVX2 + AVX512))
def test_the_loop_of_a_tile_moves_no_sum_between_registers_or_to_memory(cpu: str, gathered: Gathered) -> None:
    check_registers(loop_of_depth(machine_of(cpu), gathered))


@pytest.mark.every(2)
@pytest.mark.parametrize("gathered", GATHERED)
@pytest.mark.parametrize("cpu", ["haswell", "icelake-server"])
def test_a_tile_that_copies_stores_only_what_it_has_loaded(cpu: str, gathered: Gathered) -> None:
    """Beside each vector of b, it moves no vector to memory: of sums and copies, all stay in registers."""
    machine = machine_of(cpu)
    check_copies(loop_of_depth(machine, gathered, "copying"), sizes(machine)[1].vectors)


def check_copies(loop: str, vectors: int) -> None:
    stores = re.findall(r"\bvmov\w+\s+(%[xyz]mm\d+), \d*\((%\w+)\)", loop)
    loads = re.findall(r"\bvmov\w+\s+\d*\((?!%r[bs]p)[^)]*\), (%[xyz]mm\d+)", loop)
    assert [register for register, _ in stores] == loads
    assert len(loads) == vectors
    assert not {base for _, base in stores} & {"%rsp", "%rbp"}


@pytest.mark.long
def test_nor_do_those_of_a_kernel() -> None:
    """For servers of Ice Lake, LLVM loaded elements of more rows than there were registers for, in one of the tiles."""
    machine = machine_of("icelake-server")
    module, _ = kernel_module(source_of(Contraction("f32", gathered="rows")), machine)
    loops = loops_of(module, machine)
    copying = [loop for loop in loops if re.search(r"\bvmov\w+\s+%zmm\d+, \d*\(", loop)]
    assert len(copying) == len(copying_sizes(machine))
    assert len(loops) == len(all_sizes(machine)) + len(copying) + len(far_sizes(machine, True))
    for loop in loops:
        if loop in copying:
            check_copies(loop, VECTORS)
        else:
            check_registers(loop)


@pytest.mark.parametrize("cpu", ["haswell", "skylake-avx512"])
def test_the_loop_of_a_tile_has_few_instructions_beside_multiply_adds(cpu: str) -> None:
    """These CPUs begin four instructions in a cycle, two of them multiply-adds. A step loads b and an element of each
    row, prefetches two lines, moves two addresses of lines, that of b and one for each four rows, and counts down."""
    machine = machine_of(cpu)
    height, vectors = sizes(machine)[1].height, sizes(machine)[1].vectors
    loop = loop_of_depth(machine, "")
    instructions = [line for line in loop.splitlines() if re.match(r"\s+[a-z]", line)]
    assert len(instructions) <= height * vectors + vectors + height + 2 + 2 + 1 + -(-height // 4) + 1
