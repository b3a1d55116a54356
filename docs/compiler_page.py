"""The page of how the compiler works: one small file through every pass, with the graph after each of them."""

from collections.abc import Iterator

import netc
from netc.compiler import pipeline
from netc.compiler.analysis.differences import Labels, as_lines, difference
from netc.compiler.lowering.lower import lower
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.listing import task_lines
from netc.compiler.program.tasks import Tasks
from netc.compiler.targets.cpu.math.errors import ERRORS
from netc.compiler.targets.cpu.source import source_of
from netc.compiler.targets.named import NAMED

FILE = """model {
  input x: float[time, 2]
  target y: float

  h = last(rnn(x, 3)) -> dropout(0.5)
  z = h -> dense(1) -> squeeze

  output chance = sigmoid(z)
  loss nll = -(y * log(sigmoid(z)) + (1 - y) * log(1 - sigmoid(z)))
}

train {
  optimizer = sgd(lr = 0.1)
}
"""
PASSES = {
    "elaborate": """The syntax tree becomes a graph of typed values. Blocks are applied: only the equations of `rnn`
and `dense` are left, and each value knows the line that it comes from. The file describes one sample; in the graph
every value that depends on data has the batch as its first dimension. A sequence has one row for each step of each
sample (`f32[time, 3]`), without padding and without a mask. A `scan` is one value whose body is a graph of its own.""",
    "specialise": """The graph is specialised for training: `training` is true, and the other branch of dropout is
removed. Values that only a prediction needs are removed too.""",
    "stabilise": """The file writes the loss as a textbook does. But `log(sigmoid(z))` is infinite where the sigmoid
rounds to 0, and `1 - sigmoid(z)` loses all digits where the sigmoid rounds to 1. This pass has a table of such
patterns and replaces each by a stable form: here by two `softplus`. It runs before differentiation, so the gradient
is that of the stable form.""",
    "reorder": """An increasing function costs less after a maximum than before it (`relu` and `maxpool`), so this
pass swaps them. This file has no such pair.""",
    "derive": """Replaces each `grad(y, x)` of the file by the values that compute it. This file has none.""",
    "attend": """Attention, a softmax of scores between two products, becomes one operation. It is computed block by
block and its gradient computes the scores again, so that memory grows with the length of a sequence and not with its
square ([Attention](#attention)). This file has none.""",
    "pack": """Attention reads the rows of its queries, keys and values where they are, by index tables. The copies that
held them at a bound, one for each sample, are removed, so that a bound need not be declared. This file has none.""",
    "differentiate": """Reverse-mode differentiation: the pass walks the graph backwards and asks the rule of each
operation for the gradients of its operands. Rules are made of operations, so the result is more of the same graph.
Each gradient keeps the line of the value that it belongs to. The gradient of a scan is a scan that runs backwards
and reads what the forward scan saved. For that the forward body first yields every value that it computes; later
passes remove those that nobody reads. The gradient of `last` puts rows at the positions of the last steps, and the
gradients of weights are sums over all rows.""",
    "update": """The optimizer is made of values too: here one subtraction for each parameter. From here on the
graph is a whole training step, from the batch to the next parameters. Where a batch looks up a few rows of a large
table, the sums of their gradients (`sum_at`) and their new values are computed for these rows alone, and `put` into the
table.""",
    "narrow": """With `precision = bf16`, the operands of products and convolutions are rounded to bf16 from here on,
each value once. Sums and all other values stay in f32. On a machine whose products multiply pairs of such numbers,
lowering keeps rounded values in 16 bits (`compiler/lowering/storage.py`). This file is in f32, so nothing changes.""",
    "expand": """Operations that were kept whole so that their rules stay short are written out now. Random numbers
become arithmetic on 32-bit words, a function of seed, epoch and sample alone. (`softmax`, convolutions and pools
are expanded here too.) Values that nobody reads are removed from the two scans.""",
    "simplify": """Equal values are merged: the three readers of the backward scan's result share one `part`.
Constants are folded, and operations without effect are removed, such as a multiplication by one or a reshape to the
same shape.""",
    "hoist": """Values that do not depend on a carry move out of the scan. `x @ W` for all steps becomes one product
before the scan, on the register tile, and the derivative of `tanh` becomes one loop. Only what depends on the step
before stays in the scans: one product per step. `h @ U` reads a copy of the weight in the order that suits it:
transposed, in panels if it is large, or in panels of pairs if it is rounded to bf16. An outer product of a step's row
and a weight, as in a state-space layer, stays too: the scan reads the row alone. So do sums of states that are
matrices of each sample (`operations/wide_states.py`), which are then never read from memory.""",
    "factor": """A factor or a sign that is the same for all elements of a sum is applied after the sum. The sum of a
product over an index of both operands, as in a confusion matrix, is computed by the product.""",
    "lift": """The gradient of a max pool is an image that is made of a few small values. Where only sums and
element-wise values read it, this pass computes them part by part. This file has no pool.""",
    "sink": """Slices move through element-wise values, so that a pool after a normalisation needs no memory in
between. This file has none.""",
    "recompute": """A product reads the result of a ReLU from memory. A loop that needs it too, and reads what it is
computed from anyway, computes it again: the gradient of a ReLU behind a normalisation. Products of the backward pass
read a copy of such a value, computed when it is needed, so that nothing has to keep it. This file has none.""",
}


