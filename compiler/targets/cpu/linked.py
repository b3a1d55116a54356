"""Object code in memory, ready to be called: a loader for the objects that kernels and schedules become.

LLVM writes them with the large code model, so every address is a number of 64 bits: loading an object means copying its
sections and writing these numbers (relocations). This needs neither LLVM nor a linker, so a saved program runs without
importing either. Whatever is not understood raises Unloadable, and LLVM links instead (build.py).
"""

import ctypes
import mmap
import struct
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

from msgspec import Struct

ENTRY = "netc_run"  # the function that runs the schedule
# what object code may call: kernels call these functions of libm, and LLVM calls those that fill and copy memory
LIBM = frozenset(
    (
        *("pow", "exp", "exp2", "log", "log1p", "expm1", "tanh", "sin", "cos", "erf", "floor", "rint", "fmod", "sqrt"),
        *("powf", "expf", "exp2f", "logf", "log1pf", "expm1f", "tanhf", "sinf", "cosf", "erff", "floorf", "rintf"),
        *("fmodf", "sqrtf"),
    )
)
_CALLABLE = LIBM | {"memset", "memcpy", "memmove"}
_HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_ELF64_LITTLE_ENDIAN, _OBJECT, _X86_64 = b"\x7fELF\x02\x01\x01", 1, 62
_PROGRAM, _SYMBOLS, _RELOCATIONS, _NO_BITS, _BARE_RELOCATIONS, _UNWIND = 1, 2, 4, 8, 9, 0x70000001  # types of sections
_NEVER_RUN = (".ctors", ".dtors")  # sections of functions that a linker would have called at start and exit
_WRITE, _ALLOCATED, _THREAD_LOCAL = 1, 2, 0x400  # flags of sections
_ADDRESS_64, _OFFSET_64 = 1, 24  # relocations: R_X86_64_64 and R_X86_64_PC64
_LOCAL, _FIRST_SPECIAL = 0, 0xFF00  # the binding of a local symbol; numbers that are not sections
_LINE = 64


class Unloadable(Exception):
    """An object uses something that this loader does not know, or the system refuses executable memory."""


class Linked:
    """A program in machine code, over a context (see schedule/context.py). The code lives as long as this object.

    `step` is the object code of its schedule, `kernels` the names of its kernels in the cache, and `compiled` the
    number of kernels that were compiled for it.
    """

    def __init__(self, owner: Any, address: int, step: bytes = b"", kernels: Sequence[str] = (), compiled: int = 0):
        self._owner = owner  # of the code's memory
        self.step, self.kernels, self.compiled = step, tuple(kernels), compiled
        self._run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)

    def run(self, context: int) -> bool:
        """Runs the steps that the context at this address asks for, without Python's lock. False if another worker
        failed."""
        return bool(self._run(context) == 0)


class _Section(Struct, frozen=True):
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int

    @property
    def is_loaded(self) -> bool:
        """Whether it is part of the program in memory.

        Tables for unwinding are left out: nothing unwinds the stack through compiled code.
        """
        return bool(self.flags & _ALLOCATED and self.size and self.type != _UNWIND)


class _Object(Struct):
    """An object file: its sections, and the offset in the program's memory of each loaded section, by number."""

    content: bytes
    sections: list[_Section]
    offsets: dict[int, int]


