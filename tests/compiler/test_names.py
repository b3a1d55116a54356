"""Names that say what something is for: results, slots of a scan, index tables, leaves that the runtime computes."""

import pytest

import netc
from netc.compiler.elaborate.library import LIBRARIES, library_names, library_scope, library_spans
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.graph_parser import parse_graph
from netc.compiler.ir.index_tables import (
    Centred,
    FromEnd,
    IndexTable,
    Less,
    Other,
    TableKind,
    parse_table,
    table,
    table_of,
)
from netc.compiler.ir.results import Result, ResultKind, parse_result
from netc.compiler.ir.roles import Role
from netc.compiler.ir.supplied import Supplied, SuppliedKind, parse_supplied
from netc.compiler.ir.types import Bounded, Type
from netc.compiler.operations.scan import SlotKind, add_leaf, leaves_of, slot_of

RESULTS = {
    "output.digit": Result(ResultKind.OUTPUT, "digit"),
    "weight.loss.main": Result(ResultKind.LOSS_WEIGHT, "main"),
    "weight.metric.f1": Result(ResultKind.METRIC_WEIGHT, "f1"),
    "watch.h.mean": Result(ResultKind.WATCH, "h.mean"),
    "update.accumulated.4 a row of batch.W": Result(ResultKind.UPDATE, "accumulated.4 a row of batch.W"),
    "yield.5.123": Result(ResultKind.YIELD, "5.123"),
    "total": Result(ResultKind.TOTAL),
    "total.main": Result(ResultKind.TOTAL, "main"),
    "y": Result(ResultKind.VALUE, "y"),
    "first.x0": Result(ResultKind.VALUE, "first.x0"),
    "weights.x": Result(ResultKind.VALUE, "weights.x"),
}
TABLES = {
    "rows.sample.time": IndexTable(TableKind.SAMPLE, "time"),
    "rows.slot12.steps of 12": IndexTable(TableKind.SLOT, "steps of 12", size=12),
    "rows.padded40.time": IndexTable(TableKind.PADDED, "time", size=40),
    "rows.to 2 1 -3 same 5|time.ceil(time / 2)": IndexTable(
        TableKind.TO, "ceil(time / 2)", other=Other("time", 2, 1, -3, Centred(5))
    ),
    "rows.in 1 1 0 |time.time - 1": IndexTable(TableKind.IN, "time - 1", other=Other("time")),
    "rows.to 1 1 0 less s|t.s + t": IndexTable(TableKind.TO, "s + t", other=Other("t", shift=Less("s"))),
    "rows.to 1 1 0 end|time.min(time, 8)": IndexTable(
        TableKind.TO, "min(time, 8)", other=Other("time", shift=FromEnd())
    ),
}
SUPPLIED = {
    "random.3": Supplied(SuppliedKind.RANDOM, "3"),
    "random.sample": Supplied(SuppliedKind.SAMPLES),
    "train.rate": Supplied(SuppliedKind.RATE),
    "train.number.beta1": Supplied(SuppliedKind.NUMBER, "beta1"),
    "train.loss_factor.main": Supplied(SuppliedKind.LOSS_FACTOR, "main"),
    "scale.image": Supplied(SuppliedKind.SCALE, "image"),
}


@pytest.mark.parametrize("text", RESULTS)
def test_a_result_prints_and_reads_back(text: str) -> None:
    assert str(RESULTS[text]) == text
    assert parse_result(text) == RESULTS[text]


@pytest.mark.parametrize("text", TABLES)
def test_an_index_table_prints_and_reads_back(text: str) -> None:
    assert str(TABLES[text]) == text
    assert parse_table(text) == TABLES[text]


@pytest.mark.parametrize("text", SUPPLIED)
def test_a_supplied_leaf_prints_and_reads_back(text: str) -> None:
    assert str(SUPPLIED[text]) == text
    assert parse_supplied(text) == SUPPLIED[text]


@pytest.mark.parametrize("name", ["x", "rows", "row.sample.time", "random", "scale", "chunk.0", "train.factors"])
def test_names_of_other_leaves_are_neither(name: str) -> None:
    assert parse_table(name) is None
    assert parse_supplied(name) is None


def test_a_table_knows_its_type_and_dimensions() -> None:
    graph = Graph()
    leaves = [table(graph, TableKind.STEP, "time"), table(graph, TableKind.LAST, "time")]
    leaves.append(table(graph, TableKind.PADDED, "time", size=7))
    assert [leaf.type.dims for leaf in leaves] == [("time",), ("batch",), ("batch", Bounded(7, "time"))]
    assert [table_of(leaf) for leaf in leaves][2] == IndexTable(TableKind.PADDED, "time", size=7)
    assert TABLES["rows.to 1 1 0 less s|t.s + t"].dims == ("s + t", "t", "s")


def test_slots_are_leaves_of_a_body_alone() -> None:
    body, row = Graph(), Type("f32", ("batch", 3))
    slots = [SlotKind.CARRY.slot(1), SlotKind.STEP_INPUT.slot(0), SlotKind.CAPTURED.slot(12)]
    leaves = [add_leaf(body, slot, row) for slot in slots]
    others = [body.leaf(Role.GIVEN, "gc0", row), body.leaf(Role.INPUT, "c0", row), body.leaf(Role.GIVEN, "c", row)]
    assert [leaf.name for leaf in leaves] == ["c1", "x0", "k12"]
    assert leaves_of(body) == dict(zip(slots, leaves, strict=True))
    assert [slot_of(leaf) for leaf in others] == [None, None, None]


def test_a_graph_finds_results_by_kind() -> None:
    graph = Graph()
    x = graph.leaf(Role.INPUT, "x", Type("f32", ("batch",)))
    y = x + 1.0
    loss, weight, output = (parse_result(text) for text in ("loss.a", "weight.loss.a", "output.x"))
    graph.results = {loss: y, weight: x, output: x}
    assert graph.results_of(ResultKind.LOSS) == {"a": y}
    assert (graph.weight_of(loss), graph.weight_of(output)) == (x, None)
    assert graph.select(ResultKind.OUTPUT, {"loss.a": 1, "weight.loss.a": 2, "output.x": 3}) == {"x": 3}
    assert list(graph.of(ResultKind.LOSS, ResultKind.OUTPUT).results) == [loss, output]
    assert [value.operation for value in graph.only(output).values()] == ["input"]
    assert not graph.has(ResultKind.METRIC, ResultKind.METRIC_WEIGHT)
    text = print_graph(graph)
    assert text.endswith("loss.a = %2\nweight.loss.a = %0\noutput.x = %0\n")
    assert parse_graph(text).results.keys() == graph.results.keys()


def test_the_names_of_the_library_are_found_without_parsing_it() -> None:
    for library in LIBRARIES.values():
        assert list(library.names()) == [block.name.text for block in library.blocks()]
        blocks = [block for name in dict.fromkeys(library.names()) for block in library.blocks_of(name)]
        assert sorted(blocks, key=lambda block: block.span.start) == [*library.blocks()]
        assert {block.span for block in blocks} == {block.span for block in library.blocks()}
    library_scope.cache_clear()
    netc.parse("model {\n  input x: float[3]\n  output y = x -> dense(2)\n}\n")
    assert set(library_scope().names) == {"dense"}
    assert library_names() > {"dense", "lstm", "mse"}
    assert library_spans().keys() == library_names()