def _errors() -> str:
    """A table of the errors of functions."""
    rows = [f"| `{name}` | {narrow:g} | {wide:g} |" for name, (narrow, wide) in ERRORS.items()]
    head = ["Their largest errors, in units in the last place:", "", "| function | f32 | f64 |", "| --- | --- | --- |"]
    return "\n".join(
        [*head, *rows, "", "`python -m tests.math_errors` measures them, with `--all` at every number of f32."]
    )


def compiler() -> str:
    """One file through every pass, down to the kernels."""
    return "\n".join(_compiler()) + "\n"


def _compiler() -> Iterator[str]:
    yield INTRODUCTION
    yield f"```net\n{FILE.rstrip()}\n```\n"
    yield NOTATION
    model = netc.parse(FILE)
    labels, before = Labels(), list[str]()
    stages = pipeline.training_stages(model)
    for name, graph in stages.items():
        now = as_lines(graph, labels)
        yield f"\n## {name}\n\n{PASSES[name]}\n"
        changed = list(difference(before, now)) if before else now
        if changed:
            text = "\n".join(changed)
            yield f"```{'diff' if before else ''}\n{text}\n```"
        before = now
    graph = list(stages.values())[-1]
    tasks = lower(graph, model.train.batch, NAMED["avx2"]).tasks
    loops = [task for task in tasks if not isinstance(task.kernel, Contraction)]
    count = sum(bool(value.operands) for value in graph.values())
    yield f"""
## Fusion, layout and lowering

Values that iterate over the same index space share a loop if one reads what the other computes. Here {count} values
become {len(tasks)} kernel calls, and {len(tasks) - len(loops)} of these are matrix products.
`netc explain M.net --fusion` lists the loops, and says for values in different loops why they are apart.
Numbers that follow from sizes alone, such as one through the number of samples, are computed by the loops that read
them, from arguments of the kernel. So the loop that sums a loss computes its derivative too, and nothing has to wait.

The lowered program is data that does not depend on a target: loop nests with a tree for each scalar expression, matrix
products, and the memory that they read and write. `netc explain M.net --after lower` prints it. This is the loop of the
loss and its derivative:
"""
    kernel = max(loops, key=lambda task: len([value for value in task.values if value.span.line == 9]))
    listing = "\n".join(task_lines(Tasks([kernel])))
    yield f"```\n{listing}\n```"
    yield LISTING
    yield f"```{{.python .kernel}}\n{source_of(kernel.kernel).text.rstrip()}\n```"
    yield BELOW.replace("ERRORS", _errors())


