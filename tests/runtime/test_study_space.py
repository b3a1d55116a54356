"""The search space of a study: what is read from the text, its conditions, its grid, and random studies."""

import random
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import problem_of
from test_fuzz import mutated

import netc
from netc.compiler.elaborate.elaborator import elaborate
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.source import Source
from netc.runtime.studies.check import check_study
from netc.runtime.studies.declarations import StudySpec
from netc.runtime.studies.options import line_of, with_lines
from netc.runtime.studies.search import Outcome, Search, rungs
from netc.runtime.studies.space import Choice, Range, Values, edge_cases, grid, is_varied
from netc.runtime.studies.spec import parse_study

_MODEL = """
let width = 4
let depth = 1
let act = "tanh"
let wide = false

model {
  input x: float[3]
  target y: class(2)
  h = x
  for i in 0..depth {
    h = h -> dense(2 * width if wide else width) -> tanh
  }
  z = h -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}

train {
  optimizer = sgd(0.1)
  epochs = 20
}
"""


def _file(*lines: str) -> netc.dsl.syntax.File:
    return parse(Source("case.net", f"{_MODEL}\nstudy {{\n" + "".join(f"  {line}\n" for line in lines) + "}\n"))


def _spec(*lines: str) -> StudySpec:
    return check_study(elaborate(_file(*lines, "compare = train.loss")))


def _grid(*lines: str) -> list[Values]:
    return [*grid(_spec(*lines, "search = grid").space)]


def test_a_grid_leaves_out_what_does_not_vary() -> None:
    assert _grid("wide = choice(true, false)", "width = int(2, 6, step = 2) if wide", "depth = choice(1, 2)") == [
        *({"wide": True, "width": width, "depth": depth} for width in (2, 4, 6) for depth in (1, 2)),
        *({"wide": False, "depth": depth} for depth in (1, 2)),
    ]
    assert [values["lr"] for values in _grid("lr = uniform(0.1, 0.45, step = 0.1)")] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4]
    )


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("width == 4", {4}),
        ("width != 4", {2, 8}),
        ("width > 2 and width <= 8", {4, 8}),
        ("width < 4 or width == 8", {2, 8}),
        ("not (width == 2)", {4, 8}),
        ("width > -1", {2, 4, 8}),
        ("width == 3 + 1 or width >= 8", None),
    ],
)
def test_conditions(condition: str, expected: set[int] | None) -> None:
    lines = ("width = choice(2, 4, 8)", f"momentum = uniform(0.1, 0.9) if {condition}")
    if expected is None:
        with pytest.raises(netc.Fault, match="E0602"):
            _spec(*lines)
        return
    space = _spec(*lines).space
    assert {width for width in (2, 4, 8) if is_varied(space[1], space, {"width": width})} == expected


def test_a_condition_on_what_does_not_vary_does_not_hold() -> None:
    spec = _spec("wide = choice(true, false)", "width = choice(2, 8) if wide", "depth = int(1, 3) if width != 2")
    assert not is_varied(spec.space[2], spec.space, {"wide": False})
    assert is_varied(spec.space[2], spec.space, {"wide": True, "width": 8})


def test_edge_cases_reach_every_value_that_can_be_reached() -> None:
    spec = _spec("optimizer = choice(adam, sgd(0.1))", "momentum = uniform(0.1, 0.9) if optimizer == sgd")
    cases = [{name: edge.value for name, edge in case.items()} for case in edge_cases(spec.space[1], spec.space)]
    assert cases == [
        {"optimizer": "sgd(0.1)", "momentum": 0.1},
        {"optimizer": "sgd(0.1)", "momentum": 0.9},
    ]


def test_lines_of_a_command_take_the_place_of_those_of_the_file() -> None:
    file = _file("width = choice(2, 4)", "trials = 5")
    lines = [line_of(file, "width", "8,16"), line_of(file, "act", "relu, tanh"), line_of(file, "optimizer", "adam,sgd")]
    assert lines == ["width = choice(8, 16)", 'act = choice("relu", "tanh")', "optimizer = choice(adam,sgd)"]
    assert line_of(file, "lr", "log(1e-3, 1)") == "lr = log(1e-3, 1)"
    study = with_lines(file, lines).items[-1]
    assert [setting.name.text for setting in study.settings] == ["width", "trials", "act", "optimizer"]


def test_rungs() -> None:
    def first(line: str, epochs: int) -> list[int]:
        values = rungs(_spec("width = choice(2, 4)", line).prune, epochs)
        return [epoch for epoch, _ in zip(values, range(3), strict=False)]

    assert first("prune = asha(min = 2, factor = 3)", 50) == [2, 6, 18]
    assert first("prune = median", 50) == [5, 10, 15]
    assert first("prune = median(warmup = 4, every = 3)", 50) == [7, 10, 13]
    assert first("trials = 3", 50) == []


