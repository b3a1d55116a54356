"""Lays out the messages of a step for machine code: which bytes this rank sends, and where those of others belong.

The rows that a rank has follow only from the sizes of the step, so no rank tells another one how many bytes it sends.
Machine code begins and completes the messages between phases (cpu/schedule/messages.py), so that no Python runs there.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate, pairwise

import numpy as np
from msgspec import Struct

from netc.compiler.program.gathers import Division, Gather, Gathers, Message, Span, StepSizes, spans_of
from netc.compiler.targets.target import Array, Exchange, Part, Ranks

# Behind a word for the code of an error, the table has for each message the counts and the addresses of four lists:
# copies into a packet, copies out of it, calls that begin the exchange, and calls that complete it.
PACKS, UNPACKS, STARTS, WAITS = 0, 2, 4, 6
RECORD = 8
# A copy: an address, the bytes by which it moves in each step, the address in the packet, and the number of bytes.
COPY = 4
# A call: the address of a function, and its three arguments.
CALL = 4
# Bytes of all ranks that are worth a request of their own: it takes as long as copies into a packet and out of it.
_WORTH_A_REQUEST = 1 << 15

# The address of the first row of a gather in step 0, and the bytes by which it moves in each step.
Layout = Callable[[Gather], tuple[int, int]]


def lag_of(message: Message, phases: int) -> int:
    """Returns how many steps after its own one a message is waited for."""
    return (message.before - 1) // phases


class _Rows(Struct, frozen=True):
    """The rows of a division: the ranges of each rank, and how many rows it has. If those of the ranks follow one
    another, `ends` are the first row, and the one behind those of each rank."""

    spans: list[list[Span]]
    counts: list[int]
    ends: list[int] | None

    @classmethod
    def of(cls, division: Division, ranks: int, sizes: StepSizes) -> "_Rows":
        spans = [spans_of(division, rank, ranks, sizes) for rank in range(ranks)]
        counts = [sum(high - low for low, high in each) for each in spans]
        filled = [(low, high) for each in spans for low, high in each if low < high]
        if not filled or any(before[1] != after[0] for before, after in pairwise(filled)):
            return cls(spans, counts, None)
        return cls(spans, counts, [*accumulate(counts, initial=filled[0][0])])


class _Packed(Struct, frozen=True):
    """Rows that are copied: where they are, the bytes by which that moves in each step, and the bytes of a row."""

    address: int
    move: int
    row_bytes: int
    rows: _Rows


class Gathering:
    """The messages of one call, as words at `address` (see RECORD). They serve for the same call again."""

    def __init__(self, gathers: Gathers, ranks: Ranks, sizes: StepSizes, layout: Layout) -> None:
        self._ranks, self._layout = ranks, layout
        self._rows = cache(lambda division: _Rows.of(division, ranks.count, sizes))
        messages = [self._divided(message.gathers) for message in gathers.messages]
        packets = [self._ends_of_packet(packed) for _, packed in messages]
        self._packet = np.empty(sum(ends[-1] for ends in packets), np.uint8)  # of all messages
        self._exchanges: list[Exchange] = []  # what the words of the table point to
        words, at = [0] * (1 + RECORD * len(messages)), int(self._packet.ctypes.data)
        address_words: list[int] = []  # the words that are addresses in the table: counted from its beginning so far
        for number, ((parts, packed), ends) in enumerate(zip(messages, packets, strict=True)):
            if ends[-1]:
                parts.append(Part(at, ends))
            for list_number, records in enumerate(self._lists(parts, packed, at)):
                word = 1 + RECORD * number + 2 * list_number
                words[word : word + 2] = len(records), 8 * len(words)
                address_words.append(word + 1)
                words += [entry for record in records for entry in record]
            at += ends[-1]
        self._table = np.array(words, np.int64)
        self._table[address_words] += self._table.ctypes.data

    @property
    def address(self) -> int:
        """The address of the table."""
        return int(self._table.ctypes.data)

    def check(self) -> None:
        """Raises the error that ended a message, if there is one."""
        if code := int(self._table[0]):
            raise self._ranks.failure(code)

    def gather_rest(self, gathers: Sequence[Gather]) -> None:
        """Gathers parameters and states that a call has left divided."""
        parts = []
        for gather in gathers:
            address, ends = self._layout(gather)[0], self._rows(gather.division).ends
            if ends is not None:
                parts.append(Part(address, [end * gather.row_bytes for end in ends]))
        self._ranks.exchange(parts).run()

    def _divided(self, gathers: Sequence[Gather]) -> tuple[list[Part], list[_Packed]]:
        """Rows that are many and next to one another, which are sent and received in their place, and the others."""
        parts: list[Part] = []
        packed: list[_Packed] = []
        for gather in gathers:
            (address, move), rows = self._layout(gather), self._rows(gather.division)
            if rows.ends is None or move or sum(rows.counts) * gather.row_bytes < _WORTH_A_REQUEST:
                packed.append(_Packed(address, move, gather.row_bytes, rows))
            else:
                parts.append(Part(address, [end * gather.row_bytes for end in rows.ends]))
        return parts, packed

    def _ends_of_packet(self, packed: Sequence[_Packed]) -> list[int]:
        """The offset of each rank's bytes in a packet, and the length of the packet at the end."""
        nbytes = (sum(each.rows.counts[rank] * each.row_bytes for each in packed) for rank in range(self._ranks.count))
        return [*accumulate(nbytes, initial=0)]

    def _lists(self, parts: Sequence[Part], packed: Sequence[_Packed], packet: int) -> list[Sequence[Sequence[int]]]:
        """The lists of a message whose packet is at an address."""
        copies: list[list[list[int]]] = []
        for rank in range(self._ranks.count):
            copies.append([])
            for each in packed:
                for low, high in each.rows.spans[rank]:
                    nbytes = (high - low) * each.row_bytes
                    copies[-1].append([each.address + low * each.row_bytes, each.move, packet, nbytes])
                    packet += nbytes
        this_rank = self._ranks.rank
        exchange = self._ranks.exchange(parts)
        self._exchanges.append(exchange)
        others = [record for rank, records in enumerate(copies) if rank != this_rank for record in records]
        return [copies[this_rank], others, exchange.starts, exchange.waits]


def silent_table(gathers: Gathers) -> Array:
    """Returns the table for a process that does all by itself: nothing is sent."""
    return np.zeros(1 + RECORD * len(gathers.messages), np.int64)


def borders(gathers: Gathers, phases: int) -> Sequence[int]:
    """Returns the phases after which a message begins or is waited for."""
    begins = {message.after for message in gathers.messages}
    return sorted(begins | {(message.before - 1) % phases for message in gathers.messages})
