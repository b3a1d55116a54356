"""All commands but `train`, end to end: what they print, write and answer."""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import typer
from support import ROOT, command, netc_command

import netc
from netc.commands.options import constants
from netc.commands.signals import end_at_once, exit_statuses
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.source import Source
from netc.reference import entries
from netc.runtime.resolved import resolved_text

EXAMPLES = sorted((ROOT / "examples").glob("*.net"))


@pytest.mark.every(6)
@pytest.mark.parametrize(
    ("table", "target", "metric", "baseline"),
    [
        ("iris", "species", "accuracy", 0.96),
        ("wine", "cultivar", "accuracy", 0.983),
        ("digits8x8", "digit", "accuracy", 0.92),
        ("names", "gender", "accuracy", 0.882),
        ("diabetes", "progression", "r2", 0.48),
        ("cars", "mpg", "r2", 0.806),
    ],
)
def test_new_writes_a_file_that_learns(table: str, target: str, metric: str, baseline: float, tmp_path: Path) -> None:
    """The file, without an edit, comes within 0.03 of the score of a simple method (../shared/data/README.md)."""
    data = ROOT / "examples" / "data" / table / f"{table}.csv"
    printed = command("new", table, "--data", data, "--target", target, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    text = (tmp_path / f"{table}.net").read_text(encoding="utf-8")
    assert print_file(parse(Source("x.net", text))) == text
    done = command("train", f"{table}.net", "--strict", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()[-1].split()
    assert float(words[words.index(metric) + 1]) >= baseline - 0.03
    assert command("new", table, "--data", data, cwd=tmp_path).returncode == 1, "a file was overwritten"


def test_new_explains_what_it_guessed(golden, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "day,size (cm),class,note,same,price\n"
        + "".join(f"2020-01-{i % 28 + 1:02d},{i % 7},{'ab'[i % 2]},it is word {i},1,{i / 3:.2f}\n" for i in range(40))
        + "2020-02-01,,a,,1,\n",
        encoding="utf-8",
    )
    printed = command("new", "t", "--data", "t.csv", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    golden(Path(__file__).parent / "new.net", (tmp_path / "t.net").read_text(encoding="utf-8"))
    assert command("train", "t.net", "--epochs", "1", cwd=tmp_path).returncode == 0
    for wrong, message in (
        ("note", "it is a text"),
        ("same", "it is the same in every row"),
        ("prise", "did you mean `price`?"),
    ):
        refused = command("new", "u", "--data", "t.csv", "--target", wrong, cwd=tmp_path)
        assert refused.returncode == 1
        assert message in refused.stderr
    plain = command("new", "start", cwd=tmp_path)
    assert plain.returncode == 0
    netc.load(tmp_path / "start.net")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_formatted_and_resolve(path: Path) -> None:
    model = netc.load(path)
    assert print_file(parse(model.source)) == model.source.text
    text = resolved_text(model)
    again = netc.parse(text)
    assert resolved_text(again) == text
    assert again.train.optimizer == model.train.optimizer
    assert again.parameters == model.parameters


def test_fmt_formats_a_file(tmp_path: Path) -> None:
    messy = "# top\nmodel{\n  input   x:float[3]   # three\n\n\n  output y=x->dense( 2 )\n}\n"
    (tmp_path / "m.net").write_text(messy, encoding="utf-8")
    assert command("fmt", "--check", "m.net", cwd=tmp_path).returncode == 1
    shown = command("fmt", "--diff", "m.net", cwd=tmp_path)
    assert shown.returncode == 1
    assert "+  output y = x -> dense(2)\n" in shown.stdout
    assert (tmp_path / "m.net").read_text(encoding="utf-8") == messy
    assert command("fmt", "m.net", cwd=tmp_path).stdout == "m.net formatted\n"
    assert (tmp_path / "m.net").read_text(encoding="utf-8") == (
        "# top\nmodel {\n  input x: float[3]  # three\n\n  output y = x -> dense(2)\n}\n"
    )
    assert command("fmt", "--check", "m.net", cwd=tmp_path).returncode == 0
    (tmp_path / "m.net").write_text("model {", encoding="utf-8")
    assert "E0102" in command("fmt", "m.net", cwd=tmp_path).stderr


def test_a_report_is_one_page(tmp_path: Path) -> None:
    for example, parts in (("wine", ("true (rows)", "class_1")), ("cars", ("predicted against true", "off by"))):
        run = netc.train(netc.load(ROOT / "examples" / f"{example}.net"), out=tmp_path / example, epochs=2)
        done = command("report", run.folder, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        page = (run.folder / "report.html").read_text(encoding="utf-8")
        assert not re.search(r'(src|href)="(?!data:|#)', page), "the page needs other files"
        assert page.count("<svg") >= 1
        assert all(part in page for part in parts)
    # a run that another process is about to name
    shutil.copytree(tmp_path / "cars", tmp_path / ".netc-0123abcd-1-1-0123abcd.tmp")
    listed = json.loads(command("runs", tmp_path, "--json", cwd=tmp_path).stdout)
    assert [(row["file"].rpartition("/")[2], row["epochs"]) for row in listed] == [("cars.net", 2), ("wine.net", 2)]
    assert "valid.accuracy" in command("runs", tmp_path, cwd=tmp_path).stdout
    metrics = json.loads(command("eval", tmp_path / "wine", "--json", cwd=tmp_path).stdout)
    assert sum(map(sum, metrics["confusion"])) == 53


def test_images_are_shown(tmp_path: Path) -> None:
    run = netc.train(netc.load(ROOT / "examples" / "digits8x8.net"), out=tmp_path / "digits", epochs=1)
    from netc.runtime.insight.report import page

    assert "data:image/png;base64," in page(run)


def test_check_prints_its_findings_and_tries_a_step(tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(
        (
            "model {\n  input x: float[3]\n  input unused: float\n  target y: float\n"
            "  output z = x -> dense(1) -> squeeze\n  loss mse(z, y)\n}\n"
        ),
        encoding="utf-8",
    )
    report = json.loads(command("check", "m.net", "--json", "--try", cwd=tmp_path).stdout)
    assert report["parameters"][0] == {"name": "z.dense.W", "type": "f32[3, 1]", "count": 3}
    assert len(report["tried"]) == 2
    assert report["warnings"] == [{"code": "W0501", "title": "nothing reads the input `unused`", "line": 3}]
    assert command("check", "m.net", cwd=tmp_path).returncode == 0
    assert command("check", "m.net", "--strict", cwd=tmp_path).returncode == 1


def test_the_reference_has_every_name(tmp_path: Path) -> None:
    names = {entry.name for entry in entries()}
    assert {
        "relu",
        "einsum",
        "weighted",
        "dense",
        "huber",
        "auc",
        "cosine",
        "adamw",
        "orthogonal",
        "jsonl",
        "minmax",
    } <= names
    assert all(entry.doc for entry in entries()), [entry.name for entry in entries() if not entry.doc]
    page = command("ops", "huber", cwd=tmp_path)
    assert "block huber(a: float[...], b: float[...]) {" in page.stdout
    columns = command("ops", "columns", cwd=tmp_path).stdout
    assert columns.startswith('x = columns("width", "height") -> standardize    (word)\nA field of several columns')
    assert "(word)" in command("ops", "split", cwd=tmp_path).stdout.partition("(form)")[0], "the setting comes first"
    for name, shown in (
        ("generate", "`generate` is a command: `netc generate --help`"),
        ("max-epochs", "did you mean `epochs`?"),
        ("resume", "`--resume` is an option of `netc train`, `netc study`"),
        ("patience", "schedule = plateau(patience = 5"),
        ("delimiter", "`delimiter` is an option of `csv`"),
        ("asha", "A way of a study to give trials up early"),
        ("early_stop", "Ends training when a metric has not improved"),
        ("nn.Linear", "did you mean `dense(64)`?"),
        ("prdict", "did you mean `netc predict`?"),
    ):
        printed = command("ops", name, cwd=tmp_path)
        assert shown in printed.stdout + printed.stderr, name
    wrong = command("ops", "hubert", cwd=tmp_path)
    assert wrong.returncode == 1
    assert wrong.stderr == "there is no `hubert`: did you mean `huber`?\n"
    for name in ("", "("):
        assert command("ops", name, cwd=tmp_path).stderr == f"there is no `{name}`\n"


def test_the_chain_rule_as_equations(golden, tmp_path: Path) -> None:
    printed = command("explain", ROOT / "examples" / "iris.net", "--gradient", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    golden(Path(__file__).parent / "gradient.txt", printed.stdout)


NEURONS = """data {
  x = columns("a", "b")
  y = column("y")
  split = (train = csv("rows.csv"), valid = csv("rows.csv"))
}

model {
  input x: float[2]
  target y: float

  param w1: float[2] = constant(0.5, -0.4)
  param w2: float[2] = constant(0.3, 0.8)
  param v: float[2] = constant(1.2, -0.7)
  h1 = tanh(sum(w1 * x))
  h2 = tanh(sum(w2 * x))
  output p = v[0] * h1 + v[1] * h2
  loss mse(p, y)
}
"""


def test_the_numbers_of_equations_for_a_row(golden, tmp_path: Path) -> None:
    """Three neurons, whose numbers can be computed by hand."""
    (tmp_path / "m.net").write_text(NEURONS, encoding="utf-8")
    (tmp_path / "rows.csv").write_text("a,b,y\n1,2,0.5\n-1,0.5,1\n", encoding="utf-8")
    printed = command("explain", "m.net", "--gradient", "--values", cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    golden(Path(__file__).parent / "gradient_values.txt", printed.stdout)
    other = command("explain", "m.net", "--gradient", "--row", "3", cwd=tmp_path).stdout
    assert "row 3 of the file" in other
    assert command("explain", "m.net", "--gradient", "--line", "16", cwd=tmp_path).stdout.count("=") == 2
    missing = command("explain", "m.net", "--gradient", "--row", "9", cwd=tmp_path)
    assert missing.returncode == 2
    assert "its rows go up to 3" in " ".join(missing.stderr.split())
    for options in (["--values"], ["--latex"], ["--gradient", "--latex", "--values"]):
        assert command("explain", "m.net", *options, cwd=tmp_path).returncode == 2, options


def test_the_equations_as_latex(tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(NEURONS, encoding="utf-8")
    printed = command("explain", "m.net", "--gradient", "--latex", cwd=tmp_path)
    assert printed.stdout.startswith("\\begin{align*}")
    assert printed.stdout.endswith("\\end{align*}\n")


def test_synthetic_sequences_have_the_types_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "m.net").write_text(
        """model {
  input x: float[time <= 8, 3]
  input z: float[s <= 8, 3]
  target y: float[ceil(time / 2)]
  h = x[3:] -> conv(4, stride = 2)
  u = mean(x * same_length(x, z)) + sum(h)
  p = x -> maxpool(2, pad = same) -> dense(1) -> squeeze
  loss mse(p + 0 * u, y)
}
""",
        encoding="utf-8",
    )
    done = command("check", "m.net", "--try", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(time = 8, s = 8)" in done.stdout
    assert "two steps on synthetic data: loss" in done.stdout


def test_one_run_takes_one_value_of_a_setting(tmp_path: Path) -> None:
    result = command("train", "m.net", "--set", "width=2,3", cwd=tmp_path)
    assert result.returncode == 2
    assert "netc study M.net --vary width=2,3" in " ".join(result.stderr.split())


def test_a_text_that_is_set_may_stand_in_quotes() -> None:
    """`--set 'norm="batch"'` once set a text with quotes in it, which equals none of the file's."""
    values = constants(["a=batch", 'b="batch"', 'c="2"', r'd="a\tb\u{e9}"', "e=2", 'f="', "g=true"])
    assert values == {"a": "batch", "b": "batch", "c": "2", "d": "a\tb\u00e9", "e": 2, "f": '"', "g": True}


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_have_an_exit_status_of_their_own(name: str, status: int) -> None:
    number = getattr(signal, name)
    before = signal.getsignal(number)
    assert before == signal.SIG_DFL
    seen = []

    @exit_statuses()
    def ended_like_typer() -> None:
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            seen.append("unwound")
            raise typer.Exit(130) from None

    with pytest.raises(SystemExit) as ended:
        ended_like_typer()
    assert ended.value.code == status
    assert seen == ["unwound"]
    assert signal.getsignal(number) == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with exit_statuses():
            os.kill(os.getpid(), signal.SIGHUP)
            end_at_once()
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_refused_cache_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "open"))
    (tmp_path / "m.net").write_text("model {\n  input x: float\n  output y = x * 2\n}\n", encoding="utf-8")
    # a process of its own: the server of commands has read the grammar's tables from another cache before
    done = subprocess.run(netc_command("check", "m.net"), capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0
    reason = f"other users can write to {tmp_path / 'open'} (chmod go-w prevents it)"
    assert done.stderr == f"warning: the cache is not used: {reason}; netc goes on without it\n"
    assert not list((tmp_path / "open").iterdir())
    assert command("cache", cwd=tmp_path).stdout == f"no cache: {reason}\n"


GROUPS = """model {
  input x: float[16, 16, 32]
  target y: float
  z = x -> conv(32, groups = 4) -> relu -> flatten -> dense(64) -> relu -> dense(1) -> squeeze
  loss mse(z, y)
}
train { batch = 32 }
"""


def test_explain_alone_lists_what_it_can_explain(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "neuron.net", tmp_path)
    printed = command("explain", "neuron.net", cwd=tmp_path).stdout
    commands = re.findall(r"^  netc (explain neuron\.net --\S+(?: --values)?)", printed, re.MULTILINE)
    assert len(commands) >= 5
    (tmp_path / "groups.net").write_text(GROUPS, encoding="utf-8")
    kernels = command("explain", "groups.net", "--kernels", cwd=tmp_path).stdout
    assert kernels.startswith("# line")
    for heading in ("def kernel(p0", "contraction in f32", "grouped convolve of 8 to 8 by 3 x 3 in strips of 8 and 0"):
        assert f"\n{heading}" in kernels


def test_help_has_a_sentence_for_each_command_and_keeps_every_bracket(tmp_path: Path) -> None:
    from typer.main import get_command

    from netc.commands.table import app_of

    for name, parsed in get_command(app_of()).commands.items():  # type: ignore[attr-defined]
        assert re.fullmatch(r"[^.]+(\.\S[^.]*)*\.", parsed.short_help), name
        texts = [parsed.help or "", *(getattr(parameter, "help", None) or "" for parameter in parsed.params)]
        assert not any("[" in text for text in texts), f"{name}: Rich takes a word in square brackets for a style"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("train", "t.csv"), 1, "`netc new t --data t.csv` writes a first `.net` file for it"),
        (("train", "m.net", "--lr", "0.1"), 2, "`--set lr=...` gives `lr` of the file a value"),
        (("train", "m.net", "--batch_size", "8"), 2, "`--set batch=...` gives `batch` of the file a value"),
        (("train", "m.net", "--set", "lr="), 2, "`lr=` has no value"),
        (("explain", "m.net", "--line", "999"), 2, "the file has the lines 1 to 4"),
        (("explain", "m.net", "--row", "2"), 2, "for --row: it only applies with --gradient"),
        (("explain", "m.net", "--out", "m.html"), 2, "for --out: it only applies with DATA"),
        (("check", "m.net", "--latency", "5"), 2, "it only applies with --ranks"),
        (("check", "m.net", "--bandwidth", "1"), 2, "it only applies with --ranks"),
        (("check", "m.net", "--ranks", "2", "--verify"), 2, "it does not apply with --verify"),
    ],
)
def test_a_wrong_command_line_says_what_is_meant(
    arguments: tuple[str, ...], status: int, message: str, tmp_path: Path
) -> None:
    (tmp_path / "m.net").write_text("model {\n  input x: float\n  output y = 2 * x\n}\n")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    done = command(*arguments, cwd=tmp_path)
    assert (done.returncode, message in " ".join(done.stderr.replace("│", " ").split())) == (status, True), done.stderr
