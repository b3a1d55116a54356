"""The target for CPUs: kernels become machine code, linked with their schedule into one function that runs a step.

    a loop nest             loops.py: a text, text_kernel.py: LLVM's instructions, which LLVM vectorises
    a product               tiles.py: LLVM's instructions on vectors; so are attention and Winograd's convolution
    the schedule of calls   emit.py: a function that calls the kernels

The text of a kernel is a function in a small part of Python. Its arguments are addresses of buffers and counts; it
calls built-ins such as `load_f32_0`, a load of an f32 from the buffers of alias scope 0. `y = relu(2 * h)` for rows of
16 numbers is

    def kernel(p0, p1, n0):
        for i0 in range(n0):
            t0 = load_f32_0(p0, i0)
            t1 = F32(2.0) * t0
            t2 = F32(0) if t1 < F32(0) else t1
            store_f32_1(p1, i0, t2)

with n0 = 16 * rows, because both axes are walked as one. Where to look:

- interface: target.py; compiling and linking: build.py, compile.py, cache.py, linked.py
- from a nest to its text: source.py, loops.py, nest_writer.py, expressions.py, and custom.py for kernels of users;
  a file for each kind of reduction: sums_in_*.py, extremes_*.py, largest.py, running.py; and transposes.py
- decisions that know the nest alone: jam.py, short_rows.py, vector_rows.py, vector_lines.py, shape_numbers.py,
  prefetch.py
- from a text to LLVM: specialise_text.py, translate.py, translate_expressions.py, variables.py, operators.py,
  values.py, loop_hints.py, in_order.py; the built-ins: memory.py, row_vectors.py, sums.py, extremes.py, squares.py
  and math/
- what kernels in vectors are written with: function.py (integers, loops, records), vectors.py; counted_loop.py
- products: tiles.py, product_kernel.py, panel_kernel.py, few_tiles.py, tile*.py, narrow_tile.py, packing.py,
  next_strip.py, later.py; in bf16: pair_product.py, pair_packing.py, pairs.py, amx_*.py
- attention*.py, winograd*.py, grouped*.py
- the function of a step: emit.py, group_loops.py, step_function.py, records.py, barrier.py, messages.py; its context:
  context.py
- bounds of this machine for `netc profile`: peak.py, bounds_*.py

Knows no graph.
"""
