"""Gathers rows between ranks while a step runs: which rows each rank has, and messages that begin and are waited for.

The rows follow from the sizes of the step alone, so no rank tells another one how many bytes it sends.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from netc.compiler.program.gathers import Gather, Gathers, Message, StepSizes, spans_of

if TYPE_CHECKING:
    from netc.compiler.targets.target import Array, Ranks


class Layout(Protocol):
    """Where the bytes of a gather are: from its first row on, at least `size` bytes, in a step of the run."""

    def __call__(self, gather: Gather, step: int, size: int) -> "Array": ...


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of a gather that one rank has: a slice of them, or their numbers; and where they are in a message."""

    gather: int
    rows: "slice | Array"
    place: slice


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A message as it is sent: for each rank its parts and its bytes, and the rows that each gather has in all."""

    message: Message
    parts: list[list[_Part]]
    sizes: list[int]
    extents: list[int]
    own: "Array"
    all: "Array"


def _parcel(message: Message, ranks: int, rank: int, sizes: StepSizes) -> _Parcel:
    parts: list[list[_Part]] = []
    nbytes, extents = [], [0] * len(message.gathers)
    for other in range(ranks):
        parts.append([])
        at = 0
        for number, gather in enumerate(message.gathers):
            spans = spans_of(gather.division, other, ranks, sizes)
            count = sum(high - low for low, high in spans)
            extents[number] = max([extents[number], *(high for _, high in spans)])
            if not count:
                continue
            rows = slice(*spans[0]) if len(spans) == 1 else np.concatenate([np.arange(*span) for span in spans])
            parts[-1].append(_Part(number, rows, slice(at, at + count * gather.row_bytes)))
            at += count * gather.row_bytes
        nbytes.append(at)
    return _Parcel(message, parts, nbytes, extents, np.empty(nbytes[rank], np.uint8), np.empty(sum(nbytes), np.uint8))


class Gathering:
    """The messages of one run. `phases` is the number of phases of a step."""

    def __init__(self, gathers: Gathers, phases: int, ranks: "Ranks", sizes: StepSizes, layout: Layout) -> None:
        self.phases, self.ranks, self.layout = phases, ranks, layout
        self.error: BaseException | None = None  # that ended `border`
        parcels = [_parcel(message, ranks.count, ranks.rank, sizes) for message in gathers.messages]
        self._begin: list[list[_Parcel]] = [[] for _ in range(phases)]
        for parcel in parcels:
            self._begin[parcel.message.after].append(parcel)
        last = Message(0, 1, gathers.at_end)
        self._at_end = _parcel(last, ranks.count, ranks.rank, sizes) if gathers.at_end else None
        self._pending: list[tuple[int, Callable[[], None]]] = []  # the phase, counted over all steps, that waits for it

    def border(self, phase: int, step: int) -> int:
        """Begins the messages of a phase that is done, and waits for those that the next one needs.

        Machine code calls this, so an exception is kept in `error`; the result is then 1, and else 0.
        """
        now = step * self.phases + phase
        try:
            for parcel in self._begin[phase]:
                due = step * self.phases + parcel.message.before
                self._pending.append((due, self._send(parcel, step, due == now + 1)))
            self._wait(now + 1)
        except BaseException as error:
            self.error = error
        return int(self.error is not None)

    def finish(self, steps: int) -> None:
        """Waits for all messages after the last step, and gathers parameters and states. Raises what ended `border`."""
        if self.error is not None:
            raise self.error
        self._wait((steps + 1) * self.phases)
        if self._at_end is not None and steps:
            self._send(self._at_end, 0, True)()

    def _wait(self, phase: int) -> None:
        for due, complete in self._pending:
            if due <= phase:
                complete()
        self._pending = [entry for entry in self._pending if entry[0] > phase]

    def _send(self, parcel: _Parcel, step: int, is_due: bool) -> Callable[[], None]:
        """Sends this rank's rows. The function that is returned stores those of the others."""
        gathers, rank = parcel.message.gathers, self.ranks.rank
        views = [
            self.layout(gather, step, extent * gather.row_bytes).reshape(extent, gather.row_bytes)
            for gather, extent in zip(gathers, parcel.extents, strict=True)
        ]
        for part in parcel.parts[rank]:
            parcel.own[part.place] = views[part.gather][part.rows].reshape(-1)
        wait = self.ranks.gather(parcel.own, parcel.sizes, parcel.all, is_due)

        def complete() -> None:
            wait()
            at = 0
            for other, size in enumerate(parcel.sizes):
                received = parcel.all[at : at + size]
                for part in parcel.parts[other] if other != rank else ():
                    view = views[part.gather]
                    view[part.rows] = received[part.place].reshape(-1, view.shape[1])
                at += size

        return complete


def borders(gathers: Gathers, phases: int) -> Sequence[int]:
    """Returns the phases after which a message begins or is waited for."""
    begins = {message.after for message in gathers.messages}
    return sorted(begins | {(message.before - 1) % phases for message in gathers.messages})
