"""The target description: the CPU that a program is compiled for, as plain data.

Everything that decides code (`cpu`, `features`, vectors, registers) or a plan (caches, thresholds) is a field. A
program can therefore be compiled for another target than the host, and planned for other caches. `host` describes
this machine. Knows no kernel and no pass.
"""

import os
from functools import cache
from pathlib import Path

from msgspec import Struct

from netc.compiler.ir.types import DTYPES, SHARD_COUNT
from netc.compiler.targets.processor import processor
from netc.dsl.storage.control_groups import processors
from netc.dsl.structs import replace

LINE = 64  # bytes of a cache line
PAGE = 4096  # bytes: what lies whole pages apart shares a few sets of each cache
AMX = ("amx-tile", "amx-bf16")  # what LLVM calls the instruction sets for tiles of bf16 numbers
PIECE = 16  # bytes of a vector inside of which, and as a whole, its elements are moved by simple instructions
VECTORS = 2  # the register tile's width
WIDE = 64  # bytes of the widest vectors
GROUP = 4  # rows of a that share a pointer in a register tile: the heights of tiles are multiples, or the tallest
STRIP = 1024  # rows of depth that a product takes at a time, so that a panel of b stays in the second cache
PACKED = 256  # rows of depth that it takes at a time if it copies operands, so that a panel stays in the first cache
PANELS = 16  # of b whose copies are kept at a time, in the second cache
BLOCK = 240  # rows of a that are taken through these panels at a time, so that they stay in the second cache too
SLACK = 64  # elements behind the copy of a block, which copies of whole vectors overwrite
WAYS = 8  # the lines of a set of the first cache, of those CPUs that have the fewest
# How LLVM's names of CPUs begin that take longer to gather elements than to load each: AMD's, and those of Intel that
# may lose what a gather reads (Gather Data Sampling, 2023), because microcode against it makes gathers slow.
_SLOW_GATHERS = ("znver", "skylake", "cascadelake", "cooperlake", "cannonlake", "icelake", "tigerlake", "rocketlake")
TILE = 16  # rows of a tile of AMX, and the sums, or pairs of bf16 numbers, of each
NEAR = 16 << 10  # bytes of b: so few stay in the first cache as they lie
MANY_PANELS = 3  # of b, that a copied row of a is multiplied by
# Bytes of b: more come from the last cache or from memory in each step. A copy prefetches them in time; tiles of few
# rows do not.
DISTANT = 1 << 20
MANY_ROWS = 24  # of a: to copy a row of a panel takes some cycles, to multiply it by a row of a takes one
PANELS_AHEAD = 2  # between a panel that is copied and the one that is prefetched then, from the last cache or memory