def _line(draw: random.Random) -> str:
    """A line of a study, right or wrong."""
    if draw.random() < 0.5:
        low = draw.randint(1, 5)
        return draw.choice(
            (
                f"width = int({low}, {low + 3})",
                f"depth = choice({low}, {low + 1})",
                f"lr = log({low}e-3, 0.1)",
                f"momentum = uniform(0.1, 0.{low + 1})",
                "search = random",
            )
        )
    number = lambda: draw.choice(("0", "1", "2", "8", "0.5", "-1", "1e-3", "1e30", "true", '"a"', "width", "x"))  # noqa: E731
    name = draw.choice(("width", "depth", "act", "wide", "lr", "momentum", "batch", "optimizer", "seed", "none"))
    value = draw.choice(
        (
            f"int({number()}, {number()})",
            f"int({number()}, {number()}, step = {number()}, log = {number()})",
            f"uniform({number()}, {number()})",
            f"log({number()}, {number()})",
            f"choice({number()}, {number()})",
            "choice(adam, sgd(0.1), lbfgs)",
            "choice(adam)",
        )
    )
    test = f"{draw.choice(('width', 'optimizer', 'wide', 'x'))} {draw.choice(('==', '>', '!='))} {number()}"
    condition = draw.choice(("", "", f" if {test}", " if wide", f" if not ({test}) and wide"))
    setting = draw.choice(
        (
            "search = grid",
            "search = cmaes",
            "search = tpe(startup = 2)",
            "compare = (train.loss, max(valid.accuracy))",
            "compare = best(train.loss)",
            "prune = median",
            f"trials = {number()}",
            f"folds = {number()}",
            f"seeds = {number()}",
            'time = "2 h"',
        )
    )
    return draw.choice((f"{name} = {value}{condition}", f"{name} = {value}{condition}", setting))


def _check(text: str) -> None:
    file = parse(Source("case.net", text))
    printed = print_file(file)
    assert print_file(parse(Source("case.net", printed))) == printed
    model = elaborate(file)
    if model.study is not None:
        spec = parse_study(model)
        check_study(model)
        _check_values(spec, elaborate(file).constants)


def _check_values(spec: StudySpec, constants: Mapping[str, object]) -> None:
    """Checks that values of the space are values of the distributions."""
    for varying in spec.space:
        for case in edge_cases(varying, spec.space):
            value = case[varying.name].value
            match varying.domain:
                case Choice(values=values):
                    assert value in values
                case Range(low=low, high=high):
                    assert low <= value <= high
    assert constants


@pytest.mark.parametrize("seed", range(3))
def test_random_studies_are_right_or_give_a_message(seed: int, is_long: bool) -> None:
    draw, failures, right = random.Random(seed), [], 0
    for number in range(400 if is_long else 70):
        lines = "".join(f"  {_line(draw)}\n" for _ in range(draw.choice((1, 2, 3, 5))))
        text = f"{_MODEL}\nstudy {{\n  compare = train.loss\n{lines}}}\n"
        text = mutated(text, draw) if number % 3 == 0 else text
        failure = problem_of(lambda text=text: _check(text))
        failures += [f"{failure}\n{text}"] if failure else []
        try:
            _check(text)
            right += 1
        except netc.Fault:
            pass
    assert not failures, "\n\n".join(failures[:5])
    assert right, "no study is right: the test shows little"


@pytest.mark.parametrize("search", ["random", "sobol", "tpe(startup = 3)", "grid"])
def test_a_search_asks_for_values_of_its_space(search: str, tmp_path: Path) -> None:
    spec = _spec(
        "optimizer = choice(adam, sgd(0.1))",
        "momentum = uniform(0.2, 0.8, step = 0.2) if optimizer == sgd",
        "width = int(2, 8, step = 3)",
        f"search = {search}",
        "trials = 12",
    )
    asked = list[list[Values]]()
    for name in ("a", "b"):
        finder, values = Search(spec, 10, tmp_path / f"{name}.log", name), list[Values]()
        for _ in range(3):
            batch = finder.ask(4)
            values += batch
            for number in range(len(values) - len(batch), len(values)):
                width = values[number]["width"]
                assert isinstance(width, int)
                finder.tell(number, Outcome.COMPLETE, [1.0 / width])
        asked.append(values)
    assert asked[0] == asked[1]
    for values in asked[0]:
        assert ("momentum" in values) == (values["optimizer"] == "sgd(0.1)")
        assert values["width"] in (2, 5, 8)
        assert 0.2 <= float(values.get("momentum", 0.2)) <= 0.8 + 1e-9


_LISTS = """
let widths = [4]

model {
  input x: float[3]
  target y: class(2)
  h = x
  for i in 0..size(widths) {
    h = h -> dense(widths[i]) -> tanh
  }
  z = h -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
}

study {
  widths = choice([8], [8, 4], [])
  lr = log(1e-3, 1) if widths != [8]
  search = SEARCH
  compare = train.loss
}
"""


@pytest.mark.parametrize("search", ["grid", "tpe", "random"])
def test_a_let_varies_over_lists(search: str, tmp_path: Path) -> None:
    text = _LISTS.replace("SEARCH", search)
    if search == "grid":
        text = text.replace("log(1e-3, 1)", "choice(0.1, 0.2)")
    spec = check_study(elaborate(parse(Source("case.net", text))))
    finder, values = Search(spec, 10, tmp_path / "journal.log", "lists"), list[Values]()
    for number in range(12):
        for asked in finder.ask(1):
            values.append(asked)
            finder.tell(number, Outcome.COMPLETE, [float(number)])
    assert {value["widths"] for value in values} == {(8,), (8, 4), ()}
    assert all(("lr" in value) == (value["widths"] != (8,)) for value in values)
    if search == "grid":
        assert [value["widths"] for value in values] == [(8,), (8, 4), (8, 4), (), ()]
