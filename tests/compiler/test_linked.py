"""The loader of object code refuses everything that it does not know, and runs nothing while it loads."""

import struct

import pytest

from netc.compiler.targets.cpu.linked import Unloadable, load

_CODE, _RELOCATIONS, _BARE_RELOCATIONS, _NOTE, _INITIALISERS, _INDIRECT = 1, 4, 9, 7, 14, 0x60000000


def assembled(text: str) -> bytes:
    """The object code of a text in LLVM IR, compiled like a schedule."""
    import llvmlite.binding as llvm

    from netc.compiler.targets.cpu.compile import start_llvm, target_machine
    from netc.compiler.targets.machine import host

    start_llvm()
    return bytes(target_machine(host()).emit_object(llvm.parse_assembly(text)))


TWICE = """
declare double @floor(double)
declare i64 @other(i64)
@counter = internal global i64 5
@table = internal constant [2 x i64] [i64 3, i64 4]
define i64 @netc_run(i64 %x) {
  %f = sitofp i64 %x to double
  %g = call double @floor(double %f)
  %y = fptosi double %g to i64
  %z = call i64 @other(i64 %y)
  %c = load volatile i64, ptr @counter
  store volatile i64 7, ptr @counter
  %t = load volatile i64, ptr getelementptr ([2 x i64], ptr @table, i64 0, i64 1)
  %a = add i64 %z, %c
  %b = add i64 %a, %t
  ret i64 %b
}
"""
OTHER = """
define i64 @other(i64 %x) {
  %y = mul i64 %x, 100
  ret i64 %y
}
"""


def test_objects_call_each_other_and_libm() -> None:
    import ctypes

    owner, address = load([assembled(TWICE), assembled(OTHER)])
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)
    assert run(3) == 300 + 5 + 4
    assert run(3) == 300 + 7 + 4, "data can be written"
    assert owner is not None


@pytest.mark.parametrize("name", ["system", "PyRun_SimpleString", "other"])
def test_nothing_but_libm_is_called(name: str) -> None:
    with pytest.raises(Unloadable):
        load([assembled(TWICE.replace("@other", f"@{name}"))])


def test_two_definitions_of_a_name_are_refused() -> None:
    with pytest.raises(Unloadable):
        load([assembled(TWICE), assembled(OTHER), assembled(OTHER)])


def test_code_without_an_entry_is_refused() -> None:
    with pytest.raises(Unloadable):
        load([assembled(OTHER)])


@pytest.mark.parametrize("machine", [3, 183, 243])
def test_code_for_another_processor_is_refused(machine: int) -> None:
    content = bytearray(assembled(OTHER))
    struct.pack_into("<H", content, 18, machine)
    with pytest.raises(Unloadable):
        load([bytes(content)])


def with_type(content: bytes, before: int, after: int) -> bytes:
    """An object whose sections of one type, as far as they are loaded or relocate such sections, have another one."""
    changed = bytearray(content)
    start, count = struct.unpack_from("<Q", content, 40)[0], struct.unpack_from("<H", content, 60)[0]
    for header in range(start, start + 64 * count, 64):
        _, type_, flags = struct.unpack_from("<IIQ", content, header)
        if type_ == before and (flags & 2 or type_ == _RELOCATIONS):
            struct.pack_into("<I", changed, header + 4, after)
    assert changed != content
    return bytes(changed)


@pytest.mark.parametrize("type_", [_NOTE, _INITIALISERS, _INDIRECT])
def test_loaded_sections_of_other_types_are_refused(type_: int) -> None:
    with pytest.raises(Unloadable, match=f"of the type {type_}"):
        load([assembled(TWICE), with_type(assembled(OTHER), _CODE, type_)])


def test_relocations_without_addends_are_refused() -> None:
    with pytest.raises(Unloadable, match="no addends"):
        load([with_type(assembled(TWICE), _RELOCATIONS, _BARE_RELOCATIONS), assembled(OTHER)])


@pytest.mark.parametrize("table", ["ctors", "dtors"])
def test_functions_to_run_at_the_start_or_the_end_are_refused(table: str) -> None:
    text = f"""
define internal void @start() {{
  store volatile i64 9, ptr @counter
  ret void
}}
%entry = type {{ i32, ptr, ptr }}
@llvm.global_{table} = appending global [1 x %entry] [%entry {{ i32 1, ptr @start, ptr null }}]
"""
    with pytest.raises(Unloadable, match="has a section"):
        load([assembled(TWICE + text), assembled(OTHER)])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.6, 0.9])
def test_an_object_that_is_cut_off_is_refused(share: float) -> None:
    content = assembled(TWICE)
    with pytest.raises(Unloadable):
        load([content[: int(share * len(content))], assembled(OTHER)])


def test_broken_headers_are_refused_or_harmless() -> None:
    """Whatever the headers say, loading writes only to its own memory. Nothing is run here."""
    content, other = assembled(TWICE), assembled(OTHER)
    refused = 0
    for at in range(16, len(content), 5):
        broken = bytearray(content)
        broken[at] ^= 0x41
        try:
            load([bytes(broken), other])
        except Unloadable:
            refused += 1
    assert refused > 20
