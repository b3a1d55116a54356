"""The targets by the names that users give them, and the choice of one.

A target is imported when it is chosen: a prediction by machine code imports neither the emulator nor the interpreter.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, get_args

from netc.compiler.targets.machine import Machine
from netc.compiler.targets.named import machine_for
from netc.compiler.targets.target import Target
from netc.dsl.structs import replace

if TYPE_CHECKING:
    from netc.compiler.reference import Evaluate

# machine code; one operation at a time in NumPy; the plan of the machine code, emulated
Backend = Literal["cpu", "reference", "plan"]


def target_of(backend: Backend | Target = "cpu", machine: Machine | str | None = None) -> Target:
    """Returns the target of a backend's name for a machine, which is described as in `machine_for`; or a target itself.

    Raises ValueError if no backend has the name, and for a machine beside a target, which has its own; TypeError for
    another kind of backend or machine. Raises TargetFault as `machine_for` does.
    """
    if not isinstance(backend, str):
        if not isinstance(backend, Target):
            names = ", ".join(f'"{name}"' for name in get_args(Backend))
            raise TypeError(f"`backend` is {names} or a target, not {backend!r}")
        if machine is not None:
            raise ValueError(f"the target `{backend.name}` has a machine of its own")
        return backend
    if backend not in _TARGETS:
        raise ValueError(f"no backend is called `{backend}`: there are {', '.join(get_args(Backend))}")
    return _TARGETS[backend](machine_for(machine))


def interpreted_by(interpreter: "Evaluate", machine: Machine | None = None) -> Target:
    """Returns the reference target with another interpreter in the place of `evaluate`: one that watches or disturbs
    values."""
    from netc.compiler.targets.reference.target import Reference

    return Reference(machine_for(machine), interpreter)


def with_shards(target: Target, shards: int) -> Target:
    """Returns a target whose programs cut a batch into so many shards."""
    if target.machine.shards == shards:
        return target
    changed: Target = replace(target, machine=replace(target.machine, shards=shards))  # type: ignore[type-var]
    return changed


def emulated_ranks(ranks: int, machine: Machine | None = None) -> Target:
    """Returns the target that emulates a plan as several ranks, each with memory of its own, in one thread."""
    from netc.compiler.targets.emulator.ranks import EmulatedRanks

    return EmulatedRanks(machine_for(machine), ranks)


def _machine_code(machine: Machine) -> Target:
    from netc.compiler.targets.cpu.target import Cpu

    return Cpu(machine)


def _interpreted(machine: Machine) -> Target:
    from netc.compiler.targets.reference.target import Reference

    return Reference(machine)


def _emulated(machine: Machine) -> Target:
    from netc.compiler.targets.emulator.target import Emulated

    return Emulated(machine)


_TARGETS: dict[str, Callable[[Machine], Target]] = {
    "cpu": _machine_code,
    "reference": _interpreted,
    "plan": _emulated,
}
