"""Kernels: loops as Python source, compiled by Numba, products and attention in LLVM's terms; kept on disk, linked into
one step.

loops.py writes fused loops, tiles.py the products, attention.py attention, winograd.py
convolutions with fewer multiplications; build.py compiles and links, cache.py stores. Knows no graph.
"""
