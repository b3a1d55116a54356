"""Whether a launcher of MPI started this process, and the start of MPI if it did.

Nothing of MPI is imported in a process that was started by itself. The package mpi4py knows launchers and libraries;
variables.py has the variables of the environment by which launchers say how many processes they started.
"""

import json
import os
from typing import TYPE_CHECKING

from netc.dsl.diagnostics import fault
from netc.dsl.source import Source, Span
from netc.dsl.structs import replace
from netc.runtime.distributed.variables import COUNTS, RANKS, SLURM_COUNT

if TYPE_CHECKING:
    from netc.runtime.distributed.mpi import MpiRanks


def launched_ranks() -> int:
    """The number of processes that a launcher started together with this one, or 1."""
    return _launch()[0]


def launched_rank() -> int:
    """The number of this process among those that a launcher started, from 0 on."""
    return _launch()[1]


def _launch() -> tuple[int, int]:
    """The number of processes that were started, and the rank of this one: from the first launcher that says both."""
    for pair in zip(COUNTS, RANKS, strict=True):
        count, rank = (os.environ.get(name, "") for name in pair)
        if all(text.isascii() and text.isdigit() for text in (count, rank)):
            return int(count), int(rank)
    return 1, 0


def launch_span() -> Span:
    """The span of a message about the ranks, which no text declares."""
    return Span(Source(f"{launched_ranks()} ranks", ""), 0, 0)


def start() -> "MpiRanks | None":
    """The ranks that a launcher started to share batches; None in a process by itself.

    Raises E1013 for a number of ranks that cannot share a batch, and like `ranks_of_launch`.
    """
    count = launched_ranks()
    if count == 1:
        return None
    if count & (count - 1):
        title = f"{count} ranks cannot share the shards of a batch"
        label = "each rank does as many shards as any other"
        fault("E1013", title, launch_span(), label, hint="start 2, 4, 8, 16, ...")
    return ranks_of_launch()


def ranks_of_launch() -> "MpiRanks":
    """The ranks that a launcher started, for any number of them.

    Raises E1013 if mpi4py is not installed, and if the ranks run different versions of netc or on different kinds of
    processors: their bits would differ.
    """
    count = launched_ranks()
    os.environ.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")  # Open MPI: a rank that waits gives its core to others
    try:
        from netc.runtime.distributed.mpi import MpiRanks

        ranks = MpiRanks.of_world()
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no library of MPI
        label, hint = str(error).partition("\n")[0], 'pip install "netc[mpi]"'
        fault("E1013", f"MPI started {count} ranks, and netc cannot use it", launch_span(), label, hint=hint)
    if ranks.count != count:
        label = f"the library of MPI knows {ranks.count}: it belongs to another launcher"
        hint = "use the mpiexec that was installed with it"
        if SLURM_COUNT in os.environ:
            hint += ", or srun --mpi=pmix"
        fault("E1013", f"the launcher started {count} ranks", launch_span(), label, hint=hint)
    _require_same(ranks)
    return ranks


def _require_same(ranks: "MpiRanks") -> None:
    """Raises E1013 unless all ranks would compute the same bits."""
    from importlib.metadata import version  # here, because every command imports this file

    from netc.compiler.targets.named import machine_for

    packages = {name: version(name) for name in ("netc", "numpy", "llvmlite")}
    environment = {**packages, "processor": repr(replace(machine_for(None), cores=1))}
    every = [json.loads(text) for text in ranks.texts(json.dumps(environment))]
    for number, other in enumerate(every):
        for name, value in other.items():
            if value != every[0][name]:
                is_processor = name == "processor"
                what = "kind of processor" if is_processor else f"version of {name}"
                hint = "NETC_TARGET=avx2, or another that all have" if is_processor else "install the same packages"
                title = f"rank {number} has another {what} than rank 0"
                fault("E1013", title, launch_span(), "they would compute different bits", hint=hint)


def threads_of_rank(ranks: "MpiRanks") -> int:
    """The default number of threads of a rank: the cores of a host over its ranks, and the same number on all hosts."""
    import socket  # here, because every command imports this file

    from netc.compiler.targets.machine import cores

    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [*range(cores())]
    every = [json.loads(text) for text in ranks.texts(json.dumps([socket.gethostname(), cpus]))]
    return min(_threads_on_host(host, every) for host, _ in every)


def _threads_on_host(host: str, every: list[tuple[str, list[int]]]) -> int:
    usable = [set(affinity) for name, affinity in every if name == host]
    return max(1, min(len(set().union(*usable)) // len(usable), *map(len, usable)))