class Machine(Struct, frozen=True):
    """A target description.

    `cpu` and `features` go to LLVM. With `vector_bytes`, `has_fma` and `registers`, which shape the register tile,
    they are in the key of every kernel. The other fields do not enter kernels: cache sizes and thresholds decide
    plans, and `cores` is the default number of threads of a program.

    A sum over the batch is computed in shards if it reads at least `many_bytes`, its result has fewer than
    `few_pieces` pieces to share out, and the shards' results take at most one byte for each `shard_ratio` bytes that
    are read: these three decide bits, and so does `shards`, the shards of a batch, which a file may set. `few_weights`
    is how many bytes a task may read again for every shard.
    """

    cpu: str
    features: str
    vector_bytes: int
    has_fma: bool
    registers: int  # vector registers
    first_cache: int = 32 << 10  # bytes, of one core
    second_cache: int = 512 << 10
    cores: int = 1
    has_pairs: bool = False  # products of operands that are rounded to bf16 multiply two of their numbers at once
    has_tiles: bool = False  # large ones of them do so by tiles
    many_bytes: int = 1 << 18
    few_pieces: int = 8
    shard_ratio: int = 4
    few_weights: int = 1 << 18
    shards: int = SHARD_COUNT

    def lanes(self, dtype: str) -> int:
        return self.vector_bytes // DTYPES[dtype].bytes

    def panel(self, dtype: str) -> int:
        """The columns of the register tile: two vectors."""
        return VECTORS * self.lanes(dtype)

    def attention_block(self, dtype: str) -> int:
        """The queries, and the keys, of a block of attention: whole tiles and panels of every CPU so far."""
        return 384 // DTYPES[dtype].bytes

    def pack_elements(self, dtype: str, panels: int = PANELS, copies_rows: bool = True) -> int:
        """The elements of memory for copies of a product: of a block of rows of a, and of some panels of b behind
        it."""
        width = max(self.panel(dtype), 2 * TILE * self.has_tiles)
        return copies_rows * (BLOCK * PACKED + SLACK) + min(panels, PANELS) * PACKED * width

    @property
    def has_masks(self) -> bool:
        """Whether it stores some lanes of a vector as fast as all. Zen 4 takes 12 cycles and more for each such store
        of AVX2, and SSE2 has none: there, pieces of the vector are stored."""
        return self.vector_bytes == WIDE

    @property
    def has_halves(self) -> bool:
        """Whether kernels also have half vectors, for rows that end in few elements. Zen 4 multiplies two of 32 bytes
        in the time of one of 64, and stores them faster than half of a vector by a mask; other CPUs take no longer than
        for whole ones."""
        return self.vector_bytes == WIDE

    @property
    def llvm_features(self) -> str:
        """The features as LLVM takes them. By itself it would make loops of half vectors on CPUs with AVX-512, which
        were measured to be 1.2 to 1.7 times slower for functions such as exp and gelu on Zen 4, and gather elements
        that lie apart where gathers are slow: on Zen 4 that takes 1.2 to 2.4 times as long as to load each."""
        tuning = ["-prefer-256-bit"] if self.vector_bytes == WIDE else []
        if self.cpu.startswith(_SLOW_GATHERS):
            tuning.append("+prefer-no-gather")
        return ",".join(filter(None, [self.features, *tuning]))

    @property
    def has_amx(self) -> bool:
        """Whether it has the instructions of AMX for tiles of bf16 numbers."""
        return {f"+{name}" for name in AMX} <= set(self.features.split(","))

    @property
    def has_bf16(self) -> bool:
        """Whether it has AVX512_BF16: an instruction for two products of bf16 numbers in each lane."""
        return "+avx512bf16" in self.features.split(",")

    @property
    def packing_rows(self) -> int:
        """The rows of a from which on a product copies b because b's rows are far apart.

        Zen 4 multiplies one vector of 64 bytes in a cycle, others two, and so reads b in time as it lies, out of the
        last cache too: with all lines of the next panel prefetched, products of 32 to 240 rows were measured to be 4 to
        20% faster without a copy.
        """
        return 256 if self.cpu == "znver4" else MANY_ROWS

    @property
    def distant_rows(self) -> range:
        """The rows of a, below `packing_rows`, with which a product copies a b of more than DISTANT bytes whose rows
        are far apart, if it does not walk b in blocks (far_blocks.py), because few columns are multiplied.

        Where a row of a panel takes several cache lines, two tiles do not prefetch all of them: with AVX-512 on Zen 4
        and weights out of memory, steps of 16 samples took 12 to 28% longer without a copy. With AVX2, products of 13
        to 23 rows by 4 to 16 MiB were measured to take 1.3 to 1.9 times as long without one on Zen 4.
        """
        return range(MANY_ROWS // 2 + 1, MANY_ROWS + 1)

    @property
    def packs_rows(self) -> bool:
        """Whether a product copies rows of a that are neighbours, so that each step of depth would take another page.

        Zen 4 reads them in time as they lie if the first panel's tiles prefetch them: weight gradients were measured to
        be 3 to 13% faster without a copy, unless the rows share a few sets of the caches.
        """
        return self.cpu != "znver4"

    @property
    def copies_sharing_rows(self) -> bool:
        """Whether a product copies rows of a that lie whole pages apart, so that all of them share a set of the first
        cache. The 8 or 12 lines of a set are too few for those of a tall tile and for b: on Zen 4, products with 4 to
        16 KiB between rows were measured to be 7 to 16% faster with a copy.
        """
        return self.tile_rows > WAYS

    @property
    def interleaved(self) -> int:
        """The vectors that an iteration of a loop computes whose functions are long, such as exp.

        16 registers cannot hold the constants of such a function, so an iteration loads each. With one vector it takes
        1.5 to 2 times as long on Zen 4, where most instructions wait for the one before. With 32 registers, more
        vectors than one were measured to gain nothing.
        """
        return 4 if self.registers == 16 else 1

    @property
    def tile_rows(self) -> int:
        """The rows of the register tile. The two vectors of sums of each row must fit into registers beside the
        operands; with 32 registers, 12 rows were measured to be best."""
        return 12 if self.registers == 32 else 6 if self.has_fma else 4


@cache
def _cache_size(level: int, otherwise: int) -> int:
    """The bytes of this machine's data cache of a level, read from sysfs on Linux; `otherwise` elsewhere."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if int((index / "level").read_text()) == level and (index / "type").read_text().strip() != "Instruction":
                return int((index / "size").read_text().strip().removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return otherwise


def last_cache() -> int:
    """Returns the bytes of this machine's last cache, which its cores share."""
    return _cache_size(3, _cache_size(2, 512 << 10))


def host() -> Machine:
    """Returns the description of this machine, with the cores that the process may use now."""
    return replace(_host(), cores=cores())


@cache
def _host() -> Machine:
    from netc.compiler.targets.amx import is_permitted

    described = processor()
    features = described.sets
    wide = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
    return Machine(
        described.cpu,
        described.features,
        wide,
        bool(features.get("fma")) or wide == 64,
        32 if wide == 64 else 16,
        _cache_size(1, 32 << 10),
        _cache_size(2, 512 << 10),
        has_pairs=bool(features.get("avx512bf16")),
        has_tiles=all(features.get(name) for name in ("avx512bf16", *AMX)) and is_permitted(),
    )


def cores() -> int:
    """Returns the number of processors that this process may use: fewer than the machine has if its affinity or the
    quota of a control group (`docker run --cpus 2`) says so."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _quota() or count)


@cache
def _quota() -> int | None:
    """The quota of this process when it is first asked for."""
    return processors()
