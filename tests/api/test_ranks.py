"""`mpiexec -n 4 netc train M.net`: the files of one process, whatever happens to a rank. Skipped without MPI."""

import itertools
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from ranks import cache_of_kernels, launched, on_mpi
from safetensors.numpy import load_file
from support import command, has_epochs, netc_command

DATA = """data {
  x = field("x")
  y = field("y") -> classes
  source = npz("table.npz")
  split = (train = 0.7, valid = 0.2, test = 0.1)
}
"""
SETTINGS = "optimizer = adam(lr = 0.01)\n  epochs = 3\n"
MLP = f"""{DATA}model {{
  input x: float[12, 12, 1]
  target y: class(3)
  z = x -> flatten -> dense(40) -> relu -> dense(3)
  output p = softmax(z)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}}
train {{ {SETTINGS}  batch = 50\n keep = best(valid.loss) }}
"""
LENET = f"""{DATA}model {{
  input x: float[12, 12, 1]
  target y: class(3)
  z = x -> conv(8, 3) -> relu -> maxpool(2) -> conv(8, 3) -> relu -> flatten -> dense(20) -> relu -> dense(3)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}}
train {{ {SETTINGS}  batch = 32\n schedule = cosine() }}
"""
NORMALISED = f"""{DATA}model {{
  input x: float[12, 12, 1]
  target y: class(3)
  h = x -> conv(8, 3) -> batchnorm -> relu -> maxpool(2) -> flatten
  z = h -> dropout(0.3) -> dense(20) -> relu -> dense(3)
  watch size = mean(h)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}}
train {{ {SETTINGS}  batch = 20\n accumulate = 3\n clip_norm = 1\n keep = average(0.9) }}
"""
LSTM = f"""data {{
  x = field("x")
  y = field("y") -> classes
  source = jsonl("sequences.jsonl")
  split = (train = 0.8, valid = 0.2)
}}
model {{
  input x: float[time, 2]
  target y: class(3)
  z = x -> lstm(12) -> last -> dense(3)
  loss cross_entropy(z, y)
  metric accuracy(z, y)
}}
train {{ {SETTINGS}  batch = 16 }}
"""
MODELS = {"mlp": MLP, "lenet": LENET, "normalised": NORMALISED, "lstm": LSTM}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models and their data."""
    folder = tmp_path_factory.mktemp("ranks")
    rng = np.random.default_rng(0)
    np.savez(folder / "table.npz", x=rng.standard_normal((300, 12, 12, 1), np.float32), y=rng.integers(0, 3, 300))
    lines = (
        f'{{"x": {rng.standard_normal((rng.integers(1, 12), 2)).round(3).tolist()}, "y": {rng.integers(0, 3)}}}\n'
        for _ in range(120)
    )
    (folder / "sequences.jsonl").write_text("".join(lines), encoding="utf-8")
    for name, text in MODELS.items():
        (folder / f"{name}.net").write_text(text, encoding="utf-8")
    return folder


def contents(run: Path) -> dict[str, object]:
    """The result of a training: the bytes of all arrays, and the rows of metrics without their times."""
    times = re.compile(rb'"(seconds|samples_per_second)": [^,}]+')
    metrics = times.sub(b"", (run / "metrics.jsonl").read_bytes())
    files = sorted(path for path in run.glob("*.safetensors"))
    arrays = {path.name: {name: array.tobytes() for name, array in load_file(path).items()} for path in files}
    return {"metrics": metrics, **arrays}


def alone(folder: Path, name: str) -> dict[str, object]:
    """The contents of a run that one process trained."""
    run = folder / f"alone-{name}"
    if not run.exists():
        done = command("train", f"{name}.net", "--out", run.name, "--threads", 1, cwd=folder)
        assert done.returncode == 0, done.stderr
    return contents(run)


# Every second pair has all models.
PAIRS = [(name, ranks) for number, name in enumerate(MODELS) for ranks in ((2, 4) if number % 2 else (4, 2))]


@pytest.mark.every(2)
@pytest.mark.parametrize(("name", "ranks"), PAIRS)
def test_ranks_leave_the_files_of_one_process(folder: Path, name: str, ranks: int) -> None:
    """Ranks of the first model compile it at the same time; the others find their kernels in the cache."""
    run = f"{name}-on-{ranks}"
    if name != "mlp":
        alone(folder, name)
    done = on_mpi(ranks, "train", f"{name}.net", "--out", run, "--threads", 1, cwd=folder, NETC_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 3/3") == 1, "rank 0 alone prints"
    assert contents(folder / run) == alone(folder, name)
    assert not [path for path in folder.iterdir() if path.name.startswith(run) and path.name != run]


def test_ranks_share_the_columns_and_arrays_of_several_files(folder: Path, tmp_path: Path) -> None:
    """Each file has more than 1 MB, so that ranks map its columns from the cache."""
    rng = np.random.default_rng(1)
    names = ",".join([*(f"c{number}" for number in range(60)), "y"])
    for number in range(2):
        table = np.column_stack([rng.standard_normal((2600, 60)), rng.integers(0, 3, 2600)])
        np.savetxt(folder / f"part-{number}.csv", table, ["%.4f"] * 60 + ["%d"], ",", header=names, comments="")
    text = """data {
  x = columns(all, except = "y") -> standardize
  y = column("y") -> classes
  source = csv("part-*.csv")
  split = (train = 0.8, valid = 0.2)
}
model {
  input x: float[60]
  target y: class(3)
  z = x -> dense(8) -> relu -> dense(3)
  loss cross_entropy(z, y)
}
"""
    (folder / "files.net").write_text(f"{text}train {{ {SETTINGS}  batch = 64 }}\n", encoding="utf-8")
    expected, cache = alone(folder, "files"), cache_of_kernels(tmp_path / "cache")
    done = on_mpi(2, "train", "files.net", "--out", "of-files", "--threads", 1, cwd=folder, NETC_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert contents(folder / "of-files") == expected
    names = [path.name for path in cache.rglob("*")]
    assert names.count("columns.bin") == 2
    assert not [name for name in names if name.startswith("shared-")], "files of shared arrays are left"


def interrupted(folder: Path, name: str, run: str, ranks: int, number: int) -> subprocess.CompletedProcess[str]:
    """Starts a long training, and sends a signal to the launcher, or kills a rank with SIGKILL, after an epoch."""
    process = launched(
        ranks, "train", f"{name}.net", "--epochs", 100_000, "--out", run, "--threads", 1, cwd=folder, NETC_DEBUG="1"
    )
    end = time.monotonic() + 100
    while not has_epochs(folder / run, 1) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    children = [int(child) for child in descendants(process.pid) if b"console" in words_of(child)]
    assert len(children) == ranks
    killed = process.pid if number != signal.SIGKILL else children[-1]
    os.kill(killed, number)
    began = time.monotonic()
    out, err = process.communicate(timeout=60)
    while any(words_of(str(child)) for child in children) and time.monotonic() < began + 60:
        time.sleep(0.05)
    assert not any(words_of(str(child)) for child in children), "a rank goes on"
    return subprocess.CompletedProcess([], process.returncode, out, err)


def descendants(process: int) -> list[str]:
    """The processes that a process started, and those that they started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    return children + [other for child in children for other in descendants(int(child))]


