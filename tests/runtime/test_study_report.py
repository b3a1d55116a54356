"""The page of a study: what it shows of a fixed set of trials, few, failed and hostile ones among them."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile import hostile_names

from netc.dsl import quoting
from netc.dsl.diagnostics import Fault
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.insight.drawing.plots import Mark
from netc.runtime.insight.drawing.scales import Categories, Numbers, numbers_axis
from netc.runtime.studies import importance, report
from netc.runtime.studies.finished import finished_trials, spec_of
from netc.runtime.studies.folds import start_folds
from netc.runtime.studies.folds_report import folds_page
from netc.runtime.studies.plots import strip_plot
from netc.runtime.studies.results import Mean
from netc.runtime.studies.rounds import Trial, front_of, table
from netc.runtime.studies.search import Outcome
from netc.runtime.studies.store import Clock, Reached, StudyFolder, Training, new_study
from netc.runtime.studies.view import View

_MODEL = """let width = 4
let act = "b"
model {
  input x: float[2]
  target y: class(auto)
  z = x -> dense(width) -> tanh -> dense(7)
  output p = softmax(z)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}
data {
  source = csv("gone.csv")
  x = columns("a", "b")
  y = column("c") -> classes
  split = folds(3)
}
"""
_SPACE = """  lr = log(1e-3, 1)
  width = int(2, 8)
  optimizer = choice(adam, sgd(0.1))
  momentum = uniform(0.5, 0.9) if optimizer == sgd
