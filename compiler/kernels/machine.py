"""The CPU that kernels are compiled for: how wide its vectors are, and what a key must say of it."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

LINE = 64  # bytes of a cache line
VECTORS = 2  # of the register tile's width
STRIP = 1024  # rows of depth that a product takes at a time, so that a panel of b stays in the second cache
SCOPES = 24  # alias scopes of a loop: buffers of which LLVM knows that they do not overlap


@dataclass(frozen=True, slots=True)
class Machine:
    """`vector_bytes` and `has_fma` shape the register tile; `cpu` and `features` go to LLVM and into every key."""

    cpu: str
    features: str
    vector_bytes: int
    has_fma: bool

    def lanes(self, dtype: str) -> int:
        return self.vector_bytes // {"f32": 4, "f64": 8}[dtype]

    def panel(self, dtype: str) -> int:
        """Columns of the register tile: two vectors."""
        return VECTORS * self.lanes(dtype)

    @property
    def tile_rows(self) -> int:
        """Rows of the register tile: two vectors a row must fit beside the operands, in 32 registers with AVX-512, 16 without."""
        return 12 if self.vector_bytes == 64 else 6 if self.has_fma else 4

    @property
    def caches(self) -> tuple[int, int]:
        """Bytes of a core's first and second cache: what decides sizes, never bits."""
        return _cache_size(1, 32 << 10), _cache_size(2, 512 << 10)


@cache
def _cache_size(level: int, otherwise: int) -> int:
    """As Linux tells it; elsewhere what most have."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if int((index / "level").read_text()) == level and (index / "type").read_text().strip() != "Instruction":
                return int((index / "size").read_text().strip().removesuffix("K")) << 10
        except (OSError, ValueError):
            continue
    return otherwise


@cache
def host() -> Machine:
    features = llvm.get_host_cpu_features()
    wide = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
    return Machine(llvm.get_host_cpu_name(), features.flatten(), wide, bool(features.get("fma")) or wide == 64)


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
