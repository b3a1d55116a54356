"""Kernels: loops as Python source, compiled by Numba, and products in LLVM's terms; kept on disk, linked into one step.

loops.py writes fused loops, tiles.py holds the products, build.py compiles and links, cache.py stores. Knows no graph.
"""