"""
Row = tuple[Outcome, dict[str, object], list[list[dict[str, float]]]]  # the metrics of each training at each stage


def study_of(folder: Path, rows: list[Row], lines: str = "", space: str = _SPACE, name: str = "m.net") -> StudyFolder:
    """The folder of a study with these trials, whose data is gone."""
    text = f"{_MODEL}study {{\n{space}{lines}}}\n"
    study = new_study(parse(Source(name, text)), folder / "study", {}, [], {"y": 7}, ())
    trials = list[Trial]()
    for number, (outcome, settings, stages) in enumerate(rows):
        trainings = list[Training]()
        for run, metrics in enumerate(stages):
            error = "the loss is <b>lost</b>" if outcome is Outcome.FAILED else None
            last = len(metrics)
            reached = [Reached(i, each, i == last, error if i == last else None) for i, each in enumerate(metrics, 1)]
            training = Training(dict(settings), run + 1 if len(stages) > 1 else None, None, reached)
            study.write(number, run, training)
            trainings.append(training)
        trials.append(Trial(number, settings, trainings, max(map(len, stages)), outcome))
    study.write_table(table(spec_of(study), trials))
    study.set_clock(Clock(len(trials), 1.5))
    return study


def losses(*values: float) -> list[list[dict[str, float]]]:
    """One training with these losses."""
    return [[{"valid.loss": value} for value in values]]


def settings(number: int) -> dict[str, object]:
    chosen: dict[str, object] = {"lr": 10 ** (-3 + 3 * (number % 7) / 7), "width": 2 + number % 7}
    return {**chosen, "optimizer": "adam"} if number % 2 else {**chosen, "optimizer": "sgd(0.1)", "momentum": 0.75}


def complete(count: int) -> list[Row]:
    return [(Outcome.COMPLETE, settings(n), losses(1 + n % 5, 0.1 + (n * 7 % 11) / 10)) for n in range(count)]


def keys_of(page: str, kind: str) -> set[str]:
    return set(re.findall(rf'<g class="{kind}" data-key="(\d+)"', page))


def test_a_page_of_all_kinds_of_trials(tmp_path: Path) -> None:
    lost = (Outcome.FAILED, settings(2), losses(1.0, math.nan))
    pruned = (Outcome.PRUNED, settings(3), losses(2.5))
    study = study_of(tmp_path, [*complete(20), pruned, lost])
    page = report.page(study)
    assert finished_trials(study, spec_of(study))[20].outcome is Outcome.PRUNED
    assert "study: 22 trials by tpe, 1 given up, 1 failed, 1.5 s" in page
    assert page.index("Trial 0 is best: lr = 0.001, width = 2, optimizer = sgd(0.1), momentum = 0.75.") > 0
    assert "the loss is &lt;b&gt;lost&lt;/b&gt;</td><td>1</td>" in page
    assert keys_of(page, "winner") == {"0"}
    assert keys_of(page, "complete") == {str(n) for n in range(1, 20)}
    assert keys_of(page, "pruned") == {"20"}
    assert keys_of(page, "failed") <= {"21"}
    assert "does not vary" in page
    assert "valid.loss, by fANOVA" in page
    assert ", among 10 trials" in page
    assert "Curves" in page
    assert "Pareto" not in page
    assert "Folds and seeds" not in page
    assert "http" not in page, "nothing is read from elsewhere"
    assert re.search(r"<tr data-key=\"0\"><td>0</td><td>0.001</td><td>2</td><td>sgd\(0.1\)</td><td>0.75</td>", page)


@pytest.mark.parametrize("outcome", [Outcome.COMPLETE, Outcome.PRUNED, Outcome.FAILED])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_page_of_few_trials(tmp_path: Path, count: int, outcome: Outcome) -> None:
    value = math.nan if outcome is Outcome.FAILED else 0.5
    page = report.page(study_of(tmp_path, [(outcome, settings(n), losses(value)) for n in range(count)]))
    assert ("Importance" in page) == (count > 0 and outcome is not Outcome.FAILED)
    assert ("is best" in page) == (count > 0 and outcome is Outcome.COMPLETE)
    assert ("No trial" in page) == (count == 0 or outcome is not Outcome.COMPLETE)
    assert "nan" not in page.replace("dominance", "")


def test_constant_settings_and_values(tmp_path: Path) -> None:
    rows = [(Outcome.COMPLETE, {"width": 3, "lr": 0.5}, losses(0.0)) for _ in range(9)]
    page = report.page(study_of(tmp_path, rows, space="  width = choice(3)\n  lr = uniform(0, 1)\n"))
    assert page.count("0%</text>") == 2
    assert "nan" not in page


def test_a_front_and_its_importance_for_each_metric(tmp_path: Path) -> None:
    points = [(0.5, 0.9), (0.4, 0.8), (0.6, 0.9), (0.4, 0.8), (0.3, 0.1)] + [(0.9, 0.05)] * 4
    rows = [
        (Outcome.COMPLETE, settings(n), [[{"valid.loss": loss, "valid.accuracy": right}]])
        for n, (loss, right) in enumerate(points)
    ]
    study = study_of(tmp_path, rows, "  compare = (valid.loss, valid.accuracy)\n")
    front = front_of(spec_of(study), finished_trials(study, spec_of(study)))
    assert [trial.number for trial in front] == [0, 1, 3, 4]
    page = report.page(study)
    assert "Pareto front" in page
    assert "Trials that no other one beats in all metrics" in page
    assert "valid.accuracy, by fANOVA" in page
    assert len(re.findall("<tr data-key=", page)) == 4


def test_folds_are_strips_with_the_mean_and_its_error(tmp_path: Path) -> None:
    rows = [(Outcome.COMPLETE, settings(n), [[{"valid.loss": n + fold / 10}] for fold in (1, 2, 3)]) for n in range(30)]
    page = report.page(study_of(tmp_path, rows, "  folds = 3\n"))
    assert "0.2 ± 0.058" in page
    assert "90 trainings" in page
    page = page.partition("</nav>")[2]
    strips = page[page.index("Folds and seeds") : page.index("10 more trials are left out", page.index("Folds and s"))]
    assert strips.count("<circle") == 3 * 20
    assert ">trial 19</text>" in strips
    assert ">trial 20</text>" not in strips


def test_many_trials_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netc.runtime.studies.view.MOST_DRAWN", 12)
    monkeypatch.setattr(report, "MOST_DRAWN", 12)
    monkeypatch.setattr(importance, "_MOST_TRIALS", 20)
    study = study_of(tmp_path, complete(40))
    page = report.page(study)
    assert "28 more trials, the worst ones, are left out." in page
    assert "One of every 2 trials is shown." in page[page.index("fANOVA") :]
    assert {"--q:100%", "--q:0%"} <= set(re.findall(r"--q:\d+%", page[page.index("given up</text>") :]))
    drawn = View(spec_of(study), finished_trials(study, spec_of(study))).drawn
    assert {str(trial.number) for trial in drawn} == keys_of(page, "complete") | keys_of(page, "winner")


def test_without_scikit_learn_the_page_says_how_importance_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importance.importlib.util.find_spec
    monkeypatch.setattr(importance.importlib.util, "find_spec", lambda name: None if name == "sklearn" else real(name))
    page = report.page(study_of(tmp_path, complete(20)))
    assert "valid.loss, by PED-ANOVA" in page
    assert "netc[study]" in page
    assert "fANOVA: the share" not in page


def test_a_trial_whose_files_are_gone_is_left_out(tmp_path: Path) -> None:
    study = study_of(tmp_path, complete(3))
    (study.path / "trials" / "00000-1.msgpack").unlink()
    (study.path / "trials" / "00001-1.msgpack").write_bytes(b"\x81\xff")
    assert [trial.number for trial in finished_trials(study, spec_of(study))] == [2], "the others are gone or damaged"
    assert "Trial 2 is best" in report.page(study)
    (study.path / "trials.csv").write_text("trial,state\n0,lost\n", encoding="utf-8")
    with pytest.raises(Fault, match="is not a table of trials"):
        report.page(study)


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.texts = list[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag} {[name for name, _ in attrs]}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_of_folds_that_have_not_begun(tmp_path: Path) -> None:
    file = parse(Source("m.net", _MODEL.replace("class(auto)", "class(7)")))
    folder = start_folds(file, tmp_path / "folds", {}, None).folder
    assert "No fold is trained yet." in folds_page(folder)


def test_a_strip_plot_is_these_elements() -> None:
    """The exact text of a small plot: a row with three values, their mean and its standard error."""
    mark = Mark("complete", "7", "trial <7>", 50)
    plot = strip_plot([("trial 7", [1.0, 2.0, 3.0], Mean(2.0, 0.5), mark)], "loss", "below")
    assert plot.caption == "below"
    line = 'fill="none" stroke="currentColor" stroke-opacity="0.2"'
    assert plot.markup.splitlines() == [
        '<svg class="plot" role="img" aria-label="loss" width="640" height="72" viewBox="0 0 640 72" '
        'fill="currentColor" font-family="system-ui, sans-serif" font-size="12" '
        'style="min-width: 448px">',
        f'<path class="grid" d="M100.3 10V32" {line}/>',
        '<text x="100.3" y="47.0" text-anchor="middle">1</text>',
        f'<path class="grid" d="M227.1 10V32" {line}/>',
        '<text x="227.1" y="47.0" text-anchor="middle">1.5</text>',
        f'<path class="grid" d="M354.0 10V32" {line}/>',
        '<text x="354.0" y="47.0" text-anchor="middle">2</text>',
        f'<path class="grid" d="M480.9 10V32" {line}/>',
        '<text x="480.9" y="47.0" text-anchor="middle">2.5</text>',
        f'<path class="grid" d="M607.7 10V32" {line}/>',
        '<text x="607.7" y="47.0" text-anchor="middle">3</text>',
        f'<path class="grid" d="M80 21.0H628" {line}/>',
        '<text x="74.0" y="25.0" text-anchor="end">trial 7</text>',
        '<text x="354.0" y="66.0" text-anchor="middle">loss</text>',
        '<g class="complete" data-key="7" style="--q:50%"><title>trial &lt;7&gt;</title>'
        '<path d="M227.1 21.0H480.9M354.0 13.0v16"/><circle cx="100.3" cy="21.0" r="4"/>'
        '<circle cx="354.0" cy="21.0" r="4"/><circle cx="607.7" cy="21.0" r="4"/></g>',
        "</svg>",
    ]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    calm = None
    for number, name in enumerate(["calm", *hostile_names(30, 5)]):
        try:
            text = quoting.net_string(name)
        except ValueError:  # half of a surrogate pair
            continue
        rows = [(Outcome.COMPLETE, {"act": name if n % 2 else "b", "width": n}, losses(n + 1.0)) for n in range(3)]
        space = f'  act = choice("b", {text})\n  width = int(0, 4)\n'
        folder = tmp_path / str(number)
        folder.mkdir()
        study = study_of(folder, rows, space=f"{space}", name=f"{name}.net")
        parsed = _Tags(report.page(study))
        # not the titles of what is too long to be shown, nor the colours of the file, where an escape has its own
        tags = [tag for tag in parsed.tags if not tag.startswith("title") and tag != "span ['class']"]
        calm = calm or tags
        assert tags == calm
        shown = quoting.escaped(f"act = {name}")
        assert any(shown in text for text in parsed.texts)


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (numbers_axis([0, 10]), ["0", "5", "10"]),
        (numbers_axis([1e-4, 1], is_log=True), ["0.0001", "0.001", "0.01", "0.1", "1"]),
        (numbers_axis([1e-9, 1], is_log=True), ["1e-08", "1e-06", "0.0001", "0.01", "1"]),
        (numbers_axis([0.05, 0.4], is_log=True), ["0.1", "0.2", "0.3", "0.4"]),
        (numbers_axis([1, 2], is_whole=True), ["1", "2"]),
        (numbers_axis([3, 3]), ["2.8", "3", "3.2"]),
        (Categories(["a", "b"]), ["a", "b"]),
    ],
)
def test_ticks(axis: Numbers | Categories, ticks: list[str]) -> None:
    marks = axis.ticks(5)
    assert [text for _, text in marks] == ticks
    positions = [position for position, _ in marks]
    assert positions == sorted(positions)
    assert positions[0] >= 0
    assert positions[-1] <= 1


@pytest.mark.parametrize(
    ("values", "is_log"), [([1e-3, 1], True), ([1, 2], False), ([0, 100], False), ([math.nan, math.inf], False)]
)
def test_an_axis_is_logarithmic_where_values_differ_much(values: list[float], is_log: bool) -> None:
    axis = numbers_axis(values)
    assert axis.is_log is is_log
    assert all(0 <= axis.position(value) <= 1 for value in values if math.isfinite(value))
