"""Products: a register tile in LLVM vector IR, and the loops around it, generic in shape, compiled once for all models.

    c[i, j] = start[i, j] + sum over k of a[i * a_row + k * a_step] * b[k * b_row + j * b_column]

The depth may be three loops: k runs within a run (the bytes that a window's row holds), runs follow one another in registers (the rows of a window), and
around both a loop that adds to c in memory (the samples of a batch). So a convolution is this tile on a view of its input, with nothing copied.

The tile keeps `rows` x 2 vectors of sums in registers, and begins with `start` (a bias, a residual) where there is one. Columns past the
last whole tile are read (the planner leaves room behind every buffer) but never stored. A b whose columns are not neighbours
(a transposed weight) goes through `pack`, a panel at a time. Strides are in elements, addresses in bytes.

While a panel of b is multiplied, the next one is fetched. What will be written next in the same places (up to three buffers with c's strides, `touches` of them) is fetched while a tile is summed: another core may
hold it, and the tile leaves the memory idle.

Every element of c is written, whatever the counts: with no depth it is `start`, or zero. A caller may so add up shards some of which hold no samples.

An element's sum runs over k in order, whatever tile it falls in: the bits do not depend on how rows are shared out.
"""

from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from netc.compiler.ir.types import DTYPES
from netc.compiler.kernels.jit import jit_for
from netc.compiler.kernels.machine import LINE, STRIP, VECTORS, Machine
from netc.compiler.kernels.memory import load, store

_I64, _I32 = ir.IntType(64), ir.IntType(32)


