"""The attributes of values have the class that the operation declares, or one made of the names in the call."""

import pytest

from netc.compiler.ir.attributes import Attributes, Over, attributes_class
from netc.compiler.ir.graph import Graph, print_graph
from netc.compiler.ir.graph_parser import parse_graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.types import Type
from netc.compiler.ir.value import Value, apply
from netc.compiler.operations.shape import Slice


def _leaf() -> tuple[Graph, Value]:
    graph = Graph()
    return graph, graph.leaf(Role.INPUT, "x", Type("f32", (4, 6)))


def test_attributes_have_the_declared_class_and_absent_ones_are_not_printed() -> None:
    graph, x = _leaf()
    every, second = (apply("slice", x, axis=1, start=0, stop=5, **step) for step in ({}, {"step": 2}))
    assert every.attributes == Slice(1, 0, 5)
    assert (every.attributes_as(Slice).stride, second.attributes_as(Slice).stride) == (1, 2)
    text = print_graph(graph)
    assert "slice[axis=1, start=0, stop=5](%0)" in text
    assert "slice[axis=1, start=0, stop=5, step=2](%0)" in text
    assert print_graph(parse_graph(text)) == text


def test_undeclared_attributes_can_neither_be_added_nor_read() -> None:
    graph, x = _leaf()
    with pytest.raises(TypeError, match="stride"):
        graph.add("slice", (x,), {"axis": 1, "start": 0, "stop": 5, "stride": 2}, x.type)
    with pytest.raises(ValueError, match="attributes that the operation does not have"):
        parse_graph("%0 = input[name='x', size=2]() : f32[4]\n")
    with pytest.raises(AssertionError, match="no Over"):
        x.attributes_as(Over)


def test_an_operation_without_a_class_has_the_attributes_of_its_call() -> None:
    assert attributes_class(()) is Attributes
    assert attributes_class(("over",)) is Over
    graph, x = _leaf()
    value = graph.add("mine", (x,), {"of": 2, "over": (1,), "keywords": "k"}, x.type)
    assert value.attributes_as(Over).over == (1,)
    assert value.keywords == {"over": (1,), "of": 2, "keywords": "k"}
    assert value.attributes == graph.add("mine", (x,), {"of": 2, "over": (1,), "keywords": "k"}, x.type).attributes


def test_a_copy_keeps_its_attributes_or_takes_new_ones() -> None:
    graph, x = _leaf()
    value = apply("sum", x, over=(0,))
    assert graph.add_copy(value, (x,)).attributes is value.attributes
    other = graph.add_copy(value, (x,), Over((1,)), x.type.with_dims((4,)))
    assert (other.operation, other.attributes, other.type.dims) == ("sum", Over((1,)), (4,))
