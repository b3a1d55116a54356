"""Graph -> tasks: which values share a loop, where each value lies in memory, which kernel computes it.

- the walk: lower.py (the entry), walk.py, buffers.py (the state), forms.py (which function lowers which operation)
- decisions before the walk: fuse.py and units.py (which values share a loop; apart.py says why not), padding.py,
  parts.py, in_place.py, storage.py
- loops: loop.py (builds one), elementwise.py, assembly.py, copies.py, extent.py, gather.py, sequences.py, argmax.py,
  running.py, touched.py, sizes.py
- products: contractions.py chooses winograd.py, grouped.py, products.py (with indices.py, product_loops.py) or a loop
- other kernels: attention.py, custom.py
- sums over the batch: shards.py; bodies of scans: scans.py; the end of a program: results.py
"""
