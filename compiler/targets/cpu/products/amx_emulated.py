"""AMX's instructions as functions over memory, for machines without AMX (see amx_tiles.py). Tests run them.

They obey the configuration, as the registers do: an operand has the rows and the bytes of a row that it says.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.llvm.function import BYTE, I32, I64, Function, Word
from netc.compiler.targets.machine import LINE

_TILE_BYTES = 1024
_CONFIGURATION = 8 * _TILE_BYTES  # its offset, behind the tiles
BYTES = _CONFIGURATION + LINE
_ROW_BYTES, _ROWS = 16, 48  # where the configuration has, for each tile, 16 bits and 8 bits
_HALF = ir.IntType(16)
_FLOAT = ir.FloatType()


def emulated(module: Any) -> dict[str, Function]:
    """Adds the functions to a module and returns them by the names of the intrinsics.

    Each takes the address of BYTES bytes for the registers, then the arguments of its intrinsic.
    """
    writers: dict[str, tuple[Callable[..., None], int]] = {
        "ldtilecfg": (_configure, 2),
        "tilerelease": (_release, 1),
        "tilezero": (_zero, 2),
        "tileloadd64": (_load, 4),
        "tilestored64": (_store, 4),
        "tdpbf16ps": (_multiply_add, 4),
    }
    functions = {}
    for name, (write, parameters) in writers.items():
        functions[name] = function = Function(module, f"emulated_{name}", parameters)
        write(function, *function.parameters)
        function.end()
    return functions


def _configure(function: Function, registers: Word, address: Word) -> None:
    _fill(function, registers, _CONFIGURATION)
    _copy(function, registers + _CONFIGURATION, address, LINE)


def _release(function: Function, registers: Word) -> None:
    _fill(function, registers, BYTES)


def _zero(function: Function, registers: Word, tile: Word) -> None:
    _fill(function, registers + tile * _TILE_BYTES, _TILE_BYTES)


def _load(function: Function, registers: Word, tile: Word, address: Word, row: Word) -> None:
    rows, row_bytes = _shape(function, registers, tile)
    to = registers + tile * _TILE_BYTES
    _fill(function, to, _TILE_BYTES)
    with function.loop(0, rows) as i:
        _copy(function, to + i.index * LINE, address + i.index * row, row_bytes)


def _store(function: Function, registers: Word, tile: Word, address: Word, row: Word) -> None:
    rows, row_bytes = _shape(function, registers, tile)
    source = registers + tile * _TILE_BYTES
    with function.loop(0, rows) as i:
        _copy(function, address + i.index * row, source + i.index * LINE, row_bytes)


def _multiply_add(function: Function, registers: Word, sums: Word, a: Word, b: Word) -> None:
    """Does nothing if the shapes of the tiles do not fit, where the instruction fails.

    The instruction adds products before they are rounded (Intel's manual, TDPBF16PS): of two bf16 numbers that matters
    only for products beyond the range of f32.
    """
    builder = function.builder
    totals = [builder.alloca(_FLOAT), builder.alloca(_FLOAT)]  # of the first and of the second numbers
    (rows, row_bytes), (rows_a, bytes_a), (rows_b, bytes_b) = (
        _shape(function, registers, tile) for tile in (sums, a, b)
    )
    fits = rows.equals(rows_a) & row_bytes.equals(bytes_b) & (rows_b * 4).equals(bytes_a)
    to, left, right = (registers + tile * _TILE_BYTES for tile in (sums, a, b))
    with function.when(fits), function.loop(0, rows) as i, function.loop(0, row_bytes, 4) as j:
        for total in totals:
            builder.store(ir.Constant(_FLOAT, 0.0), total)
        with function.loop(0, rows_b) as k:
            pairs = (left + i.index * LINE + k.index * 4, right + k.index * LINE + j.index)
            x, y = (_numbers(builder, builder.load(_at(function, address, I32))) for address in pairs)
            for total, first, second in zip(totals, x, y, strict=True):
                builder.store(builder.fma(first, second, builder.load(total)), total)
        pointer = _at(function, to + i.index * LINE + j.index, _FLOAT)
        added = builder.fadd(*(builder.load(total) for total in totals))
        builder.store(builder.fadd(builder.load(pointer), added), pointer)


def _numbers(builder: Any, pair: Any) -> tuple[Any, Any]:
    """The two bf16 numbers of a pair, in f32."""
    first, second = builder.shl(pair, ir.Constant(I32, 16)), builder.and_(pair, ir.Constant(I32, -(1 << 16)))
    return builder.bitcast(first, _FLOAT), builder.bitcast(second, _FLOAT)


def _shape(function: Function, registers: Word, tile: Word) -> tuple[Word, Word]:
    """The rows of a tile, and the bytes of a row."""
    builder, configuration = function.builder, registers + _CONFIGURATION

    def number(address: Word, kind: Any) -> Word:
        return Word(builder, builder.zext(builder.load(_at(function, address, kind)), I64))

    return number(configuration + _ROWS + tile, BYTE), number(configuration + _ROW_BYTES + tile * 2, _HALF)


def _fill(function: Function, address: Word, nbytes: int) -> None:
    """Fills memory with zeros."""
    with function.loop(0, nbytes, 4) as i:
        function.builder.store(ir.Constant(I32, 0), _at(function, address + i.index, I32))


def _copy(function: Function, to: Word, source: Word, nbytes: Word | int) -> None:
    with function.loop(0, nbytes, 4) as i:
        word = function.builder.load(_at(function, source + i.index, I32))
        function.builder.store(word, _at(function, to + i.index, I32))


def _at(function: Function, address: Word, kind: Any) -> Any:
    """The pointer to an address."""
    return function.builder.inttoptr(address.value, kind.as_pointer())
