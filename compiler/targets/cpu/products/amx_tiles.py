"""AMX: eight tile registers of 16 rows x 64 bytes, and the instructions on them as LLVM's intrinsics.

A row of a tile holds 16 sums in f32, or 16 pairs of bf16 numbers (llvm/bf16_pairs.py). `multiply_add` adds to each sum
of a tile the products of a row of pairs in one tile with a column of pairs in another one. Its order: the first numbers
of all pairs are summed, then the second ones, and both sums are added to what the tile had (Intel's manual, TDPBF16PS).

On a machine without AMX, functions of amx_emulated.py stand for the instructions, with the same bits. The numbers of
tiles are fixed in the code, so LLVM allocates no tile register and moves none to the stack.
"""

from collections.abc import Mapping
from typing import Any

from llvmlite import ir
from msgspec import Struct

from netc.compiler.targets.cpu.llvm.function import BYTE, I64, Function, Number, Word, value_of
from netc.compiler.targets.cpu.products import amx_emulated
from netc.compiler.targets.machine import LINE, TILE, Machine

# The 64 bytes that configure the eight registers, as words: palette 1, and for each the bytes of a row and the rows.
CONFIGURATION = (1, 0, *[0x1_0001_0001_0001 * LINE] * 2, 0, 0, 0x101_0101_0101_0101 * TILE, 0)


def emulation_for(module: Any, machine: Machine) -> Mapping[str, Function] | None:
    """Adds the functions to a module that stand for the instructions on a machine; None if it has AMX."""
    return None if machine.has_amx else amx_emulated.emulated(module)


class AmxTiles(Struct, frozen=True):
    """Writes AMX's instructions into a function.

    `emulation` is that of `emulation_for`; if there is one, `registers` is the address of the memory in place of the
    registers. Addresses and distances of rows are in bytes.
    """

    function: Function
    emulation: Mapping[str, Function] | None
    registers: Word

    @classmethod
    def configured(cls, function: Function, emulation: Mapping[str, Function] | None) -> "AmxTiles":
        """Makes all tiles 16 rows x 64 bytes and fills them with zeros, for this thread."""
        builder, registers = function.builder, function.number(0)
        if emulation is not None:
            registers = Word(builder, builder.ptrtoint(builder.alloca(BYTE, amx_emulated.BYTES), I64))
        tiles = cls(function, emulation, registers)
        memory = builder.alloca(I64, len(CONFIGURATION))
        memory.align = LINE
        for index, word in enumerate(CONFIGURATION):
            builder.store(ir.Constant(I64, word), builder.gep(memory, [ir.Constant(I64, index)]))
        tiles._write("ldtilecfg", [], Word(builder, builder.ptrtoint(memory, I64)))
        return tiles

    def release(self) -> None:
        """Gives the registers up, so that a change of threads need not save them."""
        self._write("tilerelease", [])

    def zero(self, tile: int) -> None:
        self._write("tilezero", [tile])

    def load(self, tile: int, address: Word, row: Number) -> None:
        """Loads a tile whose rows are `row` apart."""
        self._write("tileloadd64", [tile], address, row)

    def store(self, tile: int, address: Word, row: Number) -> None:
        """Stores a tile into rows that are `row` apart."""
        self._write("tilestored64", [tile], address, row)

    def multiply_add(self, sums: int, a: int, b: int) -> None:
        """Adds the products of rows of a with columns of b, whose row k has the pairs number k of all columns."""
        self._write("tdpbf16ps", [sums, a, b])

    def _write(self, name: str, tiles: list[int], address: Word | None = None, row: Number | None = None) -> None:
        function, builder = self.function, self.function.builder
        if self.emulation is not None:
            self.emulation[name](function, self.registers, *tiles, *(n for n in (address, row) if n is not None))
            return
        values: list[Any] = [ir.Constant(BYTE, tile) for tile in tiles]
        values += [] if address is None else [builder.inttoptr(address.value, BYTE.as_pointer())]
        values += [] if row is None else [value_of(row)]
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(function.declared(f"llvm.x86.{name}", kind), values)
