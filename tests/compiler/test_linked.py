"""The loader of object code: what it does not know it refuses, and it runs nothing meanwhile."""

import struct

import pytest

from netc.compiler.targets.cpu.linked import Unloadable, load


def assembled(text: str) -> bytes:
    """The object code of a text of LLVM, as schedules are compiled."""
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


def test_two_definitions() -> None:
    with pytest.raises(Unloadable):
        load([assembled(TWICE), assembled(OTHER), assembled(OTHER)])


def test_no_entry() -> None:
    with pytest.raises(Unloadable):
        load([assembled(OTHER)])


@pytest.mark.parametrize("machine", [3, 183, 243])
def test_another_processor(machine: int) -> None:
    content = bytearray(assembled(OTHER))
    struct.pack_into("<H", content, 18, machine)
    with pytest.raises(Unloadable):
        load([bytes(content)])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.6, 0.9])
def test_a_cut_object(share: float) -> None:
    content = assembled(TWICE)
    with pytest.raises(Unloadable):
        load([content[: int(share * len(content))], assembled(OTHER)])


def test_broken_headers_are_refused_or_harmless() -> None:
    """Whatever the headers say, loading writes inside of its own memory; nothing is run here."""
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
