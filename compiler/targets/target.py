"""The interface of the runtime to what runs a program: a `Target` builds an `Executable`, and the runtime calls it.

A target takes a graph after all passes, and its plan if it asks for one. An executable reads and writes the arrays of
a `Call`, and asks its `Workspace` for parameters, threads and temporary memory. What machine code, contexts or kernels
look like is known only to the targets.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from msgspec import Struct, field

if TYPE_CHECKING:  # a saved prediction runs without a graph
    from netc.compiler.ir.graph import Graph
    from netc.compiler.ir.rows import Rows
    from netc.compiler.ir.types import Sizes, Type
    from netc.compiler.program.gathers import Gather
    from netc.compiler.program.plan import CallLayout, Plan
    from netc.compiler.targets.bounds import Bounds
    from netc.compiler.targets.machine import Machine

Array = np.ndarray[Any, Any]


# ------------------------------------------------------------------ what the runtime gives


class Planned(Struct, frozen=True):
    """A plan for the target's machine, and the largest number of workers of a call."""

    plan: "Plan"
    members: int


class Request(Struct, frozen=True):
    """The request to build a program.

    `graph` went through all passes. `make_plan` returns its plan; all workers of the program take part in it if its
    argument is true, otherwise only as many as a step of its size is worth. It raises NotEnough if there is no memory
    for the plan. With `is_profiled` the executable must be `Timed`. With `is_spoiled` it fills temporary memory with
    NaN bytes before each step, if it can, so that a value that is read before it is written becomes visible.
    """

    graph: "Graph"
    make_plan: Callable[[bool], Planned]
    is_profiled: bool = False
    is_spoiled: bool = False


class Call(Struct, frozen=True):
    """Steps that an executable is asked to run: `steps` steps of `batch` samples each.

    `inputs` and `results` are contiguous arrays of the types that the executable's interface states. Inputs with a row
    for each sample hold all samples of the data: step i reads rows `order[i * batch : (i + 1) * batch]`. Results with
    a row for each sample are in the order of `order`. Inputs and results with a value for each step have the steps as
    first axis. `rows` has the rows of each varying dimension; if there are any with lengths, `steps` is 1. In `kept` an
    executable may keep what it needs to run the same call again, after the contents of its arrays have changed.
    """

    inputs: Mapping[str, Array]
    results: Mapping[str, Array]
    order: Array
    steps: int
    batch: int
    rows: "Mapping[str, Rows]"
    kept: dict[str, Any] = field(default_factory=dict)


class Memory(Protocol):
    """Aligned bytes, and their address."""

    @property
    def address(self) -> int: ...
    @property
    def bytes(self) -> Array: ...


class Arena(Protocol):
    """The temporary memory of one call: `shared` by its workers, and at least one `private` memory for each of them.
    Both have the sizes that the executable's interface asks for, and undefined contents."""

    @property
    def shared(self) -> Memory: ...
    @property
    def private(self) -> Sequence[Memory]: ...


class Team(Protocol):
    """The workers of one call: the thread that calls, and helpers."""

    @property
    def count(self) -> int: ...

    def run(self, work: Callable[[int], object], abandon: Callable[[], object]) -> None:
        """Calls `work` with the number of each worker, at the same time.

        If a worker raises an exception, `abandon` is called, after which the others must stop waiting for it; the
        exception is raised here when all have returned.
        """


NativeCall = tuple[int, int, int, int]  # the address of a function, and its arguments: words of 64 bits


class Part(Struct, frozen=True):
    """Bytes of all ranks, one rank behind another: those of rank r are from `ends[r]` to `ends[r + 1]` behind the
    address, on all of them."""

    address: int
    ends: Sequence[int]


class Exchange(Protocol):
    """A message of all ranks that can be sent again and again, by calls of C functions that return an `int`: 0, or the
    code of an error. After the calls `starts` this rank's bytes are on their way and must not change. After `waits`,
    which follow, the bytes of all ranks are there."""

    @property
    def starts(self) -> Sequence[NativeCall]: ...
    @property
    def waits(self) -> Sequence[NativeCall]: ...

    def run(self) -> None:
        """Makes all of these calls. Raises the exception of an error."""


class Ranks(Protocol):
    """The processes that run the steps of a program together, each with a copy of its memory. They are numbered from
    0; this process is `rank`, one of `count`."""

    @property
    def rank(self) -> int: ...
    @property
    def count(self) -> int: ...
    @property
    def must_share(self) -> bool:
        """Whether every step is shared out, even if it is too small for that."""

    def exchange(self, parts: Sequence[Part]) -> Exchange:
        """Returns a message of these parts. The ranks need not ask for it at the same time, but all of them start their
        messages in the same order."""

    def failure(self, code: int) -> Exception:
        """Returns the exception for the code of an error."""

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """Returns the largest number of all ranks at each position."""

    def copy_from_first(self, array: Array) -> None:
        """Fills an array, which all ranks have with the same shape, with the elements that rank 0 has."""


