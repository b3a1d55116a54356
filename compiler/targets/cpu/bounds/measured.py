"""The bounds of this machine (targets/bounds.py): measured once, and stored in the cache folder as JSON.

A file is named by a hash of everything that decides its numbers. A damaged one is measured again.
"""

import hashlib
import json
import math
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from netc.compiler.targets.bounds import LEVELS, STREAMS, Bounds, Level
from netc.compiler.targets.cpu.bounds.calls import measure_call
from netc.compiler.targets.cpu.bounds.peak import Kind, Run, peak_of
from netc.compiler.targets.cpu.bounds.streams import last_cache_misses, measure_rates
from netc.compiler.targets.machine import Machine, last_cache
from netc.dsl.storage import eviction, home, temporary
from netc.dsl.storage.installed import version_of
from netc.dsl.structs import replace


def bounds_of(machine: Machine, members: int, run: Run, again: bool = False) -> Bounds:
    """Returns the bounds of `members` workers at once: those in the cache, or else measured now. It takes seconds.

    With `again` they are measured in any case. `run(work, members)` calls `work` with the number of each worker at the
    same time.
    """
    key = _key(machine, members)
    if not again and (stored := _read(key, dtypes_of(machine))) is not None:
        return stored
    bounds = measure(machine, members, run)
    _write(key, bounds)
    return bounds


def measure(machine: Machine, members: int, run: Run) -> Bounds:
    """Measures the bounds of `members` workers at once."""
    capacities = capacities_of(machine, members)

    def rates(kind: Kind, dtypes: Sequence[str]) -> dict[str, float]:
        return {dtype: peak_of(dtype, members, run, machine, kind) for dtype in dtypes}

    flops, divisions = rates("multiply-add", dtypes_of(machine)), rates("division", _DIVIDED)
    roots, streams = rates("root", _DIVIDED), measure_rates(machine, capacities, members, run)
    misses = last_cache_misses(machine, capacities, streams, members, run)
    accesses = streams["first cache"]["copy"] / machine.vector_bytes
    return Bounds(flops, divisions, roots, streams, capacities, misses, accesses, measure_call(machine))


def dtypes_of(machine: Machine) -> tuple[str, ...]:
    """The types in which a machine computes: bf16 if its products multiply pairs of such numbers, and tiles of them."""
    return ("f32", "f64", *["bf16"] * machine.has_pairs, *["bf16 in tiles"] * machine.has_tiles)


def capacities_of(machine: Machine, members: int) -> dict[Level, int]:
    """The bytes of each cache for one of `members` workers, which share the last cache."""
    first, second = machine.first_cache, machine.second_cache
    return {"first cache": first, "second cache": second, "last cache": max(last_cache() // members, second)}


def _key(machine: Machine, members: int) -> dict[str, Any]:
    """Everything that decides the bounds, as JSON can hold it."""
    fields = {name: value for name, value in asdict(machine).items() if name in _MEASURED}
    others = {"last_cache": last_cache(), "members": members, "netc": version_of("netc"), "form": _FORM}
    return {**fields, "model": _model_of_cpu(), **others}


_FORM = 3  # counts changes of what is measured
_DIVIDED = ("f32", "f64")  # types in which kernels divide
# fields of a Machine
_MEASURED = ("cpu", "features", "vector_bytes", "has_fma", "has_pairs", "has_tiles", "first_cache", "second_cache")


def _model_of_cpu() -> str:
    """The name of the processor's model, read from /proc/cpuinfo on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _path(key: Mapping[str, Any]) -> Path | None:
    folder = home.folder()
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return folder / f"bounds-{name}.json" if folder is not None else None


def _read(key: Mapping[str, Any], dtypes: Sequence[str]) -> Bounds | None:
    """The bounds in the cache. None if it has none, or if their file is damaged."""
    path = _path(key)
    if path is None:
        return None
    try:
        stored = json.loads(path.read_bytes())
        if stored["digest"] != _digest(stored["bounds"]):
            return None
        bounds = Bounds(**stored["bounds"])
        bounds = replace(bounds, misses=tuple((size, share) for size, share in bounds.misses))
        numbers = [bounds.flops[dtype] for dtype in dtypes]
        numbers += [rates[dtype] for rates in (bounds.divisions, bounds.roots) for dtype in _DIVIDED]
        numbers += [bounds.rates[level][stream] for level in LEVELS for stream in STREAMS]
        numbers += [*(bounds.capacities[level] for level in LEVELS[:-1]), bounds.accesses, bounds.call]
        if not all(0 < number < math.inf for number in numbers):
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    eviction.use(path)
    return bounds


def _write(key: Mapping[str, Any], bounds: Bounds) -> None:
    """Stores bounds. Does nothing if the folder cannot be written."""
    path, content = _path(key), asdict(bounds)
    if path is None:
        return
    try:
        temporary.write(path, json.dumps({"digest": _digest(content), "key": key, "bounds": content}).encode())
    except OSError as error:
        home.warn_cannot_write(error)
    eviction.enforce()


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
