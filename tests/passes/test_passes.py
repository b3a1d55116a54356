"""Each pass by small graphs, before and after, as text: see README.md. The folder of a case is named for the pass that it is about."""

from pathlib import Path

import numpy as np
import pytest
from golden_case import Call, Case
from golden_checks import Checked
from golden_listings import LISTINGS, listing
from golden_numbers import SPECIAL, Numbers, in_f64, results_of
from golden_passes import PASSES, run

from netc.compiler.ir.graph import print_graph, verify
from netc.compiler.ir.graph_parser import parse_graph

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.txt"))
_UNCHANGED = "unchanged\n"


@pytest.mark.parametrize("path", CASES, ids=[str(path.relative_to(HERE).with_suffix("")) for path in CASES])
def test_the_pass_makes_of_the_graph_what_the_case_says(path: Path, request: pytest.FixtureRequest) -> None:
    case = Case.read(path)
    for number, after in enumerate(case.sections):
        before = case.before
        for call in after.calls:
            before = _checked_step(before, call)
        shown = _UNCHANGED if before == print_graph(parse_graph(case.before)) else before
        case = case.with_text(number, shown)
    if request.config.getoption("--update-golden"):
        case.write(path)
    assert case == Case.read(path), (
        f"pytest {path.relative_to(HERE.parent.parent)} --update-golden writes what the pass gives now"
    )


def test_every_pass_has_a_case() -> None:
    called = {call.name for path in CASES for after in Case.read(path).sections for call in after.calls}
    assert called == {*PASSES, *LISTINGS}


def _checked_step(text: str, call: Call) -> str:
    """The printed graph after a pass, which reads back and comes to the same numbers; or what the graph becomes below."""
    before = parse_graph(text)
    verify(before)
    if call.name in LISTINGS:
        return listing(call.name, text, **call.arguments)
    after = run(before, call)
    verify(after)
    printed = print_graph(after)
    assert print_graph(parse_graph(printed)) == printed
    _check_numbers(text, call)
    return printed


def _check_numbers(text: str, call: Call) -> None:
    """In f32 as it is written, and in f64, where what is equal is nearly the same number."""
    pass_ = PASSES[call.name]
    for source, tolerance in ((text, 1e-4), (in_f64(text), 1e-11)):
        after = run(parse_graph(source), call)
        pass_.check(Checked(parse_graph(source), after, call.arguments, tolerance))
    for number in range(len(SPECIAL)) if pass_.is_exact else ():
        before, after = parse_graph(text), run(parse_graph(text), call)
        numbers, training = Numbers(before, special=number), call.arguments.get("training")
        expected, actual = (results_of(graph, numbers, training) for graph in (before, after))
        for name, array in expected.items():
            np.testing.assert_array_equal(actual[name], array, err_msg=f"{name}, with infinities and NaN")
