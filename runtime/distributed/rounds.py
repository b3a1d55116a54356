"""The rounds of messages by which all ranks gather the bytes of all.

Each rank sends its bytes to every other one at once, for up to 16 ranks. More of them exchange in rounds: first within
blocks of 16 neighbours, and then what these blocks have. So a rank has few partners, and no bytes arrive twice.
"""

from collections.abc import Iterator

from netc.compiler.targets.target import Part

_NEIGHBOURS = 16  # ranks that exchange in one round


def rounds(rank: int, count: int) -> Iterator[tuple[range, list[tuple[int, range]]]]:
    """Yields the rounds of an exchange: the ranks whose bytes this rank sends, and its partners, with the ranks whose
    bytes it receives from each. `count` is a power of two."""
    block = 1
    while block < count:
        blocks = min(_NEIGHBOURS, count // block)
        begin_of_block = rank - rank % block
        first = rank - rank % (block * blocks)
        begins = range(first, first + block * blocks, block)
        partners = [(begin + rank % block, range(begin, begin + block)) for begin in begins if begin != begin_of_block]
        yield range(begin_of_block, begin_of_block + block), partners
        block *= blocks


def bytes_of(part: Part, ranks: range) -> tuple[int, int]:
    """Returns where the bytes of some neighbouring ranks begin and end."""
    return part.ends[ranks.start], part.ends[ranks.stop]
