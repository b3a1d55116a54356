"""Arguments of kernels that prefetch, while they compute, what later calls of their group will read or write.

Each of MOST stretches of memory has an address and a number of bytes, which is 0 if there is none. Nothing depends on
what lies there: a stretch may even reach past all memory.
"""

MOST = 6
POINTERS = tuple(f"prefetch_{i + 1}" for i in range(MOST))
NUMBERS = tuple(f"{name}_bytes" for name in POINTERS)
