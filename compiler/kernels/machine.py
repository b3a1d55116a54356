"""The CPU that kernels are compiled for: how wide its vectors are, and what a key must say of it."""

from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm


@dataclass(frozen=True, slots=True)
class Machine:
    """`vector_bytes` and `has_fma` shape the register tile; `cpu` and `features` go to LLVM and into every key."""

    cpu: str
    features: str
    vector_bytes: int
    has_fma: bool

    def lanes(self, dtype: str) -> int:
        return self.vector_bytes // {"f32": 4, "f64": 8}[dtype]

    @property
    def tile_rows(self) -> int:
        """Rows of the register tile: two vectors a row must fit beside the operands, in 32 registers with AVX-512, 16 without."""
        return 12 if self.vector_bytes == 64 else 6 if self.has_fma else 4


@cache
def host() -> Machine:
    features = llvm.get_host_cpu_features()
    wide = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
    return Machine(llvm.get_host_cpu_name(), features.flatten(), wide, bool(features.get("fma")) or wide == 64)