def _tile(rows: int, vectors: int, dtype: str, machine: Machine) -> Any:
    """Intrinsic: one tile of `rows` rows; `columns` of its columns are stored; it begins with `start` if `has_start`."""
    element, lanes = (ir.FloatType() if dtype == "f32" else ir.DoubleType()), machine.lanes(dtype)
    vector, align = ir.VectorType(element, lanes), DTYPES[dtype].bytes
    grid = [(i, j) for i in range(rows) for j in range(vectors)]

    @intrinsic
    def tile(
        typing, a, a_row, a_step, a_run, b, b_row, b_run, c, c_row, start, start_row, has_start, runs, depth, columns
    ):
        def codegen(context, builder, signature, arguments):
            (a, a_row, a_step, a_run, b, b_row, b_run, c, c_row, first, first_row, has_start, runs, depth, columns) = (
                arguments
            )
            a, b, c, first = (builder.inttoptr(base, element.as_pointer()) for base in (a, b, c, first))
            function, module = builder.function, builder.module

            def number(value: int) -> Any:
                return ir.Constant(_I64, value)

            def intrinsic_function(name: str, kind: Any) -> Any:
                return module.globals.get(name) or ir.Function(module, kind, name)

            def at(base: Any, index: Any) -> Any:
                return builder.bitcast(builder.gep(base, [index]), vector.as_pointer())

            def splat(pointer: Any) -> Any:
                scalar = builder.load(pointer)
                scalar.align = align
                undefined = ir.Constant(vector, ir.Undefined)
                return builder.shuffle_vector(
                    builder.insert_element(undefined, scalar, ir.Constant(_I32, 0)),
                    undefined,
                    ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes),
                )

            def multiply_add(x: Any, y: Any, z: Any) -> Any:
                if not machine.has_fma:
                    return builder.fadd(builder.fmul(x, y), z)
                suffix = f"v{lanes}{dtype}"
                return builder.call(
                    intrinsic_function(f"llvm.fma.{suffix}", ir.FunctionType(vector, [vector] * 3)), [x, y, z]
                )

            places = {(i, j): builder.add(builder.mul(c_row, number(i)), number(j * lanes)) for i, j in grid}
            zero = ir.Constant(vector, [0.0] * lanes)
            entry = builder.block
            reading, run, loop, ran, done, whole, partial, end = (
                function.append_basic_block(f"tile.{name}")
                for name in ("read", "run", "depth", "ran", "done", "whole", "partial", "end")
            )
            before = function.append_basic_block("tile.before")
            builder.cbranch(builder.icmp_signed("!=", has_start, number(0)), reading, before)
            builder.position_at_end(reading)
            held = {}
            for place in grid:
                i, j = place
                held[place] = builder.load(at(first, builder.add(builder.mul(first_row, number(i)), number(j * lanes))))
                held[place].align = align
            builder.branch(before)
            builder.position_at_end(before)
            start = {}
            for place in grid:
                start[place] = builder.phi(vector)
                start[place].add_incoming(zero, entry)
                start[place].add_incoming(held[place], reading)
            row_at = [builder.mul(a_row, number(i)) for i in range(rows)]
            builder.cbranch(builder.icmp_signed(">", builder.mul(runs, depth), number(0)), run, done)

            builder.position_at_end(run)
            r = builder.phi(_I64)
            r.add_incoming(number(0), before)
            held_over = {place: builder.phi(vector) for place in grid}
            b_of_run, a_of_run = builder.gep(b, [builder.mul(r, b_run)]), builder.gep(a, [builder.mul(r, a_run)])
            builder.branch(loop)

            builder.position_at_end(loop)
            k = builder.phi(_I64)
            k.add_incoming(number(0), run)
            sums = {place: builder.phi(vector) for place in grid}
            b_at = builder.gep(b_of_run, [builder.mul(k, b_row)])
            a_at = builder.gep(a_of_run, [builder.mul(k, a_step)])
            lane = []
            for j in range(vectors):
                lane.append(builder.load(at(b_at, number(j * lanes))))
                lane[-1].align = align
            column = [splat(builder.gep(a_at, [offset])) for offset in row_at]
            added = {(i, j): multiply_add(column[i], lane[j], sums[i, j]) for i, j in grid}
            following = builder.add(k, number(1))
            k.add_incoming(following, loop)
            for place in grid:
                sums[place].add_incoming(held_over[place], run)
                sums[place].add_incoming(added[place], loop)
            builder.cbranch(builder.icmp_signed("<", following, depth), loop, ran)

            builder.position_at_end(ran)
            another = builder.add(r, number(1))
            r.add_incoming(another, ran)
            for place in grid:
                held_over[place].add_incoming(start[place], before)
                held_over[place].add_incoming(added[place], ran)
            builder.cbranch(builder.icmp_signed("<", another, runs), run, done)

            builder.position_at_end(done)
            result = {}
            for place in grid:
                result[place] = builder.phi(vector)
                result[place].add_incoming(start[place], before)
                result[place].add_incoming(added[place], ran)
            builder.cbranch(builder.icmp_signed(">=", columns, number(vectors * lanes)), whole, partial)
            builder.position_at_end(whole)
            for place in grid:
                builder.store(result[place], at(c, places[place])).align = align
            builder.branch(end)
            builder.position_at_end(partial)
            masks = ir.VectorType(ir.IntType(1), lanes)
            pointer = vector.as_pointer()
            masked = intrinsic_function(
                f"llvm.masked.store.v{lanes}{dtype}.p0", ir.FunctionType(ir.VoidType(), [vector, pointer, _I32, masks])
            )
            wide = ir.VectorType(_I64, lanes)
            limit = builder.shuffle_vector(
                builder.insert_element(ir.Constant(wide, ir.Undefined), columns, ir.Constant(_I32, 0)),
                ir.Constant(wide, ir.Undefined),
                ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes),
            )
            for i, j in grid:
                mask = builder.icmp_signed("<", ir.Constant(wide, [j * lanes + lane for lane in range(lanes)]), limit)
                builder.call(masked, [result[i, j], at(c, places[i, j]), ir.Constant(_I32, align), mask])
            builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(*([types.int64] * 15)), codegen

    return tile


