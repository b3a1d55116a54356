"""Named target descriptions, and the choice of one by its text, by the variable NETC_TARGET, or by default the host.

    NETC_TARGET=avx2:l1=16K,l2=64K,cores=3

A name is an instruction set; the settings behind it replace numbers that decide plans. For tests and bug reports: one
machine runs code for every instruction set below its own, and plans for caches that it does not have.
"""

import os
import re
from difflib import get_close_matches
from functools import cache
from typing import Any, NoReturn

from netc.compiler.targets.amx import is_permitted
from netc.compiler.targets.machine import AMX, Machine, cores, host
from netc.compiler.targets.processor import processor
from netc.dsl.diagnostics import Diagnostic, Fault, Label
from netc.dsl.source import Source, Span
from netc.dsl.structs import replace

VARIABLE = "NETC_TARGET"
# The levels of x86-64 that the psABI names v1, v3 and v4, and the caches of a common CPU of each.
_SSE2 = Machine("x86-64", "", 16, False, 16, 32 << 10, 256 << 10)
_AVX2 = Machine("x86-64-v3", "", 32, True, 16, 32 << 10, 512 << 10)
_AVX512 = Machine("x86-64-v4", "", 64, True, 32, 32 << 10, 1 << 20)
_AVX512_BF16 = replace(_AVX512, features="+avx512bf16", has_pairs=True)
_AMX = replace(
    _AVX512_BF16,
    features="+avx512bf16,+amx-tile,+amx-bf16",
    has_tiles=True,
    first_cache=48 << 10,
    second_cache=2 << 20,
)
NAMED = {"sse2": _SSE2, "avx2": _AVX2, "avx512": _AVX512, "avx512bf16": _AVX512_BF16, "amx": _AMX}
_NEEDED = {
    "sse2": ("sse2",),
    "avx2": ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
    "avx512": ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "avx512f", "avx512bw", "avx512cd", "avx512dq")
    + ("avx512vl",),
}
_NEEDED["avx512bf16"] = (*_NEEDED["avx512"], "avx512bf16")
_NEEDED["amx"] = (*_NEEDED["avx512bf16"], *AMX)
_SETTINGS = {"l1": "first_cache", "l2": "second_cache", "cores": "cores"}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}


class TargetFault(Fault, ValueError):
    """The text of a target description is wrong, or this machine cannot run code for that target."""


def machine_for(asked: Machine | str | None = None) -> Machine:
    """Returns the target description of a text such as `avx2:l2=64K`; for None, that of NETC_TARGET, or else of the
    host.

    Raises TargetFault (a Fault and a ValueError) if a text is wrong or names an instruction set that this machine
    lacks, and TypeError for another kind of description.
    """
    if isinstance(asked, Machine):
        return asked
    if not isinstance(asked, str | None):
        raise TypeError(f'`machine` is the text of a target, such as "avx2", or a Machine, not {asked!r}')
    source = Source(VARIABLE, os.environ.get(VARIABLE, "")) if asked is None else Source("machine", asked)
    return _described(source) if source.text else host()


def ask_for_tiles(machine: Machine) -> None:
    """Asks Linux for the registers of AMX if a target description needs them.

    `host` asks too, but a description may come from another process. Raises TargetFault if Linux refuses them, or if
    there are none.
    """
    if machine.has_tiles and machine.has_amx and not is_permitted():
        _named("amx", Source("machine", "amx"))


def runnable() -> tuple[str, ...]:
    """Returns the names of the targets that this machine can run, the smallest instruction set first."""
    return tuple(name for name in NAMED if not _missing(name))


def _missing(name: str) -> list[str]:
    """The instruction sets that a target needs and this machine lacks."""
    return [feature for feature in _NEEDED[name] if not _host_features().get(feature)]


@cache
def _host_features() -> dict[str, bool]:
    """The instruction sets that this process may use."""
    features = dict(processor().sets)
    if any(features.get(name) for name in AMX) and not is_permitted():
        features.update(dict.fromkeys(AMX, False))
    return features


def _described(source: Source) -> Machine:
    """Parses a target description, which is the variable's text or an argument's."""
    name, _, settings = source.text.partition(":")
    machine = host() if name == "host" else replace(_named(name, source), cores=cores())
    numbers: dict[str, Any] = {}
    at = len(name) + 1
    for setting in settings.split(",") if settings else ():
        key, _, number = setting.partition("=")
        numbers[_field(key, source, at)] = _number(number, key, source, at + len(key) + 1)
        at += len(setting) + 1
    return replace(machine, **numbers)


def _named(name: str, source: Source) -> Machine:
    names = ("host", *runnable())
    if name not in NAMED:
        close = get_close_matches(name, ("host", *NAMED), 1)
        _fault("unknown target", source, 0, len(name), f"`{name}` is none of {', '.join(('host', *NAMED))}", *close)
    if missing := _missing(name):
        title, sets = f"this machine cannot run code for {name}", ", ".join(missing)
        is_refused = set(missing) <= set(AMX) <= {feature for feature, has in processor().sets.items() if has}
        label = f"Linux does not let this process use {sets}" if is_refused else f"it does not have {sets}"
        _fault(title, source, 0, len(name), label, names[-1])
    return NAMED[name]


def _field(key: str, source: Source, at: int) -> str:
    if key not in _SETTINGS:
        close = [f"{setting}=..." for setting in get_close_matches(key, _SETTINGS, 1)]
        _fault("unknown setting of a target", source, at, len(key), f"there are {', '.join(_SETTINGS)}", *close)
    return _SETTINGS[key]


def _number(number: str, key: str, source: Source, at: int) -> int:
    match = re.fullmatch(r"([1-9][0-9]*)([KMkm]?)", number)
    if match is None or (key == "cores" and match[2]):
        expected = "a whole number of cores" if key == "cores" else "bytes, such as 32K or 1M"
        _fault("a setting of a target is wrong", source, at, len(number), f"`{key}` is {expected}")
    return int(match[1]) * _UNITS[match[2].upper()]


def _fault(title: str, source: Source, at: int, length: int, label: str, hint: str | None = None) -> NoReturn:
    """Raises a fault that points to its location in the text."""
    span = Span(source, at, at + max(length, 1))
    example = f"{VARIABLE}={hint}" if source.name == VARIABLE else f'machine = "{hint}"'
    raise TargetFault([Diagnostic("E1006", title, Label(span, label), (), hint and example)])
