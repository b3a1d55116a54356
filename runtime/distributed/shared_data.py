"""One copy of the data on each host, for all ranks there: files that they map into memory.

The first rank of a host reads a table, and writes its columns to the cache; the others map them. Then the prepared
arrays are shared too. So while it trains, a rank brings only the rows of its samples into memory, and a host that runs
many ranks keeps each row once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from netc.runtime.data.dataset import Dataset
from netc.runtime.data.store import sharing_tables
from netc.runtime.data.stored import Array, Bytes, Field, Ragged

if TYPE_CHECKING:  # a process that was started by itself imports nothing of MPI
    from netc.runtime.distributed.mpi import MpiRanks

_SMALL = 1 << 16  # bytes of an array that each rank keeps


@contextmanager
def read_once(ranks: "MpiRanks | None") -> Iterator[None]:
    """Inside, the data of a model is read: by the first rank of each host before the others."""
    if ranks is None:
        yield
        return
    with ranks.first_on_host_first(), sharing_tables():
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
