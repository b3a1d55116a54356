"""The page of how the compiler works: one small file through every pass, with the graph after each of them."""

from collections.abc import Iterator, Mapping

import netc
from netc.compiler import pipeline
from netc.compiler.analysis.differences import Labels, as_lines, difference
from netc.compiler.ir.graph import Graph
from netc.compiler.lowering.lower import lower
from netc.compiler.program.kernels import Contraction
from netc.compiler.program.listing import task_lines
from netc.compiler.program.tasks import Tasks
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
# The parts of the page that passes are described in, by the first pass of each.
PARTS = {
    "elaborate": """## From the text to a graph

The text becomes a graph of values. The next passes bring it into the form whose derivative is taken: for training
alone, with stable formulas, and with operations that have a derivative of their own, such as attention.""",
    "differentiate": """## A training step

Two passes add what training needs: the gradients, and the new parameters.""",
    "narrow": """## Less work for the same results

These passes prepare the graph for kernels: they write composed operations out, and remove, move or share work. They run
after differentiation, so they serve the forward and the backward pass alike.""",
}
# One entry per stage of `netc explain --after`, in the order of the passes.
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
square ([Attention](kernels.md#attention)). This file has none.""",
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


def compiler() -> str:
    """One file through every pass, down to the kernels."""
    return "\n".join(_compiler()) + "\n"


def _compiler() -> Iterator[str]:
    yield INTRODUCTION
    model = netc.parse(FILE)
    stages = pipeline.training_stages(model)
    yield from _passes(stages)
    yield from _kernels(list(stages.values())[-1], model.train.batch)
    yield REST


def _passes(stages: Mapping[str, Graph]) -> Iterator[str]:
    """Each pass, with the lines of the graph that it changes."""
    labels, before = Labels(), list[str]()
    for name, graph in stages.items():
        if name in PARTS:
            yield f"\n{PARTS[name]}"
        yield f"\n### {name}\n\n{PASSES[name]}\n"
        now = as_lines(graph, labels)
        if changed := list(difference(before, now)) if before else now:
            text = "\n".join(changed)
            yield f"```{'diff' if before else ''}\n{text}\n```"
        before = now


def _kernels(graph: Graph, batch: int) -> Iterator[str]:
    """The kernel calls, the plan, and the text of a kernel."""
    tasks = lower(graph, batch, NAMED["avx2"]).tasks
    loops = [task for task in tasks if not isinstance(task.kernel, Contraction)]
    values = sum(bool(value.operands) for value in graph.values())
    loss = max(loops, key=lambda task: len([value for value in task.values if value.span.line == 9]))
    yield LOWERING.format(values=values, calls=len(tasks), products=len(tasks) - len(loops))
    yield "```\n" + "\n".join(task_lines(Tasks([loss]))) + "\n```"
    yield LISTING
    yield PLAN
    yield CODE
    yield f"```{{.python .kernel}}\n{source_of(loss.kernel).text.rstrip()}\n```"


INTRODUCTION = f"""# How the compiler works

Generated by `python docs/pages.py`. This page follows one small file from its text to machine code: a recurrent layer,
dropout, and a loss written as in a textbook.

```net
{FILE.rstrip()}
```

1. [From the text to a graph](#from-the-text-to-a-graph): elaborate, specialise, stabilise, reorder, derive, attend,
   pack.
2. [A training step](#a-training-step): differentiate, update.
3. [Less work for the same results](#less-work-for-the-same-results): narrow, expand, simplify, hoist, factor, lift,
   sink, recompute.
4. [Kernel calls](#kernel-calls): values that share a loop become one kernel call.
5. [Plan](#plan): the calls are ordered, divided among workers, and get their memory.
6. [Machine code](#machine-code): kernels and the schedule of their calls become one function.
7. [Two ways to the same numbers](#two-ways-to-the-same-numbers): how all of this is tested.

[Kernels](kernels.md) says how each kind of kernel computes, [Rooflines](rooflines.md) how fast it could be, [What is
computed once](caching.md) what a second command finds in the cache, and [Invariants](invariants.md) what always holds.
`ARCHITECTURE.md`, in the repository, says where each part lives.

A value is written `name = operation(operands) : type`. Its name consists of the operation and the line that it comes
from. Each pass shows the lines of the graph that it changes; `netc explain M.net --after PASS --diff PASS` prints the
same for any file.
"""
LOWERING = """
## Kernel calls

Values that iterate over the same index space share a loop if one reads what the other computes. Here {values} values
become {calls} kernel calls, and {products} of these are matrix products. `netc explain M.net --fusion` lists the
loops, and says for values in different loops why they are apart. Numbers that follow from sizes alone, such as one
divided by the number of samples, are computed by the loops that read them, from arguments of the kernel. So the loop
that sums a loss computes its derivative too, and nothing has to wait.

The lowered program is data that does not depend on a target: loop nests with a tree for each scalar expression, matrix
products, and the memory that they read and write. `netc explain M.net --after lower` prints it. This is the loop of the
loss and its derivative:
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
program.
"""
PLAN = """
## Plan

Kernel calls are arranged in *phases* with barriers between them. Within a phase each worker takes its share of the
batch's rows through all calls of a *group*, one block of rows at a time, while that block is in its cache. A block has
the number of rows with the fewest bytes that must be read again from behind that cache: weights, once for each block,
and what a call passes on. A weight's gradient, for example, is summed over the whole batch and used by the optimizer
before it leaves the cache; only if each block would read large operands from memory again, one block has all rows.
Within a scan a worker takes its own samples through all steps. Rows of a gradient are shared out in groups of four,
where a register tile has twelve: 64 rows on two threads are 32 and 32.

At a barrier a worker spins at first, for some 100 us, since the others are not far if each has a core. Then it sleeps,
so that the worker for which it waits gets a core where other processes take part of them; the more often it had to
sleep, the less it spins (`targets/cpu/schedule/barrier.py`).

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
"""
CODE = """
## Machine code

A target writes the kernels in its own language. For CPUs, a loop nest becomes text in a small part of Python, with
built-in functions:
"""
REST = """
The text is translated to LLVM's instructions and compiled once (`targets/cpu/text/translate.py`). Variables have types
as in Python and NumPy: whole numbers have 64 bits, and an f32 with a whole number is an f64. What a text cannot say is
a built-in that emits its instructions: `sum_f32(block, n)` adds up n elements of a block in the fixed order of
`targets/cpu/text/sums.py`, `index_of_largest_f32(p0, i, n)` is the index of the largest of n elements, and
`transpose16_f32(square0, p0, i, stride)` transposes 16 x 16 elements in registers, for a loop that reads across rows.
Matrix products, most convolutions and attention have no text: netc writes their vectors itself, as
[Kernels](kernels.md) describes.

The schedule of the calls becomes object code too. A small loader (`targets/cpu/linked.py`) puts all of it into memory
as one function, or LLVM links it where the loader does not know the processor. Every worker enters this function for
many steps at once: between steps no Python runs and no lock is held. The object code is [kept in the
cache](caching.md). `netc profile M.net` shows the time of each kernel or line beside what the machine can reach, and
`-o FILE.svg` draws it.

## Two ways to the same numbers

Every operation has a reference in NumPy, slow and simple, and every model of the tests runs both ways. Gradients are
compared with finite differences in double precision, and models with PyTorch. An element does not depend on how a
batch is divided or on the number of threads: sums run in one fixed order, and random numbers are functions of their
position. So the bits are the same on one thread and on two.
"""
