"""One copy of the data on each host, for all ranks there: files that they map into memory.

One rank of a host reads a file, another one the next; the others map what they have read (data/tables/sharing.py). Then
the prepared arrays are shared too. So while it trains, a rank brings only the rows of its samples into memory, and a
host that runs many ranks keeps each row once.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from netc.dsl.structs import replace
from netc.runtime.data.dataset import Dataset
from netc.runtime.data.reuse import reused
from netc.runtime.data.stored import Array, Bytes, Field, Ragged
from netc.runtime.data.tables.sharing import sharing

if TYPE_CHECKING:  # a process that was started by itself imports nothing of MPI
    from netc.runtime.distributed.mpi import MpiRanks

_SMALL = 1 << 16  # bytes of an array that each rank keeps


@contextmanager
def read_once(ranks: "MpiRanks | None") -> Iterator[None]:
    """Inside, the data of a model is read: once by a process, and each file by one rank of each host."""
    if ranks is None:
        with reused():
            yield
        return
    with reused(), ranks.sharing_on_host() as processes, sharing(processes) if processes is not None else nullcontext():
        yield


def share_on_hosts(dataset: Dataset, ranks: "MpiRanks") -> None:
    """Replaces the large arrays of a dataset, which all ranks have loaded, by those of the first rank of each host."""

    def shared(array: Array) -> Array:
        return array if array.nbytes < _SMALL else ranks.shared_on_host(array)

    def of_field(field: Field) -> Field:
        match field:
            case Bytes():
                return replace(field, array=shared(field.array))
            case Ragged():
                return Ragged(shared(field.rows), shared(field.lengths))
            case _:
                return shared(field)

    for fields in dataset.parts.values():
        for name in fields:
            fields[name] = of_field(fields[name])