def load(objects: Sequence[bytes]) -> tuple[Any, int]:
    """Loads objects into executable memory. Returns the memory's owner and the address of ENTRY. Raises Unloadable."""
    if sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise Unloadable("the machine is not of 64 bits")
    try:
        files, protected, size = _placed(objects)
        memory = mmap.mmap(-1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for file in files:
            for number, offset in file.offsets.items():
                section = file.sections[number]
                if section.type != _NO_BITS:
                    memory[offset : offset + section.size] = file.content[
                        section.offset : section.offset + section.size
                    ]
        defined = _defined(files, base)
        for file in files:
            _relocate(file, memory, base, defined)
    except (struct.error, IndexError, ValueError, OSError) as error:
        raise Unloadable(str(error)) from error
    if ENTRY not in defined:
        raise Unloadable(f"no object has the function {ENTRY}")
    if ctypes.CDLL(None, use_errno=True).mprotect(
        ctypes.c_void_p(base), ctypes.c_size_t(protected), mmap.PROT_READ | mmap.PROT_EXEC
    ):
        raise Unloadable("the system refuses executable memory")
    return memory, defined[ENTRY]


def _placed(objects: Sequence[bytes]) -> tuple[list[_Object], int, int]:
    """The objects with an offset for each section, the bytes of code and constants, and the bytes of everything.

    Data that may be written begins at a page of its own behind them; kernels have none.
    """
    files = [_Object(content, _sections(content), {}) for content in objects]
    size = 0
    ends = []
    for is_written in (False, True):
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        for file in files:
            for number, section in enumerate(file.sections):
                if not section.is_loaded or bool(section.flags & _WRITE) is not is_written:
                    continue
                if section.flags & _THREAD_LOCAL:
                    raise Unloadable("an object has data of each thread")
                if section.type not in (_PROGRAM, _NO_BITS) or section.name.startswith(_NEVER_RUN):
                    raise Unloadable(f"an object has a section {section.name} of the type {section.type}")
                alignment = max(section.alignment, _LINE)
                size = -(-size // alignment) * alignment
                file.offsets[number] = size
                size += section.size
        ends.append(size)
    return files, ends[0], ends[1]


def _sections(content: bytes) -> list[_Section]:
    """The sections of an object file."""
    if not content.startswith(_ELF64_LITTLE_ENDIAN):
        raise Unloadable("this is not an ELF object of 64 bits")
    kind, machine, _, _, _, start, _, _, _, _, _, count, number_of_names = _HEADER.unpack_from(content)
    if kind != _OBJECT or machine != _X86_64:
        raise Unloadable("this is not an object for x86-64")
    names = _SECTION.unpack_from(content, start + number_of_names * _SECTION.size)[4]  # where they are in the file
    sections = []
    for number in range(count):
        name, type_, flags, _, offset, size, link, info, alignment, _ = _SECTION.unpack_from(
            content, start + number * _SECTION.size
        )
        if type_ != _NO_BITS and offset + size > len(content):
            raise Unloadable("a section is outside of its file")
        sections.append(_Section(_text(content, names + name), type_, flags, offset, size, link, info, alignment))
    return sections


class _Symbol(Struct, frozen=True):
    name: str
    is_local: bool
    section: int
    value: int


def _symbol(file: _Object, table: int, number: int) -> _Symbol:
    """A symbol by its number in a symbol table."""
    symbols = file.sections[table]
    names = file.sections[symbols.link]
    name, info, _, section, value, _ = _SYMBOL.unpack_from(file.content, symbols.offset + number * _SYMBOL.size)
    return _Symbol(_text(file.content, names.offset + name), info >> 4 == _LOCAL, section, value)


def _text(content: bytes, start: int) -> str:
    """The text at a place of a file, which ends with a zero."""
    return content[start : content.index(b"\0", start)].decode()


def _defined(files: Sequence[_Object], base: int) -> dict[str, int]:
    """The addresses of the global symbols that the objects define."""
    defined: dict[str, int] = {}
    for file in files:
        for table, section in enumerate(file.sections):
            for number in range(section.size // _SYMBOL.size if section.type == _SYMBOLS else 0):
                symbol = _symbol(file, table, number)
                if not symbol.is_local and symbol.section:
                    if symbol.name in defined:
                        raise Unloadable(f"two objects define {symbol.name}")
                    defined[symbol.name] = _address(file, symbol, base)
    return defined


def _address(file: _Object, symbol: _Symbol, base: int) -> int:
    """The address of a symbol that an object defines."""
    if symbol.section >= _FIRST_SPECIAL or symbol.section not in file.offsets:
        raise Unloadable(f"{symbol.name} is in no section that is loaded")
    return base + file.offsets[symbol.section] + symbol.value


def _relocate(file: _Object, memory: mmap.mmap, base: int, defined: dict[str, int]) -> None:
    """Writes the addresses that the sections of an object contain."""
    for section in file.sections:
        if section.type not in (_RELOCATIONS, _BARE_RELOCATIONS) or section.info not in file.offsets:
            continue
        if section.type == _BARE_RELOCATIONS:
            raise Unloadable("relocations have no addends")
        target = file.sections[section.info]
        for at in range(section.offset, section.offset + section.size, _RELOCATION.size):
            offset, info, addend = _RELOCATION.unpack_from(file.content, at)
            if offset + 8 > target.size:
                raise Unloadable("a relocation is outside of its section")
            symbol, patched = _symbol(file, section.link, info >> 32), file.offsets[section.info] + offset
            address = _address(file, symbol, base) if symbol.section else _outside(symbol.name, defined)
            kind = info & 0xFFFFFFFF
            if kind not in (_ADDRESS_64, _OFFSET_64):
                raise Unloadable(f"a relocation is of the kind {kind}")
            value = address + addend - (base + patched if kind == _OFFSET_64 else 0)
            memory[patched : patched + 8] = (value % (1 << 64)).to_bytes(8, "little")


def _outside(name: str, defined: dict[str, int]) -> int:
    """The address of a symbol that an object uses and does not define."""
    if name in defined:
        return defined[name]
    if name not in _CALLABLE:
        raise Unloadable(f"an object calls {name}")
    function = _library_function(name)
    if function is None:
        raise Unloadable(f"no library has {name}")
    return function


@cache
def _library_function(name: str) -> int | None:
    """The address of a function of C's libraries, or None."""
    for library in ("libm.so.6", None):
        try:
            function = ctypes.CDLL(library)[name]
        except (OSError, AttributeError):
            continue
        return ctypes.cast(function, ctypes.c_void_p).value
    return None