INTRODUCTION = """# How the compiler works

Generated by `python docs/pages.py`. This page follows one small file through every pass: a recurrent layer,
dropout, and a loss written as in a textbook. `netc explain M.net --after PASS --diff PASS` prints the same for any
file.
"""
NOTATION = """`ARCHITECTURE.md`, in the repository, says where each part lives, and [Invariants](invariants.md) says
what always holds. A value is written `name = operation(operands) : type`. Its name consists of the operation and
the line that it comes from.
"""
LISTING = """
| line of a listing | meaning |
| --- | --- |
| `m0  f32[batch, 4], temporary` | a buffer; leaves and results have their names, `m0`, `m1`, ... are temporary |
| `task 0: loop of ...; rows of batch` | a kernel call, the values that it computes, the rows that workers share |
| `p0 = x + 2, 4 a row` | a pointer, 2 elements into the buffer `x`; it moves by 4 elements for each row |
| `for i0 < n0 = 4 * rows` | a loop whose count is an argument of the kernel; `rows` are those of the call |
| `for i1 < 5, folded` | a loop that sums, maxima and the like run along |
| `s0 = batch` | a number of elements that lines compute with, an argument of the kernel too |
| `t0 = f32 p0[i0 * 5 + i1]` | a load |
| `t1 = exp.f32(t0) * f32(2.0)` | an expression; functions, conversions and numbers have a type |
| `f32 p1[i0] = fold of t1 from f32(0.0) by a + b` | a store, here of a sum |
| `... by a + b, at each point` | a store of each sum so far |
| `first equal of n0 = batch` | looks up each element of an index among those before it |
| `sums in blocks`, `in groups`, `in lanes` | the order of a sum of floats, of rows, or of products: it decides bits |
| `attention in f32`, `heads = 4`, ... | an attention kernel, and its counts and strides (`program/attention.py`) |
| `winograd convolve in f32`, ... | a kernel of Winograd's convolution, its counts and strides (`program/winograd.py`) |
| `grouped convolve of 8 to 8 ...`, ... | a kernel of a convolution in narrow groups (`program/grouped.py`) |
| `rows = rows: a + 40, c + 24` | a loop of a product, and by how many elements each operand moves in it |
| `contraction in f32 of gathered rows` | `order` names rows of `a`, or those of its `depth` or `copied depth` |

The text reads back to equal data (`compiler/program/listing_parser.py`), and `verify_tasks` checks what holds for every
program. A target writes the kernels in its own language. For CPUs that is text in a small part of Python, with built-in
functions:
"""
BELOW = """
Some built-ins stand for loops of vectors: `sum_f32(block, n)` adds up n elements of a block in the fixed order of
`targets/cpu/text/sums.py`, `index_of_largest_f32(p0, i, n)` is the index of the largest of n elements, and
`transpose16_f32(square0, p0, i, stride)` transposes 16 x 16 elements in registers, for a loop that reads across rows.

A matrix product has a kernel of its own: a tile of the result stays in registers while the kernel walks the summed
dimension, and the tile starts with the bias. With vectors of 64 bytes, the sums of up to four columns in f32 share a
vector with those of other rows. A convolution is the same product, over a view of the image whose strides overlap,
unless it is computed [with fewer multiplications](#convolution-with-fewer-multiplications). Small windows of an image
of a few channels, and the gradients of their weights, are sums in loops, which keep all weights of a window, or all
sums, in registers. A vector times a matrix is a loop too, unless the matrix has wide rows: the matrix is read once,
without a copy, and a tile of one row would wait for its sums. The panels of a recurrent weight (`passes/panels.py`) are
taken as the columns of one product, so that the rows are copied once for all of them, where that pays.

The first layer reads the rows of a batch where they lie in the table of the data, in the order of the batch, and so
does the gradient of its weights (`lowering/in_place.py`): a register tile has a pointer to each of its rows, or looks
up the row of each step of depth, which takes no time beside its multiply-adds. Rows are copied into a buffer first if
anything reads them but products and loops over their points, if a batch of them takes more than half of the second
cache, or if the gradient would copy them into another order anyway (wide layers, on CPUs other than Zen 4).

With `precision = bf16`, a product says `of pairs` if the target multiplies two numbers at once, and `in tiles` if it is
large and the target has AMX. Both kernels copy panels of b as pairs of neighbours along the depth, unless they lie so:
the weight of a scan is copied before all steps (`passes/panels.py`). They copy a too where its pairs are not
neighbours. The one in tiles adds up in AMX's registers, a block of 32 rows x 32 columns at a time, and a block at an
edge works on a copy of its corner. It configures the registers of its thread at the start and releases them at the end.
A process asks Linux for the registers when it asks what the host is; if they are refused, the host counts as a CPU
without AMX. On a machine without AMX, functions over memory stand for its instructions
(`targets/cpu/products/amx_emulated.py`), and so its tests run anywhere. So far the instructions themselves have run
only where a handler of the signal for unknown ones computes them, never on a CPU that has them, and nobody has measured
their speed.

## Plan

Kernel calls are arranged in *phases* with barriers between them. Within a phase each worker takes its share of the
batch's rows through all calls of a *group*, one block of rows at a time, while that block is in its cache. A block has
the number of rows with the fewest bytes that must be read again from behind that cache: weights, once for each block,
and what a call passes on. A weight's gradient, for example, is summed over the whole batch and used by the optimizer
before it leaves the cache; only if each block would read large operands from memory again, one block has all rows.
Within a scan a worker takes its own samples through all steps.

A product of few rows takes as long as it takes to read its weights: a second worker that computes half of the rows
reads all of them too, and a batch of a single sample has no rows to share out. If a product over the batch reads more
than 256 KiB of weights, and four times as much as everything else, workers therefore share the columns of its result,
each with all rows (`planning/columns.py`). In steps of a single sample they do so in all products and convolutions of
more than 64 KiB. Ranks share rows alone.

Loops between convolutions, as those of a normalisation, read what other phases wrote, and would wait for memory. The
products and convolutions of a group prefetch it for them, line by line while they compute: what the loops behind them
will read and write, or those before them in the next block of rows (`planning/prefetches.py`). Loops that read rows
by their numbers, the samples of a batch or the rows of a table, prefetch those of later numbers by themselves.

Buffers that are not alive at the same time share memory; `netc check` prints how much memory a step needs.

`netc explain M.net --after plan` prints the phases and groups, the rows that a worker takes at once, and the address of
each pointer: a memory, the bytes into it, and how it moves. This text reads back too, and `verify_plan` checks that
every element is written before it is read and that nobody else touches it.

## Kernels

Each kernel's text is translated to LLVM's instructions and compiled once (`targets/cpu/text/translate.py`). Variables
have types as in Python and NumPy: whole numbers have 64 bits, and an f32 with a whole number is an f64. What a text
cannot say, such as a sum in a fixed order or a vector, is a built-in that emits its instructions. The object code is
kept on disk under a hash of everything that decides it.

LLVM finds the vectors of most loops. The text that is compiled differs from the printed one for some kinds of rows:

- **Long rows.** Extents and strides are arguments, because that costs nothing there: a model with other widths then
  needs few other kernels. So they are for rows of numbers, such as the border of an image, for operands that are read
  across their rows, and for sums of rows whose length is an argument (`targets/cpu/nests/shape_numbers.py`).
- **Odd rows.** Sums of rows of products, such as those of a depthwise convolution, and odd rows of copies and of
  expressions without functions name their vectors, so that the rest of a row is one narrow vector
  (`targets/cpu/nests/vector_rows.py`).
- **Sums along rows** add vectors as they compute them, in the same order as before, also if values of these rows are
  stored (`targets/cpu/nests/sums_in_chunks.py`). Elements that pass a test are added under a mask, where a CPU has
  masks, and counted in whole numbers if a sum only says how many pass.
- **Maxima along rows** compare floats in vectors, and look for NaN separately
  (`targets/cpu/nests/extremes_in_chunks.py`).
- **Sums and maxima over rows** of at most two vectors, such as the gradient of a bias for few channels, stay in
  registers over all rows (`targets/cpu/nests/sums_in_memory.py`).
- **Short rows** of known length have a hint that LLVM vectorises them before it unrolls the loop
  (`targets/cpu/text/loop_hints.py`). Those of functions such as `exp` whose sum is taken in order are stored first, and
  added in a loop behind. Sums of rows of 9 to 16 elements take 16 rows as a square, which is transposed and added
  column by column (`targets/cpu/nests/sums_in_squares.py`).

The schedule of their calls becomes object code too. A small loader (`targets/cpu/linked.py`) puts all of it into
memory as one function, or LLVM links it where the loader does not know the processor. Every worker enters this
function for many steps at once: between steps no Python runs and no lock is held. `netc profile M.net` shows the time
of each kernel or line beside what the machine can reach, and `-o FILE.svg` draws it.

## Attention

The pass `attend` recognises attention, also when a file writes it by hand: a softmax of scores, which are the products
of queries and keys, and the product of these weights with values. Constant factors of the scores, the mask of later
keys (`causal`) and that of the steps beyond a sample's end may lie in between. There may be a single query, and the
same queries for all samples. If a head has at least 1,024 scores at the bounds, or a bound is not declared, and nothing
else reads the scores or the weights, all of this becomes one operation, `attend`.

Elaboration holds values with two varying dimensions at their bounds; a bound that is not declared is printed as
`time <= ?`. The pass `pack` then gives `attend` the rows of such queries, keys and values, `[time, heads, width]`, with
tables of each sample's rows. So a step's memory is planned from the rows of the batches at hand, whatever the bound.
What is still stored at a bound that is not declared gets one when the step is built: the length of the data's longest
sample, rounded up to three significant bits (`runtime/execution/assumed_bounds.py`). Longer data build another step.

Its kernel takes a block of queries and one block of keys after another, and keeps a running maximum and a running total
of each query's softmax, as FlashAttention does (Dao et al. 2022, 2023). Scores exist for one block at a time. For the
gradient only the logarithm of each total is saved; `attend_gradient` computes the scores again. So memory grows with
the length of a sequence and not with its square. Causal blocks above the diagonal are skipped, and so are tiles above
it. In a batch of varying lengths each sample takes the time of its own length. Packed rows, and keys and values of long
sequences (over 576 queries in f32), are copied, head by head, so that their rows follow one another; others are read
where they lie. While a head is computed, its register tiles prefetch, line by line, the rows that it will write and
those of the next head. The gradients of queries, keys and values whose projection is one product are written side by
side, so that nothing copies them. Each head of each sample is computed by one worker, in an order that does not depend
on how many there are. With a dropout of the weights, or weights that an output returns, the scores stay in memory. A
single query, as in `netc generate`, has a kernel of its own, which reads the keys and values of the steps so far once,
where they lie.

## Convolution with fewer multiplications

A convolution may be computed by Winograd's filtering: for windows of 3 x 3 elements, F(2x2, 3x3) of Lavin and Gray
(2015). The image is cut into tiles of 4 x 4 elements that overlap by two. Tiles and weights are transformed by
additions and halves, multiplied with 16 multiplications where direct sums take 36, and products transformed back to 2 x
2 results. Sums over channels become 16 products of matrices, one for each position in a tile, which the register tile
computes. The gradient of the image is the same convolution with transposed and flipped weights, the gradient of the
weights its adjoint.

Other windows are cut into pieces. A side of any length has pieces of three elements, and the last may have two or one;
with a stride of two, the elements at even places are cut, and those at odd ones. Pieces of two elements multiply in
three of the four positions along their side, those of one in two, so that the products of all pieces add up in the same
16 matrices: windows of 5 x 5 take 49 multiplications instead of 100 for 2 x 2 results, 7 x 7 100 instead of 196, 4 x 4
with a stride of two 36 instead of 64, 3 x 3 with a stride of two 25 instead of 36. A sequence of even length is taken
as an image of two rows, its halves: windows of 5 steps take 14 instead of 20.

The graph knows nothing of it: lowering chooses, for each product of windows (`lowering/winograd.py`), and `netc explain
M.net --after lower` prints `winograd` for `product`. It compares the cycles of a tile, with its transforms, with those
of direct sums. So the choice depends on the shape and the target, never on the batch or on threads. It falls on images
with at least 16 tiles, and about 16 channels or more (8 where vectors are short; 40 with a stride of two). Where a side
is odd, the last tiles have a line of results that is not stored. With a dilation of d, every d-th line of results
depends on every d-th line of the image alone: the kernels take one such phase after another, if all have the same
number of tiles (a side of 28 or 27 with a dilation of 2, not one of 29). Groups of channels are convolutions of their
own, one after another. Products of bf16 and bodies of scans keep direct sums.

- **Memory.** One task transforms the weights, once in a step, to panels that the register tile reads. The kernel takes
  up to 48 tiles at a time through both transforms and the products, in memory of its own that stays in the second
  cache. With many channels, whose weights come from memory for each block, a block is larger: up to 128 tiles. Nothing
  else passes through memory but the image, the panels and the result. The gradient of the weights keeps 16 sums for
  each pair of a channel and an output. Where these do not fit the second cache, the kernel goes through all tiles once
  for each group of channels and outputs: with vectors of 64 bytes, transforms then take a tenth of the time.
- **Bits.** A result depends on its tile alone, and the sums of a gradient run over tiles in order, in shards or channel
  by channel. So bits do not depend on threads, nor on how a batch is divided, nor on groups.
- **Errors.** In f32, errors of results are 0.6 to 0.8 times those of direct sums (root of mean squares against f64, 16
  to 64 channels), those of gradients 0.9 times: sums are shorter. Windows of 5 x 5 and 7 x 7 are as exact (0.6 to 0.9
  times), those of 2 x 2, and 3 x 3 and 4 x 4 with a stride of two less so (1.0 to 1.5 times). F(4x4, 3x3) would
  multiply less, but its errors are 4 to 5 times those of direct sums, and the largest up to 8 times; netc does not use
  it.
- **Speed.** On one core of Zen 4, f32, batch 32, against direct sums at 97% of the peak: 16 channels at 32 x 32
  elements 1.4 times as fast, 32 at 16 x 16 1.7 times, 64 at 8 x 8 2.0 times, gradients alike.

## Convolution in narrow groups

A register tile has vectors of results that read the same channels. Where a group has fewer results than a vector has
lanes, most of them would be empty. So convolutions in groups whose results fill more than half of a vector, together,
have kernels of their own (`lowering/grouped.py`), as ResNeXt's 32 groups of 4 or 8 channels. A vector holds results of
several groups. It is multiplied by a vector in which each lane has the channel that its group needs: one load of
neighbouring channels, and one instruction that moves them to lanes. What was moved serves up to three neighbouring
elements of the window. Weights need no panels: the results of all groups are neighbours in them.

A convolution by channel moves none. It is a loop along channels, but for windows of more than 25 elements, such as
ConvNeXt's 7 x 7, without stride and dilation, which these kernels compute.

With `precision = bf16`, operands are rounded, and stay in f32.

- **Strips.** The kernel takes a vector of results through a strip of up to eight columns, row by row, so that the rows
  of a window stay in the first cache where rows of the image would share a few of its sets.
- **Gradients.** That of the image is the same convolution. That of the weights has the sums of up to 3 x 3 elements of
  the window, or of all inputs of a group, in registers, and takes all positions of a sample through them. Samples are
  taken in shards, or else workers share the groups.
- **Code.** The numbers of inputs and results of a group, the window and the columns of a strip are in the kernel's
  code, so that other groups or windows are another kernel; the sizes of images, strides and dilations are arguments.
- **Speed.** On one core of Zen 4 in f32, groups of 4 or 8 channels run at 87% of the peak with windows of 3 x 3, where
  register tiles and loops reach 20 to 50%.

## Functions

`exp`, `sin` and the other functions of numbers are written in `targets/cpu/math/` as instructions without branches, so
that LLVM vectorises every loop that contains them, for each instruction set, and none calls libm. Large angles of
`sin`, `cos` and `tan` are the exception: a function with versions for vectors corrects their results, with one branch
for all vectors of an iteration (`targets/cpu/math/calls.py`). CPUs with 16 registers compute four vectors at a time,
because one iteration then loads the constants for all four, and does not wait for each result;
`targets/cpu/text/in_order.py` keeps LLVM from undoing that. An element has the same bits in a vector and alone. Numbers
below the smallest normal one (1.2e-38 in f32, 2.2e-308 in f64) count as 0.

ERRORS

## Rooflines

`netc profile M.net` prints for each kernel the shortest time that this machine could need for it, its *bound*. The
column `bound` says what sets it: arithmetic (`compute`), or the bytes that pass through the first, second or last
cache, or through memory, or the `call` itself. `of bound` is the bound's share of the time measured, and `lost us` the
rest, in microseconds of a step. Rows are sorted by lost time, so the first is the one to improve. The row `a step` says
how much of the step is lost in all. A share of 100% means that only less work would make the kernel faster: fewer
operations, fewer bytes, or bytes that lie nearer. Below 50%, the kernel itself is slow.

- **Rates.** Floating-point operations per second are those of multiply-adds on registers, by element type, and for bf16
  in tiles too where products use them. Divisions and square roots have rates of their own, because CPUs compute them in
  a unit of its own that takes one every 5 to 16 cycles: on Zen 4 a vector of 64 bytes takes half a cycle for an
  addition, but 6 cycles (f32) or 9 (f64) for a division, and 10 or 16 for a root. Bytes per second are those of loops
  that read, fill, update or copy arrays that fit each level. A loop that fills an array also reads each line before it
  writes it, so its rate includes that. They are measured once for a processor and a number of
  threads, the best of many short runs, and kept in the cache folder; `--measure` measures them again, if the machine
  was busy the first time.
- **Calls.** A call of an empty kernel takes some nanoseconds, most of them for the clock that is read before and after
  each call. No call is shorter, so this is the bound of kernels with less work. A kernel of a scan is called for each
  step, one after another, so it has as many such times.
- **Work.** An element-wise operation counts the operations of its expression and of the functions that it calls
  (`compiler/ir/arithmetic.py`; a test compares the numbers of functions with their code, in f32 and in f64): additions,
  multiplications and comparisons, two for a multiply-add, none for choices and conversions. What an expression names
  several times counts once. So the bound of a function is that of netc's polynomial, on a machine that never waits. A
  product counts two for each multiply-add; a convolution by Winograd's filtering counts what it computes, transforms
  too, and not the direct sums that it saves. The bound of the arithmetic is the time of all operations at the rate of
  multiply-adds, or that of its divisions and roots in their unit if this is longer; the two run side by side. A buffer
  counts once for a call, however often its bytes are read. The search for equal indices in a hash table (`first_equal`)
  counts five loads and stores of single elements for each index, which depend on data, and of which the first cache
  answers as many as of whole vectors. A step of a scan is a call.
- **Levels.** A buffer lies in the first cache that is larger than everything that the worker has touched since it last
  touched the same part of it. In a group that part is a row block, between groups it is the worker's share, and the
  step before counts too. A sample of the data is read again when the samples of all inputs have been, and the calls
  that write a result of the step, such as the parts of a padded image, write different parts of it. With several
  workers, what another has written lies at best in the last cache. That cache keeps less than its size, the less the
  fuller it is, because pages share its sets unevenly: on a virtual machine with 32 MiB, copies of 8 MiB moved 96 GB a
  second, of 16 MiB 69, of 24 MiB 37, and from memory 26. So copies of sixteen sizes are measured, and of bytes that lie
  so far back the share comes from memory that explains the time.
- **Limits.** Bytes that several calls of the register tile read again, gaps in a stride, and conflicts of cache lines
  count as lost time. On a virtual machine the last cache may be shared with others. The time of each kernel is
  its shortest in many short runs; a share a little above 100% means that the rates were measured at a busier time.

## A prediction of a run

`netc predict RUN DATA` needs neither the graph nor the optimizer of a run. The first time, the compiler predicts, and
saves a record in the cache (`runtime/runs/saved.py`): the data block with its steps, which fields the outputs are
labelled by, the tables and arenas of the plan, the names of the kernels in the cache, and the object code of the
schedule. Later predictions read the record, the parameters and the new data, and run. They import neither the parser,
nor a pass, nor LLVM; a small csv is read without polars.

A record is found by a hash of everything that decides it: the run's settings, its text and fitted steps, the files of
netc, the installed packages with their entry points, Python, and the machine. A record is a miss if it is
missing, damaged, of another form or made for fewer rows, or if one of its kernels is no longer in the cache. Then the
compiler predicts, with the same bits. It always does so for models with varying dimensions, with random numbers or
with images kept as bytes, for windows of a series and options of a reader, for texts that import others, with
plug-ins, and for `--output`, `--given` and `--beam`.

## The same program again

Passes, planning and LLVM take longer than everything else when a program's kernels are compiled already. So what they
made of a graph is kept in the cache (`runtime/execution/kept_steps.py`): what the runtime asks about the graph, and for
each size of its memory the layout of the plan, the names of its kernels, and the object code of the schedule. Training,
evaluation, predictions and generation all ask for it, because all of them run steps.

A record is found by the graph itself, as it is before the passes, and all else that decides a plan: the batch, where
parameters lie in memory, the target's machine, the files of netc, and the installed packages. So the name of the file,
its data and its settings count only if the graph differs, and a change of the library's text counts as one of the
model's. A record that is missing or damaged, or whose kernels have gone, is a miss. Nothing is kept with
`NETC_DEBUG=1`, which verifies every plan, nor with plug-ins, whose code the record's name does not contain.

## Models that differ in numbers

The trials of a study, and trainings by `netc.Classifier`, often differ only in a number: a rate of dropout, the weight
of a loss, a `let`. Their programs run the same code (`runtime/execution/shared_executables.py`). After the passes,
numbers that element-wise values read become leaves that the runtime supplies (`passes/supplied_constants.py`), in
bodies of scans too. 0, 1 and -1 stay, because passes look for them, and so do numbers that anything else reads. If two
models then have the same graph, no pass has decided differently for them, and they share an executable; otherwise each
has its own, as with a dropout of 0. So a further trial costs elaboration and the passes, but neither planning nor LLVM.

`netc train` has the same numbers in its kernels. The bits are the same: a kernel computes the same operations in the
same order, whether it loads a number or contains it, and LLVM may not reorder them. `netc check M.net --verify`
compares the two.

## Two ways to the same numbers

Every operation has a reference in NumPy, slow and simple, and every model of the tests runs both ways. Gradients are
compared with finite differences in double precision, and models with PyTorch. An element does not depend on how a
batch is divided or on the number of threads: sums run in one fixed order, and random numbers are functions of their
position. So the bits are the same on one thread and on two.
"""
