"""`python -m benchmarks.strangers [NAME ...] [--keep FOLDER]`: each data set from `netc new` to `netc predict` and
`netc report`, without an edit of the file in between, beside scikit-learn."""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.strangers.business import bank_statements, churn, houses, library_loans, shop_orders, time_sheets
from benchmarks.strangers.measurements import energy, medical, sensor_log, survey
from benchmarks.strangers.media import photos, reviews
from benchmarks.strangers.peers import peers, score
from benchmarks.strangers.stranger import Make, Stranger
from netc.commands.terminal import table

MAKERS: dict[str, Make] = {
    make.__name__: make
    for make in (
        shop_orders,
        sensor_log,
        survey,
        medical,
        houses,
        churn,
        photos,
        reviews,
        time_sheets,
        energy,
        bank_statements,
        library_loans,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strangers", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *MAKERS], help="which data sets (default: all)")
    parser.add_argument("--keep", type=Path, help="where the files and runs stay")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        rows = [["data set", "score", "netc", "boosting", "MLP", "seconds", "came to"]]
        for name in arguments.names or MAKERS:
            rows.append(row_of(name, folder / name))
            print("  ".join(rows[-1]), file=sys.stderr, flush=True)
        table(rows)


def row_of(name: str, folder: Path) -> list[str]:
    """The row of a data set in the table: scores on the unlabelled rows, and how far netc came."""
    folder.mkdir(parents=True)
    stranger = MAKERS[name](folder, np.random.default_rng(len(name)))
    begin = time.perf_counter()
    reached, predicted = followed(stranger, folder)
    seconds = time.perf_counter() - begin
    shown = f"{score(stranger, predicted):.3f}" if predicted is not None else "-"
    others = [f"{value:.3f}" for value in peers(stranger).values()]
    return [name, "accuracy" if stranger.is_class else "R2", shown, *others, f"{seconds:.1f}", reached]


def followed(stranger: Stranger, folder: Path) -> tuple[str, list[str] | None]:
    """Runs the commands of a new user. Returns how far they came, and the predictions if they came so far."""
    steps = (
        ("new", "model", "--data", stranger.data, "--target", stranger.target),
        ("train", "model.net", "--out", "run"),
        ("predict", "run", stranger.unlabelled, "-o", "answers.csv"),
        ("report", "run", "-o", "report.html"),
    )
    predicted: list[str] | None = None
    for command, *arguments in steps:
        netc = str(Path(sys.executable).with_name("netc"))
        done = subprocess.run([netc, command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        (folder / f"{command}.txt").write_text(done.stdout + done.stderr)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return f"{command}: {lines[0] if lines else done.returncode}", predicted
        if command == "predict":
            with (folder / "answers.csv").open(encoding="utf-8", newline="") as file:
                answers = list(csv.DictReader(file))
            column = stranger.target if answers and stranger.target in answers[0] else None
            predicted = [row[column] if column else next(iter(row.values())) for row in answers]
    return "report", predicted


if __name__ == "__main__":
    main()
