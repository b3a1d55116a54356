"""The gradient of attention, block by block: the weights are computed again from the scores and the saved logarithms
of their sums (Dao et al. 2022, 2023).

With scores s = q k^T * scale, weights p, values v, the result r and its gradient g:

    gradient of v        p^T g
    slopes               g v^T, the gradient of p
    gradient of s        p * (slopes - dot), where dot is the sum of g * r for each query
    gradients of q, k    scale * (gradient of s) k, scale * (gradient of s)^T q

kernel.py says how blocks are walked. The gradients of keys and values are summed in the scratch memory over the
blocks of queries, in order.
"""

from typing import Any

from llvmlite import ir

from netc.compiler.targets.cpu.attention import blocks, softmax
from netc.compiler.targets.cpu.attention.arguments import UNIT
from netc.compiler.targets.cpu.attention.kernel import AttentionWriter
from netc.compiler.targets.cpu.llvm.vectors import Lanes
from netc.compiler.targets.machine import Machine


def attention_gradient(symbol: str, dtype: str, machine: Machine) -> Any:
    """Returns an LLVM module with the kernel of an element type: the function `symbol` of program/attention.py."""
    kernel = _Gradient(ir.Module(symbol), symbol, Lanes(dtype, machine), is_gradient=True)
    kernel.write()
    return kernel.module


class _Gradient(AttentionWriter):
    """Writes the gradient's kernel."""

    def write(self) -> None:
        words, run, layout = self.words, self.run, self.layout
        self.add_products = blocks.add_products(self.module, self.lanes, self.block)
        self.softmax_gradient = softmax.softmax_gradient(self.module, self.lanes, self.block)
        with self.heads():
            self.prefetches.begin_head(run, words, self.address, self.is_packed)
            keys, queries = words["own_keys"], words["own_queries"]
            for name, width in (("keys", layout.width), ("values", layout.value_width)):
                self.load_rows(name, name, 0, keys)
                self.locate(f"of_{name}", f"of_{name}", 0, keys)
                with run.when(self.is_in_scratch(f"of_{name}")):
                    self.filled(run, self.address_of(f"of_{name}"), width * keys, 0)
            with self.blocks_of_queries():
                self.load_queries()
                with self.blocks_of_keys():
                    self.add_block()
                with run.when(words["end"] > 0):
                    self.store_rows("result", "of_queries", words["first"], words["count"])
                with run.when(words["end"].equals(0)):
                    self.store_zeros("of_queries")
            self.fill_rest("of_queries", queries, repeats=False)
            for name in ("of_keys", "of_values"):
                self.store_rows(name, name, 0, keys)
                summed = self.is_in_scratch(name).choose(keys, (queries > 0).choose(words["end"], 0))
                self.fill_rest(name, summed, repeats=False)
        run.end()

    def load_queries(self) -> None:
        """Loads a block of queries, of the result and of its gradient, transposes them, and sums result * gradient for
        each query."""
        words, run = self.words, self.run
        block = words["first"], words["count"], words["lanes"]
        self.load_rows("result", "gradients", *block)
        self.transpose("gradients", "result", "results_across")
        self.load_rows("gradient", "gradients", *block)
        self.transpose("gradients", "gradient", "gradients_across")
        self.load_rows("queries", "queries", *block)
        self.transpose("queries", "queries", "queries_across", words["scale"])
        self.locate("result", "of_queries", words["first"], words["count"])
        sums = (words["count"], 1, words["lanes"], UNIT)
        self.copy_in("sums", words["first"], (self.address_of_row(0), 1), sums)
        with run.loop(0, words["lanes"], self.lanes.count) as j:
            operands = self.address_of("results_across", j.index), self.address_of("gradients_across", j.index)
            self.add_products(run, *operands, words["value_width"], self.address_of_row(1, j.index))

    def add_block(self) -> None:
        """Adds what a block of queries and a block of keys contribute to the three gradients."""
        words, run, layout, block = self.words, self.run, self.layout, self.block
        self.multiply_by_queries("keys", "queries_across", words["width"], "scores")
        self.multiply_by_queries("values", "gradients_across", words["value_width"], "slopes")
        with run.loop(0, words["lanes"], self.lanes.count) as j:
            columns = self.address_of("scores", j.index), self.address_of("slopes", j.index)
            rows = (self.address_of_row(number, j.index) for number in range(2))
            self.softmax_gradient(run, *columns, words["some"], words["diagonal"] + j.index, *rows, words["scale"])
        for weights, operand, width, to in (
            ("scores", "gradients", layout.value_width, "of_values"),
            ("slopes", "queries", layout.width, "of_keys"),
        ):
            # sums in scratch memory begin with zeros; sums that are written directly have a single block of queries
            self.multiply(
                self.is_in_scratch(to).choose(1, 0), "depth_from", a=self.address_of(weights), a_row=block, a_step=1,
                b=self.rows_of(operand), panel_row=self.apart(operand), c=self.rows_of(to, words["key"]),
                rows_c=self.apart(to), start_row=self.apart(to), all_rows=words["some"], all_columns=width,
                all_depth=words["count"],
            )  # fmt: skip
        width = layout.width
        self.multiply(
            (words["key"] > 0).choose(1, 0), "depth_to", a=self.address_of("slopes"), a_row=1, a_step=block,
            b=self.rows_of("keys", words["key"]), panel_row=self.apart("keys"), c=self.rows_of("result"),
            rows_c=self.apart("result"), start_row=self.apart("result"), all_rows=words["count"], all_columns=width,
            all_depth=words["some"],
        )  # fmt: skip
