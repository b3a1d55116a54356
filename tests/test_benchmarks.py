"""The benchmarks without their clock: the rule of `--compare`, saved files, and the models in netc and in PyTorch."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import netc
from benchmarks import __main__ as benchmark_command
from benchmarks import compare, operations, products, saved
from benchmarks.contender import CONTENDERS, environment
from benchmarks.measure import Measured
from benchmarks.model import Model
from benchmarks.models import ALL, MODELS
from benchmarks.models.gpt import Gpt
from benchmarks.printing import Rows, geometric_mean, print_means
from benchmarks.settings import Settings
from benchmarks.verdict import FLOOR, Verdict, change, time_of, verdict
from netc.compiler.targets.named import machine_for
from netc.runtime.execution.workers import Workers

NEW = (
    *("anomaly detection", "image classification", "keyword spotting"),
    *("nanoGPT", "streaming wake word", "visual wake words"),
)
_SAMPLES = 8
# MobileNet takes the longest to compile; the other models have all that these are made of
_LONG = {"visual wake words", "CNN, batchnorm", "LSTM", "LSTM, wide"}


def rounds(seconds: float, spread: float, seed: int, count: int = 12) -> list[float]:
    """Rounds that are never shorter than `seconds`, and longer by an exponential share with this mean."""
    return list(seconds * (1 + spread * np.random.default_rng(seed).exponential(size=count)))


def test_the_same_rounds_show_no_change() -> None:
    before = rounds(1e-3, 0.02, 0)
    result = change(before, before)
    assert result.ratio == 1
    assert result.low < 1 < result.high
    assert verdict(before, [before, before]) is Verdict.SAME


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.05, 0.2])
def test_noise_alone_is_no_change(spread: float) -> None:
    for seed in range(30):
        sweeps = [rounds(1e-3, spread, 1000 + seed, 6), rounds(1e-3, spread, 2000 + seed, 6)]
        assert verdict(rounds(1e-3, spread, seed), sweeps) is Verdict.SAME


@pytest.mark.parametrize(("factor", "expected"), [(1.1, Verdict.SLOWER), (0.9, Verdict.FASTER)])
def test_a_tenth_is_seen_through_noise_of_a_hundredth(factor: float, expected: Verdict) -> None:
    for seed in range(30):
        sweeps = [rounds(factor * 1e-3, 0.01, 1000 + seed, 6), rounds(factor * 1e-3, 0.01, 2000 + seed, 6)]
        assert verdict(rounds(1e-3, 0.01, seed), sweeps) is expected


def test_less_than_the_floor_is_never_a_change() -> None:
    assert verdict([1.0] * 12, [[1 + 0.9 * FLOOR] * 6] * 2) is Verdict.SAME
    assert verdict([1.0] * 12, [[1 + 1.1 * FLOOR] * 6] * 2) is Verdict.SLOWER


def test_a_disturbance_of_half_of_the_rounds_is_no_change() -> None:
    disturbed = [1.0, 1.0, 1.0, 2.0, 3.0, 2.5]
    assert time_of(disturbed) == 1
    assert verdict([1.0] * 12, [disturbed, disturbed]) is Verdict.SAME


def test_one_sweep_alone_does_not_decide() -> None:
    assert verdict([1.0] * 12, [[1.5] * 6, [1.0] * 6]) is Verdict.SAME
    assert verdict([1.0] * 12, [[1.5] * 6, [0.5] * 6]) is Verdict.SAME
    assert verdict([1.0] * 12, [[1.5] * 6, [1.4] * 6, [1.5] * 6]) is Verdict.SLOWER


def record(**seconds: list[float]) -> saved.Saved:
    result = saved.Saved("2026-11-29T00:00:00+00:00", {"cpu": "a", "cores": 2}, {"numpy": "2.0"})
    result.add("MLP", 1, Measured(100, dict(seconds), {"JAX scan": "took more than 180 s to compile"}))
    return result


def test_a_saved_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    before = record(netc=[1.0, 2.0])
    before.write(path)
    assert saved.Saved.read(path) == before
    assert saved.Saved.read(path).rounds("MLP", 1, "netc") == [1.0, 2.0]
    assert saved.Saved.read(path).rounds("MLP", 2, "netc") == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_record_describes_this_machine() -> None:
    here = saved.Saved.here()
    assert f"numpy {np.__version__}" in here.headline()
    assert here.machine["llvm"] in here.headline()
    assert here.machine["features"]


def test_rounds_of_several_sweeps_are_added(tmp_path: Path) -> None:
    result = record(netc=[1.0])
    result.add("MLP", 1, Measured(100, {"netc": [2.0], "JAX step": [3.0]}))
    assert result.rounds("MLP", 1, "netc") == [1.0, 2.0]
    assert result.rounds("MLP", 1, "JAX step") == [3.0]
    assert result.results["MLP", 1].left_out


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not JSON, at line 1"),
        ("{}", "it has no `format`"),
        ("[1]", "it has other parts"),
        ("null", "it has other parts"),
        ('{"format": 2}', "has the format 2, and this version reads"),
        ('{"format": 1, "date": "", "machine": {}, "versions": {}}', "it has no `results`"),
    ],
)
def test_another_file_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(saved.SavedFault, match=rf"other\.json .*{re.escape(reason)}"):
        saved.Saved.read(path)
    with pytest.raises(saved.SavedFault, match="no such file or directory"):
        saved.Saved.read(tmp_path / "missing.json")


@pytest.mark.parametrize("times", [[], [0.0], [-1.0], ["1"], [None]])
def test_times_must_be_positive_numbers(times: list[object], tmp_path: Path) -> None:
    path = tmp_path / "before.json"
    record(netc=[1.0]).write(path)
    content = json.loads(path.read_text())
    content["results"][0]["seconds"]["netc"] = times
    path.write_text(json.dumps(content))
    with pytest.raises(saved.SavedFault, match="MLP"):
        saved.Saved.read(path)


def test_a_report_names_what_is_slower(capsys: pytest.CaptureFixture[str]) -> None:
    before = record(netc=[1e-3] * 12, **{"JAX step": [1e-3] * 12})
    slower = {("MLP", 1, "netc"): [[2e-3] * 6] * 2}
    assert compare.report(before, slower)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:6] == ["MLP", "1", "netc", "1000.0", "2000.0", "2.000"]
    assert lines[1].endswith("slower")
    assert lines[2] == "geometric mean of netc's now / before, 1 rows: 2.000"
    assert not compare.report(before, {("MLP", 1, "netc"): [[5e-4] * 6] * 2})
    assert not compare.report(before, {("MLP", 1, "JAX step"): [[2e-3] * 6] * 2}), "a peer fails no check"


def test_a_file_without_what_is_asked_is_refused() -> None:
    for settings in (Settings(models=("LSTM",)), Settings(threads=(2,)), Settings(contenders=("JAX step",))):
        with pytest.raises(saved.SavedFault, match="no times of these models"):
            compare.compare(record(netc=[1.0]), settings)


def test_another_machine_and_other_versions_are_named() -> None:
    now = saved.Saved("2026-11-30T00:00:00+00:00", {"cpu": "b", "cores": 2}, {"numpy": "2.1", "jax": "0.10"})
    assert list(compare.differences(record(netc=[1.0]), now)) == [
        "before: 2026-11-29T00:00:00+00:00; now: 2026-11-30T00:00:00+00:00",
        "another machine: cpu was a and is b",
        "jax: none before, 0.10 now",
        "numpy: 2.0 before, 2.1 now",
    ]


def test_the_best_peer_is_compared_with_netc() -> None:
    measured = Measured(1, {"netc": [2.0, 1.0], "netc, gathering": [0.1], "JAX step": [3.0, 4.0], "JAX scan": [2.5]})
    assert measured.ratio == 2.5
    assert Measured(1, {"netc": [1.0]}).ratio is None
    assert measured.narrow_ratio is None


def test_contenders_in_bf16_are_compared_with_each_other() -> None:
    measured = Measured(1, {"netc": [2.0], "JAX step": [3.0], "netc bf16": [1.0], "PyTorch bf16": [1.5, 1.25]})
    assert (measured.ratio, measured.narrow_ratio) == (1.5, 1.25)
    assert Measured(1, {"netc": [2.0], "netc bf16": [1.0], "JAX step": [1.0]}).narrow_ratio is None


def test_means_are_geometric(capsys: pytest.CaptureFixture[str]) -> None:
    assert geometric_mean([1.0, 4.0]) == 2
    print_means({1: [1.0, 4.0], 2: []})
    assert capsys.readouterr().out == "geometric mean of best peer / netc on 1 thread, 2 rows: 2.00\n"


def test_rows_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    table = Rows(["model", "us"], 7)
    table.add(["MLP", "1.5"])
    assert capsys.readouterr().out == "model          us\nMLP           1.5\n"


def test_every_model_is_there_once() -> None:
    assert {model.name for model in MODELS} >= {*NEW, "MLP", "LSTM", "CNN"}
    assert not any(model.series for model in MODELS)
    growing = {"width", "depth", "batch", "attention memory"}
    assert {model.series for model in ALL.values()} == {"", *growing, "attention", "first step"}
    assert next(iter(CONTENDERS)) == "netc"


@pytest.mark.parametrize("name", [model.name for model in MODELS])
def test_fewer_samples_are_the_beginning_of_more(name: str) -> None:
    model = ALL[name]
    few, more = model.data(2), model.data(3)
    assert all(np.array_equal(few[field], more[field][:2]) for field in few)


@pytest.mark.parametrize("name", [model.name for model in MODELS])
def test_netc_and_pytorch_have_the_same_losses(name: str, is_long: bool) -> None:
    """The losses of two steps: the second one depends on every gradient."""
    pytest.importorskip("torch")
    if name in _LONG and not is_long:
        pytest.skip("--long")
    check_losses(ALL[name])


@pytest.mark.parametrize("causal", [True, False])
def test_netc_and_pytorch_have_the_same_losses_of_attention(causal: bool) -> None:
    """Those of the table are too long for the interpreter; this one has the same text with other sizes."""
    pytest.importorskip("torch")
    check_losses(Gpt(1, 2, 16, 40, causal).model("attention", 3))


def check_losses(model: Model) -> None:
    """Compares the losses of two steps of the interpreter and of every form of PyTorch."""
    from benchmarks.torch_layers import Layers, batches
    from benchmarks.with_netc import stored
    from benchmarks.with_torch import Training

    fields, weights = model.data(_SAMPLES), model.weights()
    parsed = netc.parse(model.net())
    assert fields.keys() - {"lengths"} == parsed.inputs.keys() | parsed.targets.keys()
    program = netc.compile(parsed, backend="reference", batch=_SAMPLES)
    for parameter, first in weights.items():
        program.parameters[parameter][...] = first
    losses = [program.steps(stored(fields), np.arange(_SAMPLES), 0).values["loss"][0] for _ in range(2)]
    for form in (model.torch_batches or batches)(fields):
        training = Training(model, model.in_torch(Layers(weights)), form, "eager")
        steps = [float(training.step(form.inputs, form.y)) for _ in range(2)]
        np.testing.assert_allclose(steps[0], losses[0], rtol=1e-4)
        np.testing.assert_allclose(steps[1], losses[1], rtol=10 * model.tolerance)  # so few samples amplify rounding


def test_netc_and_pytorch_have_nearly_the_same_losses_in_bf16() -> None:
    """In f32 they are closer."""
    pytest.importorskip("torch")
    from benchmarks import with_netc
    from benchmarks.torch_layers import Layers, batches
    from benchmarks.with_torch import Training

    model = ALL["digits8x8"]
    form, weights = next(iter(batches(model.data(model.batch)))), model.weights()

    def losses(variant: str) -> list[list[float]]:
        contender = with_netc.Contender(variant, 1)
        contender.build(model, weights)
        training = Training(model, model.in_torch(Layers(weights)), form, variant)
        return [[contender.advance(), float(training.step(form.inputs, form.y))] for _ in range(3)]

    (narrow, wide) = (np.array(losses(variant)) for variant in ("bf16", ""))
    np.testing.assert_allclose(narrow[:, 0], narrow[:, 1], atol=0.03 * wide[0, 0])
    np.testing.assert_allclose(wide[:, 0], wide[:, 1], rtol=1e-5)
    assert (np.abs(narrow - wide).max(axis=0) > 1e-5).all()


def test_a_filter_that_selects_no_operation_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--only", "operations", "--filter", "large f32 softmax"])
    with pytest.raises(SystemExit, match=r"no text of an operation.*has `large f32 softmax`"):
        benchmark_command.main()


def test_runs_of_the_table_of_operations_write_to_the_same_memory() -> None:
    case = next(operations.cases("add large f32"))
    graph = operations.backward(case)
    assert graph is not None
    ready = operations._ready(case, graph, None, Workers(1))
    with operations._kept_results(graph):
        runs = [ready.step.run(ready.fields, np.arange(case.batch)) for _ in range(3)]
    addresses = [{name: array.ctypes.data for name, array in results.items()} for results in runs]
    assert addresses[0] == addresses[1] == addresses[2]
    assert len({*addresses[0].values()}) == len(addresses[0]) == 2


_PRODUCTS = (
    products.forward(14, 20, 33),
    products.Operands("g @ W^T", 7, 40, 20, (40, 1), (1, 40)),
    products.Operands("x^T @ g", 20, 9, 17, (1, 20), (17, 1)),
    products.Operands("q @ k^T", 10, 8, 10, (48, 1), (1, 48), 2, (8, 8)),
)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_products_of_the_table_are_right(dtype: str) -> None:
    kernel = products.Kernel(dtype, machine_for())
    for operands in _PRODUCTS:
        a, b = (kernel.memory(operands, which) for which in ("a", "b"))
        (m, k, n), size, apart = (operands.m, operands.k, operands.n), kernel.dtype.itemsize, operands.batches
        views = (
            np.lib.stride_tricks.as_strided(memory, (operands.batch, *shape), [size * s for s in (apart[i], *strides)])
            for i, (memory, shape, strides) in enumerate(((a, (m, k), operands.a), (b, (k, n), operands.b)))
        )
        expected = np.matmul(*views)
        np.testing.assert_allclose(kernel.multiply(operands, a, b), expected, rtol=1e-5, err_msg=operands.name)


def test_the_table_of_products_has_a_rate_for_each_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(products, "shapes", lambda: iter(_PRODUCTS))
    monkeypatch.setattr("sys.argv", ["benchmarks", "--only", "products", "--rounds", "1"])
    benchmark_command.main()
    head, *rows = capsys.readouterr().out.strip().splitlines()
    assert [row.split("  ")[0] for row in rows] == [operands.name for operands in _PRODUCTS]
    assert all(row.count("%") == head.count("GFLOP/s") >= 2 for row in rows)


def test_contenders_keep_the_instruction_set_of_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    for threads in (1, 2):
        variables = environment(threads)
        assert "--xla_cpu_max_isa=AVX2" in variables["XLA_FLAGS"].split()
        assert ("intra_op_parallelism_threads=1" in variables["XLA_FLAGS"]) == (threads == 1)
    monkeypatch.delenv("XLA_FLAGS")
    assert "XLA_FLAGS" not in environment(2)
