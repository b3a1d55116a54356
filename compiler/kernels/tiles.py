"""Products: a register tile in LLVM vector IR, and the loops around it, generic in shape, compiled once for all models.

    c[i, j] (+)= sum over k of a[i * a_row + k * a_step] * b[k * b_row + j]

The tile keeps `rows` x 2 vectors of sums in registers. Columns past the last whole tile are read (the planner leaves room behind
every buffer) but never stored. Strides are in elements, addresses in bytes.
"""

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from netc.compiler.kernels.machine import Machine

_VECTORS = 2
_I64, _I32 = ir.IntType(64), ir.IntType(32)


def _tile(rows: int, dtype: str, machine: Machine) -> Any:
    """Intrinsic: one tile of `rows` rows; `columns` of its columns are stored, `accumulate` starts from what c holds."""
    element, lanes = (ir.FloatType() if dtype == "f32" else ir.DoubleType()), machine.lanes(dtype)
    vector, align = ir.VectorType(element, lanes), 4 if dtype == "f32" else 8
    grid = [(i, j) for i in range(rows) for j in range(_VECTORS)]

    @intrinsic
    def tile(typing, a, a_row, a_step, b, b_row, c, c_row, depth, columns, accumulate):
        def codegen(context, builder, signature, arguments):
            a, a_row, a_step, b, b_row, c, c_row, depth, columns, accumulate = arguments
            a, b, c = (builder.inttoptr(base, element.as_pointer()) for base in (a, b, c))
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
            reading, loop, done, whole, partial, end = (
                function.append_basic_block(name)
                for name in ("tile.read", "tile.depth", "tile.done", "tile.whole", "tile.partial", "tile.end")
            )
            before = function.append_basic_block("tile.before")
            builder.cbranch(builder.icmp_signed("!=", accumulate, number(0)), reading, before)
            builder.position_at_end(reading)
            held = {}
            for place in grid:
                held[place] = builder.load(at(c, places[place]))
                held[place].align = align
            builder.branch(before)
            builder.position_at_end(before)
            start = {}
            for place in grid:
                start[place] = builder.phi(vector)
                start[place].add_incoming(zero, entry)
                start[place].add_incoming(held[place], reading)
            row_at = [builder.mul(a_row, number(i)) for i in range(rows)]
            builder.cbranch(builder.icmp_signed(">", depth, number(0)), loop, done)

            builder.position_at_end(loop)
            k = builder.phi(_I64)
            k.add_incoming(number(0), before)
            sums = {place: builder.phi(vector) for place in grid}
            b_at, a_at = builder.gep(b, [builder.mul(k, b_row)]), builder.gep(a, [builder.mul(k, a_step)])
            lane = []
            for j in range(_VECTORS):
                lane.append(builder.load(at(b_at, number(j * lanes))))
                lane[-1].align = align
            column = [splat(builder.gep(a_at, [offset])) for offset in row_at]
            added = {(i, j): multiply_add(column[i], lane[j], sums[i, j]) for i, j in grid}
            following = builder.add(k, number(1))
            k.add_incoming(following, loop)
            for place in grid:
                sums[place].add_incoming(start[place], before)
                sums[place].add_incoming(added[place], loop)
            builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)

            builder.position_at_end(done)
            result = {}
            for place in grid:
                result[place] = builder.phi(vector)
                result[place].add_incoming(start[place], before)
                result[place].add_incoming(added[place], loop)
            builder.cbranch(builder.icmp_signed(">=", columns, number(_VECTORS * lanes)), whole, partial)
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

        return types.void(*([types.int64] * 10)), codegen

    return tile


def product(dtype: str, machine: Machine) -> Any:
    """The Python function of build.PRODUCT (all int64) that build.py compiles: any shape, two loops around for batches of products."""
    size = 4 if dtype == "f32" else 8
    most, panel = machine.tile_rows, _VECTORS * machine.lanes(dtype)
    strip = 1024  # rows of depth at a time, so that a panel of b stays in the second cache
    highest, eight, four, two, one = (_tile(rows, dtype, machine) for rows in (most, min(8, most), 4, 2, 1))
    eight_rows = min(8, most)

    @njit(nogil=True, error_model="numpy")
    def columns_of_tiles(a, a_row, a_step, b, b_row, c, c_row, rows, columns, depth, accumulate):
        i = 0
        while rows - i >= most:
            highest(
                a + i * a_row * size, a_row, a_step, b, b_row, c + i * c_row * size, c_row, depth, columns, accumulate
            )
            i += most
        if rows - i >= eight_rows:
            eight(
                a + i * a_row * size, a_row, a_step, b, b_row, c + i * c_row * size, c_row, depth, columns, accumulate
            )
            i += eight_rows
        if rows - i >= 4:
            four(a + i * a_row * size, a_row, a_step, b, b_row, c + i * c_row * size, c_row, depth, columns, accumulate)
            i += 4
        if rows - i >= 2:
            two(a + i * a_row * size, a_row, a_step, b, b_row, c + i * c_row * size, c_row, depth, columns, accumulate)
            i += 2
        if rows - i >= 1:
            one(a + i * a_row * size, a_row, a_step, b, b_row, c + i * c_row * size, c_row, depth, columns, accumulate)

    def run(
        a,
        b,
        c,
        a_row,
        a_step,
        b_row,
        c_row,
        rows,
        columns,
        depth,
        accumulate,
        outer,
        a_outer,
        b_outer,
        c_outer,
        inner,
        a_inner,
        b_inner,
        c_inner,
    ):
        for m in range(outer):
            for n in range(inner):
                a_at = a + (m * a_outer + n * a_inner) * size
                b_at = b + (m * b_outer + n * b_inner) * size
                c_at = c + (m * c_outer + n * c_inner) * size
                k = 0
                while k == 0 or k < depth:
                    deep = min(strip, depth - k)
                    j = 0
                    while j < columns:
                        columns_of_tiles(
                            a_at + k * a_step * size,
                            a_row,
                            a_step,
                            b_at + (k * b_row + j) * size,
                            b_row,
                            c_at + j * size,
                            c_row,
                            rows,
                            min(panel, columns - j),
                            deep,
                            1 if k > 0 else accumulate,
                        )
                        j += panel
                    k += strip

    return run
