"""The target for CPUs: kernels become machine code, linked with their schedule into one function that runs a step.

    a loop nest             nests/loops.py: a text, text/text_kernel.py: LLVM's instructions, which LLVM vectorises
    a product               products/float_product.py: LLVM's instructions on vectors; so are attention and convolutions
    the schedule of calls   schedule/emit.py: a function that calls the kernels

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

- target.py is the interface; build.py, source.py, compile.py (in helper_processes.py), cache.py and linked.py make
  machine code of a program
- nests/: from a nest of loops to the text of its kernel. loops.py and nest_writer.py write it, with a file for each
  kind of reduction (sums_in_*.py, extremes_*.py, largest.py, running.py); decisions that know the nest alone: jam.py,
  short_rows.py, vector_rows.py, vector_lines.py, shape_numbers.py, prefetch.py
- text/: from a text to LLVM IR: specialise_text.py, translate.py, text_kernel.py; its built-ins: memory.py,
  row_vectors.py, sums.py, extremes.py, squares.py, math_builtins.py; kernels of users: custom.py
- math/: functions of numbers, such as exp
- llvm/: what all kernels and the schedule are written with: function.py (integers, loops, records), vectors.py,
  bf16_pairs.py, counted_loop.py, loop_hints.py
- products/: float_product.py, common.py and panel_kernel.py have the loops, tile.py and narrow_tile.py the register
  tiles, packing.py copies of operands, weight_panels.py panels of recurrent weights; in bf16: pair_product.py,
  amx_product.py
- convolutions/: Winograd's filtering, and narrow groups of channels; attention/: attention, block by block
- schedule/: the function of a step (emit.py, group_loops.py, step_function.py), and the context that it reads
- bounds/: bounds of this machine for `netc profile`

No two folders import each other: llvm/, math/ and nests/ are the lowest, then text/ and products/, then convolutions/
and attention/. Knows no graph.
"""
