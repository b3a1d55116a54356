"""The context of a call: an array of 64-bit words that machine code reads, one for each worker.

The words are addresses of memories, numbers of the run, the addresses of inputs and results, and behind them seven
words for each varying dimension. emit.py writes code that reads them; `contexts` fills them.

The code of a program for several ranks (runtime/distributed) knows two numbers of each worker: that among the workers
of its rank, and that among the workers of all ranks.
"""

import ctypes
import platform
import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from netc.compiler.program.plan import CallLayout
from netc.compiler.program.schedule import ORDER, PERSISTENT, PRIVATE, SHARED
from netc.compiler.targets.machine import cores
from netc.compiler.targets.target import Arena, Array, Call, Memory

if TYPE_CHECKING:  # saved machine code runs without a graph
    from netc.compiler.ir.rows import Rows

# The words of the first four memories have the memories' numbers (schedule.py); then come numbers of the run.
MEMBER, MEMBERS, BATCH, STEPS, BARRIER, WAIT, FUTEX, SPINS, PROFILE = range(ORDER + 1, ORDER + 10)
# Among the workers of all ranks: the worker's number, and their count. MESSAGES is the address of the table of messages
# between ranks (targets/gathering.py).
MEMBER_OF_ALL, MEMBERS_OF_ALL, MESSAGES = range(PROFILE + 1, PROFILE + 4)
FIRST_TABLE = MESSAGES + 1
# The words of a varying dimension: its rows, its steps, the address of the steps' first rows (and one more at the
# end), and the worker's samples: the first, and the one behind the last. The samples are shared out among the workers
# of all ranks, and, for groups that every rank repeats, among those of the rank.
DIMENSION = ROWS, STEPS_OF, OFFSETS, FIRST_OF_ALL, END_OF_ALL, FIRST, END = tuple(range(7))
# The words of the barrier's state, a cache line apart.
ARRIVED, PHASE, ABORT, SLEEPERS, BARRIER_WORDS = 0, 8, 16, 24, 32
# Iterations of a worker at a barrier before it sleeps, if there is a processor for each worker: 100 to 200 us. They are
# halved when it had to sleep after all, but not below those of the time that sleeping takes by itself, 5 us.
MOST_SPINS, FEWEST_SPINS = 4000, 200
_FUTEX = {"x86_64": 202, "aarch64": 98}  # Linux's numbers of the system call futex


@cache
def way_of_waiting() -> tuple[int, int]:
    """Returns the address of a function of C by which a worker waits at a barrier, and the number of the system call.

    They are those of `syscall` and of futex under Linux; elsewhere sched_yield and 0, or twice 0 if there is none.
    """
    futex = _FUTEX.get(platform.machine(), 0) if sys.platform == "linux" else 0
    try:
        library = ctypes.CDLL(None)
        function = library.syscall if futex else library.sched_yield
        return ctypes.cast(function, ctypes.c_void_p).value or 0, futex
    except (OSError, AttributeError, TypeError):
        return 0, 0


class CallResources(Struct, frozen=True):
    """The memories that a call of `members` workers runs in.

    `barrier` is the state of their barrier, which begins as zeros. `ticks` has a row of counters for each worker. The
    process is the rank `rank` of `ranks`, whose table of messages is at the address `messages`.
    """

    members: int
    persistent: Memory
    arena: Arena
    barrier: Array
    ticks: Array
    rank: int = 0
    ranks: int = 1
    messages: int = 0


def contexts(layout: CallLayout, call: Call, resources: CallResources) -> Array:
    """Returns the contexts of a call, a row for each worker. They hold addresses, so the call and the
    resources must outlive them."""
    begins = _begins(layout, call)
    head = [0] * FIRST_TABLE
    head[PERSISTENT], head[SHARED] = resources.persistent.address, resources.arena.shared.address
    head[ORDER], head[BATCH], head[STEPS] = call.order.ctypes.data, call.batch, call.steps
    head[BARRIER], (head[WAIT], head[FUTEX]) = resources.barrier.ctypes.data, way_of_waiting()
    is_fast = resources.members == 1 or resources.members <= cores()
    head[MEMBERS], head[SPINS] = resources.members, MOST_SPINS if is_fast else 0
    head[MEMBERS_OF_ALL], head[MESSAGES] = resources.members * resources.ranks, resources.messages
    ticks, dims = resources.ticks.ctypes.data, _words_of_dims(layout, call.rows, resources)
    rows = []
    for member in range(resources.members):
        head[MEMBER], head[MEMBER_OF_ALL] = member, resources.rank * resources.members + member
        head[PRIVATE] = resources.arena.private[member].address
        head[PROFILE] = ticks + member * resources.ticks.strides[0]
        rows.append([*head, *begins, *dims[member]])
    return np.array(rows, np.int64)


def _begins(layout: CallLayout, call: Call) -> list[int]:
    """The addresses of inputs and results, in the order of the tables."""
    begins = [0] * len(layout.step_bytes)
    for tables, arrays in ((layout.inputs, call.inputs), (layout.results, call.results)):
        for name, table in tables.items():
            begins[table.index] = arrays[name].ctypes.data
    return begins


def _words_of_dims(layout: CallLayout, rows: "Mapping[str, Rows]", resources: CallResources) -> list[list[int]]:
    """The words for the varying dimensions, a list for each worker."""
    members = resources.members
    words: list[list[int]] = [[] for _ in range(members)]
    for dim in layout.dims:
        rows_of_dim = rows[dim]
        of_dim = [0] * len(DIMENSION)
        of_dim[ROWS], of_dim[STEPS_OF] = rows_of_dim.count, rows_of_dim.steps
        of_dim[OFFSETS] = rows_of_dim.offsets.ctypes.data
        ends = of_all = rows_of_dim.shares(members).tolist()
        if resources.ranks > 1:
            of_all = rows_of_dim.shares(members * resources.ranks).tolist()[resources.rank * members :]
        for member in range(members):
            of_dim[FIRST], of_dim[END] = ends[member], ends[member + 1]
            of_dim[FIRST_OF_ALL], of_dim[END_OF_ALL] = of_all[member], of_all[member + 1]
            words[member] += of_dim
    return words