class Divided(Struct):
    """The parameters and states of which each rank has only its own rows, after programs have updated them. A program
    that divides them in the same way goes on with these; before anything else reads them, all ranks gather the rest.
    `rest` has the functions that gather some of them."""

    rest: "dict[Gather, Callable[[Sequence[Gather]], None]]" = field(default_factory=dict)

    def gather(self, unless: "Container[Gather]" = (), touched: Sequence[tuple[int, int]] | None = None) -> None:
        """Gathers what lies in the ranges of bytes `touched`, None for all, but for what is in `unless`."""
        if not self.rest:
            return
        chosen = [
            gather for gather in self.rest if gather not in unless and (touched is None or gather.overlaps(touched))
        ]
        functions = {gather: self.rest.pop(gather) for gather in chosen}
        for function in dict.fromkeys(functions.values()):
            function([gather for gather in chosen if functions[gather] == function])

    def leave(self, gathers: "Sequence[Gather]", function: "Callable[[Sequence[Gather]], None]") -> None:
        """A program leaves parameters and states divided, and the function gathers them."""
        self.rest.update(dict.fromkeys(gathers, function))


class Workspace(Protocol):
    """The memory and the threads of a program. Several calls may ask for teams and arenas at the same time."""

    @property
    def persistent(self) -> Memory:
        """The memory of parameters and states, at the offsets that the plan was made for."""

    @property
    def state(self) -> Mapping[str, Array]:
        """Parameters and states by name: views of the persistent memory."""

    @property
    def ranks(self) -> Ranks | None:
        """The ranks that run the program together; None in a process by itself."""

    @property
    def divided(self) -> Divided:
        """The parameters and states of which each rank holds only its share."""

    @property
    def must_share(self) -> bool:
        """Whether all idle workers take part in every call, even if one of them is faster alone."""

    def team(self, most: int) -> AbstractContextManager[Team]:
        """Idle workers, `most` at most; the thread that calls is one of them."""

    def arena(self, members: int) -> AbstractContextManager[Arena]:
        """An arena for some workers."""


# ------------------------------------------------------------------ what a target provides


class Interface(Struct, frozen=True):
    """The arrays and the memory that the runtime provides for each call of an executable.

    `inputs` and `results` are the types of the arrays, by name; a name such as `rows.step.time` is a table of
    ir/index_tables.py. `per_step` are the inputs with a value for each step. `capacity` is the most samples of a step,
    and the most rows of each varying dimension; None means any number. `shared` and `private` are the bytes of the
    arenas.
    """

    inputs: "Mapping[str, Type]"
    results: "Mapping[str, Type]"
    per_step: frozenset[str] = frozenset()
    capacity: "Sizes | None" = None
    shared: int = 0
    private: int = 0

    @classmethod
    def of_layout(cls, layout: "CallLayout") -> "Interface":
        """Returns the interface of an executable that runs a plan, from the plan's `call_layout`."""
        inputs, results = (
            {name: table.type for name, table in tables.items()} for tables in (layout.inputs, layout.results)
        )
        steps = {name for name, table in layout.inputs.items() if layout.step_bytes[table.index][0]}
        return cls(inputs, results, frozenset(steps), layout.sizes, layout.shared, layout.private)


class Executable(Protocol):
    """A program that is ready to run."""

    @property
    def interface(self) -> Interface: ...

    def run(self, call: Call, workspace: Workspace) -> None:
        """Runs the steps of a call: fills its results, and writes updates of parameters and states.

        Several threads may call this at the same time, unless the program updates parameters or states.
        """


@runtime_checkable
class Timed(Executable, Protocol):
    """An executable that was built with `is_profiled`, and counts the time of its plan's calls.

    `ticks` has a row for each worker: the ticks of each call in the order of the plan's tasks, then those of all runs
    with everything between the calls. Whoever measures sets it to zero first.
    """

    @property
    def ticks(self) -> Array: ...

    def bounds(
        self, members: int, run: Callable[[Callable[[int], object], int], object], again: bool = False
    ) -> "Bounds":
        """Returns the bounds of the machine for `members` workers, which are measured once, or `again`.

        `run(work, members)` calls `work` with the number of each worker at the same time.
        """


class Code(Struct, frozen=True):
    """The code from which an executable is opened again: its own object code, the names of its kernels in the cache,
    and the layout of the plan that both belong to."""

    step: bytes
    kernels: tuple[str, ...]
    layout: "CallLayout"


@runtime_checkable
class Storable(Executable, Protocol):
    """An executable that can be saved. A `Reopening` target opens it again."""

    @property
    def code(self) -> Code | None:
        """Its code, or None where it cannot be saved."""


@runtime_checkable
class Target(Protocol):
    """A way to run programs. `name` is for messages; plans are made for `machine`."""

    @property
    def name(self) -> str: ...
    @property
    def machine(self) -> "Machine": ...

    def build(self, request: Request) -> Executable:
        """Builds a program. Raises what `make_plan` raises."""


@runtime_checkable
class Reopening(Target, Protocol):
    """A target that opens the saved code of an executable again, without its graph."""

    def reopen(self, code: Code, members: int) -> Executable | None:
        """Returns the executable, or None if its code is incomplete or does not fit this machine.

        `members` is the largest number of workers of a call.
        """
