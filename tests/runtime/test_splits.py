"""Splits and series: which rows are in which part, and which rows a window is cut from."""

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support import command, forge

import netc
from netc.dsl.source import NOWHERE
from netc.runtime.data.block.source import SourceSpec
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.data.division.apportion import apportioned, divided_classes
from netc.runtime.data.division.dealing import dealt
from netc.runtime.data.new_data import Fitted, read_fields, read_table

MODEL = """
model {
  input x: float
  target y: class(auto)
  z = stack(x, x) -> dense(size(y))
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train { seed = SEED }
"""
NUMBERS = """
model {
  input x: float
  target y: float
  z = stack(x, x) -> dense(1) -> squeeze
  output p = z
  loss mse(z, y)
}
"""
SERIES = """
model {
  input x: float[4]
  target y: float
  z = x -> dense(1) -> squeeze
  output p = z
  loss mse(z, y)
}
"""


def parts_of(folder: Path, columns: dict[str, list], split: str, seed: int = 0) -> dict[str, np.ndarray]:
    """The numbers of the rows in each part of a table with these columns besides `x`, which numbers the rows.

    The target is the class `y`, or without such a column `x` itself.
    """
    count = len(next(iter(columns.values())))
    rows = zip(range(count), *columns.values(), strict=True)
    lines = [",".join(["x", *columns]), *(",".join(map(str, row)) for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    target, model = ('column("y") -> classes', MODEL) if "y" in columns else ('column("x")', NUMBERS)
    text = f'data {{\n  source = csv("t.csv")\n  x = column("x")\n  y = {target}\n  split = {split}\n}}\n'
    (folder / "m.net").write_text(text + model.replace("SEED", str(seed)), encoding="utf-8")
    model = netc.load(folder / "m.net")
    dataset = load(model, parse_data(model))
    for part, rows in dataset.rows.items():
        assert np.array_equal(np.asarray(dataset.parts[part]["x"]), rows - 2)
    return {part: rows - 2 for part, rows in dataset.rows.items()}


def sizes(parts: dict[str, np.ndarray]) -> dict[str, int]:
    return {part: len(rows) for part, rows in parts.items()}


@pytest.mark.parametrize("seed", range(4))
def test_a_table_of_classes_is_divided_evenly(seed: int) -> None:
    """Rows and columns add up, and each number is its share rounded down or up, unless training needs the row."""
    draw = np.random.default_rng(seed)
    for _ in range(200):
        counts = draw.integers(1, draw.choice([2, 4, 30, 1000]), draw.integers(1, 40))
        shares = draw.dirichlet(np.ones(draw.integers(1, 6)))
        total = int(counts.sum())
        sizes = apportioned(shares, total, len(shares))
        assert sizes.sum() == total
        assert sizes.min() >= (total >= len(shares))
        assert np.abs(sizes - shares * total).max() < max(len(shares), 1)
        ranks = draw.permutation(len(counts))
        even = divided_classes(counts, sizes, None, ranks)
        assert np.array_equal(even.sum(axis=0), sizes)
        assert np.array_equal(even.sum(axis=1), counts)
        assert np.abs(even - np.outer(counts, sizes / total)).max() < 1
        trained = divided_classes(counts, sizes, 0, ranks)
        assert np.array_equal(trained.sum(axis=1), counts)
        assert trained.min() >= 0
        assert trained[:, 0].min() >= 1
        if (counts * sizes[0] / total >= 1).all():
            assert np.array_equal(trained, even)


def test_small_classes_leave_no_part_empty(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, {"y": [i % 30 for i in range(120)]}, "(train = 0.8, valid = 0.1, test = 0.1)")
    assert sizes(parts) == {"train": 96, "valid": 12, "test": 12}
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(120))
    assert all(count in (3, 4) for count in np.bincount(parts["train"] % 30))


def test_a_class_of_one_row_is_in_training(tmp_path: Path) -> None:
    labels = ["a"] * 40 + ["b", "c", "d"] + ["e"] * 17
    for seed in range(5):
        parts = parts_of(tmp_path, {"y": labels}, f"(train = 0.5, test = 0.5, seed = {seed})")
        assert sizes(parts) == {"train": 30, "test": 30}
        assert {40, 41, 42} <= set(parts["train"])


@pytest.mark.parametrize("rows", [2, 3, 4, 11])
def test_each_part_gets_a_row(rows: int, tmp_path: Path) -> None:
    split = "(train = 0.98, test = 0.02)" if rows == 2 else "(train = 0.98, valid = 0.01, test = 0.01)"
    parts = parts_of(tmp_path, {"z": ["a"] * rows}, split)
    assert min(sizes(parts).values()) == 1
    assert sum(sizes(parts).values()) == rows


def test_rows_may_be_left_out(tmp_path: Path) -> None:
    for way in ("(", "ordered("):
        parts = parts_of(tmp_path, {"y": list("ab") * 20}, f"{way}train = 0.5, test = 0.25)")
        assert sizes(parts) == {"train": 20, "test": 10}


def test_the_seed_of_training_moves_no_row(tmp_path: Path) -> None:
    columns = {"y": list("aab") * 20, "g": [i // 4 for i in range(60)]}
    for split in (
        "(train = 0.8, test = 0.2{})",
        'by("g", train = 0.8, test = 0.2{})',
        'hash("g", train = 0.8, test = 0.2{})',
    ):
        first = parts_of(tmp_path, columns, split.format(""))
        again = parts_of(tmp_path, columns, split.format(", seed = 0"), seed=1)
        other = parts_of(tmp_path, columns, split.format(", seed = 7"))
        assert np.array_equal(first["test"], again["test"])
        assert not np.array_equal(first["test"], other["test"])


@pytest.mark.parametrize("seed", range(6))
def test_groups_stay_together(seed: int, tmp_path: Path) -> None:
    """Sizes are right to about half of the largest group; a class that one group has alone is in training."""
    draw = np.random.default_rng(seed)
    groups = draw.integers(0, 40, 300)
    labels = np.array(["a", "b"])[draw.integers(0, 2, 300)]
    labels[groups == groups[0]] = "only here"
    largest = np.bincount(groups).max()
    columns = {"y": labels.tolist(), "g": groups.tolist()}
    parts = parts_of(tmp_path, columns, f'by("g", train = 0.6, valid = 0.2, test = 0.2, seed = {seed})')
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(300))
    for part, share in (("train", 180), ("valid", 60), ("test", 60)):
        assert abs(len(parts[part]) - share) <= largest
        assert not set(groups[parts[part]]) & set(groups[np.setdiff1d(np.arange(300), parts[part])])
    assert set(np.flatnonzero(groups == groups[0])) <= set(parts["train"])


def test_as_many_groups_as_parts(tmp_path: Path) -> None:
    columns = {"g": [0] * 90 + [1] * 5 + [2] * 5}
    for seed in range(5):
        parts = parts_of(tmp_path, columns, f'by("g", train = 0.9, valid = 0.05, test = 0.05, seed = {seed})')
        assert sizes(parts) == {"train": 90, "valid": 5, "test": 5}


def test_a_hash_keeps_rows_where_they_were(tmp_path: Path) -> None:
    """The formula is the one in the documentation: rows may be added, taken out or sorted."""
    names = [f"id {i}" for i in range(200)]
    split = 'hash("id", train = 0.7, valid = 0.1, test = 0.2)'

    def part_of(name: str) -> str:
        share = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
        return "train" if share < 0.7 else "valid" if share < 0.8 else "test"

    for ids in (names[:100], names, names[::-1], [*names[50:], *names[:20], *names[50:]]):
        parts = parts_of(tmp_path, {"y": list("ab") * (len(ids) // 2), "id": ids}, split)
        assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(ids)))
        for part, rows in parts.items():
            assert {part_of(ids[row]) for row in rows} == {part}
    coarse = parts_of(tmp_path, {"y": list("ab") * 100, "id": names}, 'hash("id", train = 0.8, test = 0.2)')
    assert {names[row] for row in coarse["test"]} == {name for name in names if part_of(name) == "test"}


@pytest.mark.parametrize("by", ["", ', by = "g"'])
def test_folds(by: str, tmp_path: Path) -> None:
    """Each row is in one fold, whole groups are, and every class is in the training part of each fold."""
    draw = np.random.default_rng(3)
    groups = draw.integers(0, 30, 203)
    labels = np.array(["a", "b", "rare"])[draw.choice(3, 203, p=[0.6, 0.37, 0.03])]
    labels[7] = "once"
    columns, seen = {"y": labels.tolist(), "g": groups.tolist()}, np.zeros(203, int)
    for fold in range(1, 6):
        (tmp_path / str(fold)).mkdir()
        parts = parts_of(tmp_path / str(fold), columns, f"folds(5{by}, fold = {fold})")
        assert parts.keys() == {"train", "valid"}
        assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(203))
        assert set(labels[parts["train"]]) == set(labels)
        seen[parts["valid"]] += 1
        if by:
            assert not set(groups[parts["train"]]) & set(groups[parts["valid"]])
        else:
            assert len(parts["valid"]) in (40, 41)
            assert abs((labels[parts["valid"]] == "b").sum() - (labels == "b").sum() / 5) < 1
    assert seen.max() == 1
    assert set(np.flatnonzero(seen == 0)) <= set(np.flatnonzero(groups == groups[7]) if by else [7])


@pytest.mark.parametrize("extra", ["", ', by = "g"', ", ordered = true"])
def test_folds_set_a_test_part_aside(extra: str, tmp_path: Path) -> None:
    """It is the same for all folds, no fold reads it, and the folds divide the rest."""
    draw = np.random.default_rng(5)
    columns = {"y": draw.choice(["a", "b"], 120).tolist(), "g": draw.integers(0, 24, 120).tolist()}
    tests, seen = [], np.zeros(120, int)
    for fold in range(1, 4):
        (tmp_path / str(fold)).mkdir()
        parts = parts_of(tmp_path / str(fold), columns, f"folds(3{extra}, test = 0.25, fold = {fold})")
        assert parts.keys() == {"train", "valid", "test"}
        tests.append(parts["test"])
        seen[parts["valid"]] += 1
        assert not set(parts["test"]) & {*parts["train"], *parts["valid"]}
        if "by" in extra:
            groups = np.array(columns["g"])
            assert not set(groups[parts["test"]]) & set(groups[parts["train"]])
        else:
            assert len(parts["test"]) == 30
    assert all(np.array_equal(part, tests[0]) for part in tests)
    assert seen[tests[0]].max() == 0
    if "ordered" in extra:
        assert np.array_equal(tests[0], np.arange(90, 120))
    else:
        assert seen.sum() == 120 - len(tests[0])


@pytest.mark.parametrize("rows", [100, 97, 6])
def test_ordered_folds_train_on_what_came_before(rows: int, tmp_path: Path) -> None:
    """The training part is all that came before the validation part, and grows with the number of the fold."""
    ends = []
    for fold in range(1, 6):
        (tmp_path / str(fold)).mkdir()
        parts = parts_of(tmp_path / str(fold), {"z": list(range(rows))}, f"folds(5, ordered = true, fold = {fold})")
        start, end = len(parts["train"]), len(parts["train"]) + len(parts["valid"])
        assert np.array_equal(parts["train"], np.arange(start))
        assert np.array_equal(parts["valid"], np.arange(start, end))
        assert len(parts["valid"]) in (rows // 6, -(-rows // 6))
        ends.append((start, end))
    assert all(end == start for (_, end), (start, _) in pairwise(ends))
    assert ends[-1][1] == rows


def series(folder: Path, columns: dict[str, list], settings: str, steps: str = "") -> dict[str, list[list[float]]]:
    """The windows of each part: four values of `v` and the next one."""
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = (
        f'data {{\n  source = csv("t.csv")\n  x = column("v") -> {steps}window(4, 1)\n'
        f'  y = column("v") -> window(4, 1) -> next(1)\n{settings}\n}}\n'
    )
    (folder / "m.net").write_text(text + SERIES, encoding="utf-8")
    model = netc.load(folder / "m.net")
    parts = load(model, parse_data(model)).parts
    return {part: np.c_[np.asarray(fields["x"]), np.asarray(fields["y"])].tolist() for part, fields in parts.items()}


def expected(rows: list[tuple[str, float, float]], every: float) -> list[list[float]]:
    """The windows of rows (series, time, value) in a simple way: five rows of one series without a gap."""
    ordered = sorted(rows)
    cut = []
    for i in range(len(ordered) - 4):
        five = ordered[i : i + 5]
        steps = [(second[1] - first[1]) / every for first, second in pairwise(five)]
        if len({row[0] for row in five}) == 1 and max(steps) <= 1.5:
            cut.append([row[2] for row in five])
    return cut


@pytest.mark.parametrize("seed", range(4))
def test_windows_stay_in_a_series_and_cross_no_gap(seed: int, tmp_path: Path) -> None:
    """Rows of three series in any order, some of them missing."""
    draw = np.random.default_rng(seed)
    hours = [(store, hour) for store in "abc" for hour in range(60) if draw.random() > 0.06]
    rows = [(store, float(hour), 100.0 * "abc".index(store) + hour) for store, hour in hours]
    shuffled = [rows[i] for i in draw.permutation(len(rows))]
    columns = {
        "v": [row[2] for row in shuffled],
        "store": [row[0] for row in shuffled],
        "at": [f"2024-03-{1 + int(row[1]) // 24:02} {int(row[1]) % 24:02}:00" for row in shuffled],
        "n": [row[1] for row in shuffled],
    }
    columns["local"] = [f"{int(at[8:10])}.3.24 {at[11:]}" for at in columns["at"]]
    times = ('time = "at", every = "1 hour"', 'time = "n", every = 1', 'time = "at", every = "60 minutes"')
    for time in (*times, 'time = "local", every = "1 hour", format = "%d.%m.%y %H:%M"'):
        setting = f'  series = by("store", {time})\n'
        both = series(tmp_path, columns, setting + "  split = ordered(train = 0.7, test = 0.3)")
        for part in both.values():
            assert all(window in expected(rows, 1) for window in part)
        for store in "abc":
            of_store = [row for row in rows if row[0] == store]
            cut = {part: [window for window in both[part] if window[0] // 100 == "abc".index(store)] for part in both}
            edges = (len(of_store) * 7 // 10, -(-len(of_store) * 7 // 10))  # rounded down or up
            assert cut in [
                {"train": expected(of_store[:edge], 1), "test": expected(of_store[edge:], 1)} for edge in edges
            ]
        alone = series(tmp_path, columns, setting + "  split = ordered(train = 1.0)")
        assert alone["train"] == expected(rows, 1)
        by_store = series(tmp_path, columns, setting + '  split = by("store", train = 0.67, test = 0.33)')
        assert sorted(window for part in by_store.values() for window in part) == sorted(expected(rows, 1))
        folds = series(tmp_path, columns, setting + "  split = folds(3)")
        assert not {v for w in folds["train"] for v in w} & {v for w in folds["valid"] for v in w}
        folds = series(tmp_path, columns, setting + "  split = folds(3, ordered = true, fold = 2)")
        for store in range(3):  # the values of each store grow with the time
            past, coming = ([v for w in folds[part] for v in w if v // 100 == store] for part in ("train", "valid"))
            assert max(past) < min(coming)


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ('time = "at", every = "1 day", format = "%d/%m"', r'"1.3.24" is not a date of the form "%d/%m"(.|\n)*row 2'),
        ('time = "at", every = "1 day", format = "day"', "`format` has the directives of strptime"),
        ('time = "at", every = "1 day", format = 3', "`format` has the directives of strptime"),
        ('time = "n", every = 1, format = "%d"', "`format` is for dates"),
    ],
)
def test_formats_of_a_series_that_are_wrong(time: str, message: str, tmp_path: Path) -> None:
    columns = {"v": [*range(8)], "at": [f"{day}.3.24" for day in range(1, 9)], "n": [*range(8)]}
    with pytest.raises(netc.Fault, match=message):
        series(tmp_path, columns, f"  series = ({time})\n  split = ordered(train = 1.0)")


def test_an_ordered_split_of_rows_divides_each_series(tmp_path: Path) -> None:
    """Without windows too: the rows of each series that are latest in time are tested, in whichever order they are."""
    draw = np.random.default_rng(5)
    order = draw.permutation(60)
    columns = {"store": [("a", "b", "c")[i % 3] for i in order], "n": [int(i // 3) for i in order]}
    setting = 'ordered(train = 0.7, test = 0.3)\n  series = by("store", time = "n", every = 1)'
    parts = parts_of(tmp_path, columns, setting)
    for store in "abc":
        times = {
            part: [columns["n"][row] for row in rows if columns["store"][row] == store] for part, rows in parts.items()
        }
        assert (sorted(times["train"]), sorted(times["test"])) == (list(range(14)), list(range(14, 20)))


def test_a_split_by_groups_cuts_each_group_alone(tmp_path: Path) -> None:
    columns = {"v": list(range(60)), "store": ["s1", "s2", "s3"] * 20}
    for way in ('by("store", train = 0.67, test = 0.33)', 'hash("store", train = 0.67, test = 0.33, seed = 2)'):
        parts = series(tmp_path, columns, f"  split = {way}")
        cut = [window for part in parts.values() for window in part]
        assert len(cut) == 3 * 16
        assert all(np.array_equal(np.diff(window), [3.0] * 4) for window in cut)


def test_rows_that_are_taken_out_end_a_window(tmp_path: Path) -> None:
    columns = {"v": [*range(10), "", *range(11, 30)], "part": ["train"] * 12 + ["test"] * 6 + ["train"] * 12}
    dropped = series(tmp_path, columns, "  split = ordered(train = 1.0)", "impute(drop) -> ")
    named = series(tmp_path, {**columns, "v": list(range(30))}, '  split = column("part")')
    assert dropped["train"] == [[i, i + 1, i + 2, i + 3, i + 4] for i in (*range(6), *range(11, 26))]
    assert named["train"] == [[i, i + 1, i + 2, i + 3, i + 4] for i in (*range(8), *range(18, 26))]
    assert named["test"] == [[12, 13, 14, 15, 16], [13, 14, 15, 16, 17]]


def test_new_data_is_cut_as_the_training_data_is(tmp_path: Path) -> None:
    columns = {"v": list(range(40)), "store": ["s1", "s2"] * 20}
    series(tmp_path, columns, '  series = by("store")\n  split = ordered(train = 1.0)')
    model = netc.load(tmp_path / "m.net")
    (tmp_path / "new.csv").write_text("store,v\nq,1\nr,11\nr,12\nr,13\nr,14\nr,15\nq,2\nq,3\nq,4\n", encoding="utf-8")
    fitted = Fitted(tmp_path, parse_data(model), {"x": [{}], "y": [{}, {}]}, model.declared)
    table = read_table(fitted, SourceSpec("csv", "new.csv", NOWHERE), "new.csv", ["x"], lambda column: False)
    data = read_fields(fitted, table, {"x": model.inputs["x"]})
    assert np.asarray(data.fields["x"]).tolist() == [[1, 2, 3, 4], [11, 12, 13, 14], [12, 13, 14, 15]]


def test_a_fold_is_chosen_by_the_command(tmp_path: Path) -> None:
    """The run remembers it, and a file may name it by a constant."""
    parts_of(tmp_path, {"y": list("ab") * 25}, "folds(5)")
    for fold in (None, 2):
        done = command(
            "train",
            "m.net",
            "--epochs",
            "1",
            "--out",
            f"run{fold}",
            *(["--fold", fold] * (fold is not None)),
            cwd=tmp_path,
        )
        assert "40 train, 10 valid samples" in done.stdout, done.stderr
    first, second = (netc.open(tmp_path / f"run{fold}").load_data().rows["valid"] for fold in (None, 2))
    assert not set(first) & set(second)
    text = (tmp_path / "m.net").read_text(encoding="utf-8").replace("folds(5)", "folds(5, fold = k)")
    (tmp_path / "m.net").write_text(f"let k = 2\n{text}", encoding="utf-8")
    model = netc.load(tmp_path / "m.net", k=1)
    assert np.array_equal(load(model, parse_data(model)).rows["valid"], first)
    resumed = command("train", "m.net", "--resume", "run2", "--epochs", "2", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert np.array_equal(netc.open(tmp_path / "run2").load_data().rows["valid"], second)
    for arguments, message in (
        (("m.net", "--fold", "6"), "error[E0602]: there is no fold 6"),
        (("--resume", "run2", "--fold", "1"), "a run keeps its fold"),
    ):
        refused = command("train", *arguments, cwd=tmp_path)
        assert refused.returncode != 0
        assert message in refused.stderr
    (tmp_path / "m.net").write_text(text.replace("folds(5, fold = k)", "(train = 1)"), encoding="utf-8")
    assert "the file has no split into folds" in command("train", "m.net", "--fold", "1", cwd=tmp_path).stderr


@pytest.mark.parametrize(("split", "is_refused"), [("(train = 0.8, test = 0.2)", True), ("(train = 1)", False)])
def test_a_run_of_an_earlier_version_is_not_divided_anew(split: str, is_refused: bool, tmp_path: Path) -> None:
    parts_of(tmp_path, {"y": list("ab") * 25}, split)
    command("train", "m.net", "--epochs", "1", "--out", "run", cwd=tmp_path)
    forge(tmp_path / "run", division=None)
    for arguments in (
        ("eval", "run", "--part", "train"),
        ("report", "run"),
        ("train", "--resume", "run", "--epochs", "2"),
    ):
        done = command(*arguments, cwd=tmp_path)
        assert ("error[E0842]" in done.stderr) == is_refused, done.stderr
        assert done.returncode == is_refused
    assert command("predict", "run", "t.csv", cwd=tmp_path).returncode == 0


def test_no_rows_are_divided_without_a_warning() -> None:
    with np.errstate(all="raise"):
        assert not len(dealt(np.empty(0, np.int64), {"train": 0.8, "test": 0.2}, None, 0))