def words_of(process: str) -> bytes:
    """The command line of a process; empty when it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def check_resumed(folder: Path, run: str, ranks: int) -> None:
    """Resumes a run on other ranks for three more epochs, and compares it with one process."""
    begun = (folder / run / "metrics.jsonl").read_bytes().count(b"\n")
    epochs = begun + 3
    copy = folder / f"{run}-copy"
    subprocess.run(["cp", "-r", folder / run, copy], check=True)
    done = on_mpi(ranks, "train", "--resume", run, "--epochs", epochs, "--threads", 1, cwd=folder, NETC_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(f"epoch {epochs}/{epochs}") == 1
    done = command("train", "--resume", copy.name, "--epochs", epochs, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert contents(folder / run) == contents(copy)


def test_an_interrupted_run_goes_on_with_another_number_of_ranks(folder: Path) -> None:
    interrupted(folder, "normalised", "interrupted", 4, signal.SIGINT)
    check_resumed(folder, "interrupted", 2)


def test_a_killed_rank_ends_all_others(folder: Path) -> None:
    done = interrupted(folder, "mlp", "killed", 2, signal.SIGKILL)
    assert done.returncode != 0
    assert "rank 1" in done.stdout + done.stderr
    check_resumed(folder, "killed", 4)


def folds_in(folder: Path) -> dict[str, object]:
    """The contents of a cross-validation: of its folds, and the bytes of what it writes beside them."""
    files = {name: (folder / name).read_bytes() for name in ("results.json", "out_of_fold.csv")}
    return {**files, **{path.name: contents(path) for path in sorted(folder.glob("fold-*"))}}


def test_folds_on_ranks_leave_the_files_of_one_process(folder: Path) -> None:
    text = NORMALISED.replace("(train = 0.7, valid = 0.2, test = 0.1)", "folds(3)")
    (folder / "folds.net").write_text(text, encoding="utf-8")
    done = command("train", "folds.net", "--folds", "--out", "folds-alone", "--threads", 1, cwd=folder)
    assert done.returncode == 0, done.stderr
    expected = done.stdout.replace("folds-alone", "folds-shared")
    words = ("train", "folds.net", "--folds", "--out", "folds-shared", "--threads", 1)
    done = on_mpi(2, *words, cwd=folder, NETC_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected, "rank 0 alone prints"
    assert folds_in(folder / "folds-shared") == folds_in(folder / "folds-alone")
    assert len(folds_in(folder / "folds-alone")) == 5
    for path in (folder / "folds-shared").glob("fold-[23]/*"):
        path.unlink()
    for name in ("fold-2", "fold-3"):
        (folder / "folds-shared" / name).rmdir()
    done = on_mpi(4, "train", "--resume", "folds-shared", "--threads", 1, cwd=folder, NETC_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert folds_in(folder / "folds-shared") == folds_in(folder / "folds-alone")


def test_the_test_of_learning_rates_is_that_of_one_process(folder: Path) -> None:
    done = command("train", "lenet.net", "--find-lr", "--out", "alone.svg", "--threads", 1, cwd=folder)
    assert done.returncode == 0, done.stderr
    shared = on_mpi(2, "train", "lenet.net", "--find-lr", "--out", "shared.svg", cwd=folder, NETC_DEBUG="1")
    assert shared.returncode == 0, shared.stderr
    assert shared.stdout == done.stdout.replace("alone.svg", "shared.svg")
    assert (folder / "shared.svg").read_bytes() == (folder / "alone.svg").read_bytes()


def test_a_wrong_option_is_refused_once(folder: Path) -> None:
    done = on_mpi(2, "train", "mlp.net", "--find-lr", "--folds", cwd=folder)
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("neither folds nor --resume") == 1


def test_a_fault_of_all_ranks_is_printed_once(folder: Path) -> None:
    done = on_mpi(2, "train", "missing.net", cwd=folder)
    assert done.returncode != 0
    assert done.stderr.count("error[E0104]: there is no file `missing.net`") == 1


def test_a_rank_that_fails_alone_names_itself_and_ends_all(folder: Path) -> None:
    """Rank 1 is told to train a file that does not exist, while rank 0 waits for its rows."""
    long = ("train", "mlp.net", "--epochs", 100_000, "--out", "one-fails", "--threads", 1)
    done = on_mpi(1, *long, ":", "-n", 1, *netc_command("train", "missing.net", "--threads", 1), cwd=folder)
    assert done.returncode != 0
    assert re.search(r"rank 1 of 2 on .* failed, which ends all ranks:\nerror\[E0104\]", done.stderr)
    assert done.stderr.count("error[") == 1


def test_commands_of_one_process_refuse_ranks(folder: Path) -> None:
    done = on_mpi(2, "check", "mlp.net", cwd=folder)
    assert done.returncode != 0
    assert done.stderr.count("error[E1013]: `netc check without --ranks` runs in one process") == 1


def test_check_predicts_a_step_on_ranks(folder: Path) -> None:
    done = command("check", "mlp.net", "--ranks", 32, "--latency", 0, "--bandwidth", 1e6, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)["ranks"]
    assert (facts["latency_us"], facts["bandwidth_gb_per_second"]) == (0, 1e6)
    steps = facts["steps"]
    assert [step["ranks"] for step in steps] == [1, 2, 4, 8, 16, 32]
    assert steps[0]["received_bytes"] == steps[0]["gathering"] == 0
    assert all(step["computing"] > 0 for step in steps)
    both = [(step["computing"] + step["gathering"], steps[0]["seconds"]) for step in steps[1:]]
    assert [step["shared"] for step in steps[1:]] == [shared < alone for shared, alone in both]
    assert [step["seconds"] for step in steps[1:]] == [min(pair) for pair in both]
    assert all(half["received_bytes"] < full["received_bytes"] for half, full in itertools.pairwise(steps[:5]))
    text = command("check", "lstm.net", "--ranks", 32, "--latency", 1e6, cwd=folder).stdout
    assert "predicted for a network of 1e+06 us, 5 GB/s" in text
    assert "32 (*)" in text
    assert text.count("every rank does the whole step") == 5
    assert "several ranks do not pay: the step is too small" in text


def test_check_on_ranks_measures_their_network(folder: Path) -> None:
    command("check", "mlp.net", "--ranks", 4, cwd=folder)  # measures the processor, which ranks take seconds for
    done = on_mpi(2, "check", "mlp.net", "--ranks", 4, "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)["ranks"]
    assert 0 < facts["latency_us"] != 20
    assert 0 < facts["bandwidth_gb_per_second"] != 5
    result = on_mpi(2, "check", "mlp.net", "--ranks", 4, "--latency", 7, "--json", cwd=folder)
    assert json.loads(result.stdout)["ranks"]["latency_us"] == 7


def test_three_ranks_are_refused(folder: Path) -> None:
    done = on_mpi(3, "train", "mlp.net", "--out", "of-three", cwd=folder)
    assert done.returncode != 0
    assert done.stderr.count("error[E1013]: 3 ranks cannot share the shards of a batch") == 1
    assert not (folder / "of-three").exists()