def _touch(rows: int, vectors: int, dtype: str, machine: Machine, is_written: bool) -> Any:
    """Intrinsic: fetch the cache lines that lie under a tile, into the first cache to be written, or into the second to be read."""
    lines = range(0, vectors * machine.vector_bytes, LINE)
    flags = (1, 3, 1) if is_written else (0, 2, 1)  # written, how near, data

    @intrinsic
    def touch(typing, base, row):
        def codegen(context, builder, signature, arguments):
            base, row = arguments
            size = ir.Constant(_I64, DTYPES[dtype].bytes)
            pointer = ir.IntType(8).as_pointer()
            kind = ir.FunctionType(ir.VoidType(), [pointer, _I32, _I32, _I32])
            prefetch = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
                builder.module, kind, "llvm.prefetch.p0"
            )
            for i in range(rows):
                at = builder.add(base, builder.mul(builder.mul(row, ir.Constant(_I64, i)), size))
                for line in lines:
                    address = builder.inttoptr(builder.add(at, ir.Constant(_I64, line)), pointer)
                    builder.call(prefetch, [address, *(ir.Constant(_I32, flag) for flag in (flags))])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return touch


def _transpose(dtype: str, machine: Machine) -> Any:
    """Intrinsic: a square of lanes x lanes elements, rows `row` apart, into columns: `to` gets rows `to_row` apart."""
    element, lanes = (ir.FloatType() if dtype == "f32" else ir.DoubleType()), machine.lanes(dtype)
    vector, align = ir.VectorType(element, lanes), DTYPES[dtype].bytes

    @intrinsic
    def transpose(typing, source, row, to, to_row):
        def codegen(context, builder, signature, arguments):
            source, row, to, to_row = arguments
            source, to = (builder.inttoptr(base, element.as_pointer()) for base in (source, to))

            def at(base: Any, stride: Any, i: int) -> Any:
                place = builder.gep(base, [builder.mul(stride, ir.Constant(_I64, i))])
                return builder.bitcast(place, vector.as_pointer())

            rows = []
            for i in range(lanes):
                rows.append(builder.load(at(source, row, i)))
                rows[-1].align = align
            half = lanes // 2
            low = ir.Constant(ir.VectorType(_I32, lanes), [i // 2 + lanes * (i % 2) for i in range(lanes)])
            high = ir.Constant(ir.VectorType(_I32, lanes), [half + i // 2 + lanes * (i % 2) for i in range(lanes)])
            for _ in range(lanes.bit_length() - 1):  # each round interleaves row i with row i + half
                pairs = [(rows[i], rows[i + half]) for i in range(half)]
                rows = [builder.shuffle_vector(x, y, mask) for x, y in pairs for mask in (low, high)]
            for i in range(lanes):
                builder.store(rows[i], at(to, to_row, i)).align = align
            return context.get_dummy_value()

        return types.void(*([types.int64] * 4)), codegen

    return transpose


def product(dtype: str, machine: Machine) -> Any:
    """The Python function of build.PRODUCT (all int64) that build.py compiles: any shape, two loops around for batches of products."""
    size, lanes, width = DTYPES[dtype].bytes, machine.lanes(dtype), machine.panel(dtype)
    tallest = machine.tile_rows
    heights = sorted({tallest, *(rows for rows in (8, 6, 4, 2, 1) if rows < tallest)}, reverse=True)
    transpose, element, put = _transpose(dtype, machine), load(dtype, 0), store(dtype, 1)
    names: dict[str, Any] = {"fetch": _touch(1, VECTORS, dtype, machine, is_written=False)}
    lines = [
        "def tiles(",
        "    a, a_row, a_step, a_run, b, b_row, b_run, c, c_row, start, start_row, has_start,",
        "    rows, runs, depth, columns, at, touches, ahead,",
        "):",
        "    i = 0",
    ]
    for rows in heights:
        names[f"touch_{rows}"] = _touch(rows, VECTORS, dtype, machine, is_written=True)
        names[f"wide_{rows}"], names[f"narrow_{rows}"] = (_tile(rows, one, dtype, machine) for one in (VECTORS, 1))
        arguments = (
            f"(a + i * a_row * {size}, a_row, a_step, a_run, b, b_row, b_run, c + i * c_row * {size}, c_row,"
            f" start + i * start_row * {size}, start_row, has_start, runs, depth, columns)"
        )
        lines += [
            f"    while rows - i >= {rows}" + (f" and rows - i != {rows + 2}:" if rows == tallest else ":"),
            "        for n in range(touches):",
            f"            touch_{rows}(at[n] + i * c_row * {size}, c_row)",
            f"        for k in range(depth * i // rows, depth * (i + {rows}) // rows if ahead else 0):",
            f"            fetch(ahead + k * b_row * {size}, 0)",
            f"        if columns > {lanes}:",
            f"            wide_{rows}{arguments}",
            "        else:",
            f"            narrow_{rows}{arguments}",
            f"        i += {rows}",
        ]
    exec("\n".join(lines), names)
    jit = partial(jit_for(machine), nogil=True, error_model="numpy")
    tiles = jit(names["tiles"])

    @jit
    def pack_panel(to, b, b_row, b_column, depth, columns):
        whole = columns // lanes * lanes if b_row == 1 else 0
        for j in range(0, whole, lanes):  # the last square reads past the depth, and leaves rows that no tile takes
            for k in range(0, depth, lanes):
                transpose(b + (k + j * b_column) * size, b_column, to + (k * width + j) * size, width)
        for j in range(whole, columns):
            for k in range(depth):
                put(to, k * width + j, element(b, k * b_row + j * b_column))

    def run(
        a,
        b,
        c,
        start,
        pack,
        touch_1,
        touch_2,
        touch_3,
        a_row,
        a_step,
        b_row,
        b_column,
        c_row,
        start_row,
        has_start,
        rows,
        columns,
        depth,
        runs,
        a_run,
        b_run,
        turns,
        a_turn,
        b_turn,
        touches,
        outer,
        a_outer,
        b_outer,
        c_outer,
        start_outer,
        middle,
        a_middle,
        b_middle,
        c_middle,
        start_middle,
        inner,
        a_inner,
        b_inner,
        c_inner,
        start_inner,
    ):
        if turns == 0 or runs == 0 or depth == 0:  # nothing to add up, a shard of no samples: c is written all the same
            turns, runs, depth = 1, 1, 0
        together = min(
            runs, max(1, STRIP // max(depth, 1))
        )  # runs that one tile takes, with its panel in the second cache
        for m in range(outer * middle):
            for n in range(inner):
                p, q = m // middle, m % middle
                a_at = a + (p * a_outer + q * a_middle + n * a_inner) * size
                b_at = b + (p * b_outer + q * b_middle + n * b_inner) * size
                c_at = c + (p * c_outer + q * c_middle + n * c_inner) * size
                start_at = start + (p * start_outer + q * start_middle + n * start_inner) * size
                is_first = True
                for turn in range(turns):
                    for r in range(0, runs, together):
                        k = 0
                        while k == 0 or k < depth:
                            deep = min(STRIP, depth - k)
                            first_at, first_row, has_first = (
                                (start_at, start_row, has_start) if is_first else (c_at, c_row, 1)
                            )
                            is_first = False
                            a_first = a_at + (turn * a_turn + r * a_run + k * a_step) * size
                            b_first = b_at + (turn * b_turn + r * b_run + k * b_row) * size
                            j = 0
                            while j < columns:
                                wanted = min(width, columns - j)
                                panel_at, panel_row = b_first + j * b_column * size, b_row
                                ahead = panel_at + width * size if columns - j > width and runs == 1 else 0
                                if b_column != 1:
                                    pack_panel(pack, panel_at, b_row, b_column, deep, wanted)
                                    panel_at, panel_row, ahead = pack, width, 0
                                moved = c_at - c + j * size
                                tiles(
                                    a_first,
                                    a_row,
                                    a_step,
                                    a_run,
                                    panel_at,
                                    panel_row,
                                    b_run,
                                    c_at + j * size,
                                    c_row,
                                    first_at + j * size,
                                    first_row,
                                    has_first,
                                    rows,
                                    min(together, runs - r),
                                    deep,
                                    wanted,
                                    (touch_1 + moved, touch_2 + moved, touch_3 + moved),
                                    touches,
                                    ahead,
                                )
                                j += width
                            k += STRIP

    return run
