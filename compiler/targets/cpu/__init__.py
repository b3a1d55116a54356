"""Kernels: loops as text, products and attention in LLVM's terms; kept on disk, linked into one step.

loops.py writes fused loops as text in a part of Python, which translate.py turns into LLVM's instructions. tiles.py
writes the products, attention.py attention, winograd.py convolutions with fewer multiplications; build.py compiles and
links, cache.py stores. Knows no graph.
"""
