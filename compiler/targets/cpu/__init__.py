"""Kernels: Python source over pointers, compiled by Numba, and the product in LLVM's terms; kept on disk, linked into one
step.

loops.py writes fused loops, tiles.py holds the products, build.py compiles and links, cache.py stores. Knows no graph.
"""
