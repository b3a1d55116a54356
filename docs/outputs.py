"""Writes the real output of commands into pages of the docs: `python docs/outputs.py course/01-neuron [...]`.

A fence ```` ```{.text .output} ```` right after a fence of commands holds what these commands print. All commands of a
page run in order, in a copy of `examples/`; `--short` leaves out those that take long. Classes of the fence bound long
outputs: with `.first-4` and `.last-3` a line `...` stands for what lies between the first four and the last three
lines. `tests/test_course.py` runs the same commands and compares; with `.varies` only the first word, because the
rest depends on the machine.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FENCES = re.compile(r"^```(sh|\{\.sh[^}]*\})\n(.*?)^```\n(\n```\{(\.text \.output[^}]*)\}\n(.*?)^```\n)?", re.M | re.S)
# A time, a rate or a size in memory: these differ with the machine and its number of cores. Then any other number.
TIME = re.compile(r"(?<![\w.])[\d,.]+ ?(?:us|ms|s|min|h|GFLOP/s|MB/s|GB/s|samples/s|KiB|MiB|GiB|kB|KB|MB|GB)\b")
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?(?![\w])")
RULES = re.compile(r"[-=─━╌┄]{3,}")


@dataclass(frozen=True, slots=True)
class Fence:
    """Commands of a page and the output that the page shows of them; `options` is None if it shows none."""

    commands: list[str]
    is_long: bool  # takes more than half a minute: `{.sh .long}`
    warns: bool  # a warning is the subject of the page: `{.sh .warns}`
    fails: bool  # the message of an error is the subject, and is shown: `{.sh .fails}`
    options: str | None
    output: str


def pages_with_outputs() -> dict[str, Path]:
    """The pages that show outputs, by their name without suffix, relative to `docs/`: `course/01-neuron`."""
    pages = {path.relative_to(DOCS).with_suffix("").as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
    return {name: path for name, path in pages.items() if "{.text .output" in path.read_text(encoding="utf-8")}


def fences_of(text: str) -> list[Fence]:
    """The fences with commands of a page, in order."""
    fences = []
    for kind, body, _, options, output in FENCES.findall(text):
        commands = [line for line in body.splitlines() if line.startswith("netc ")]
        fences.append(Fence(commands, ".long" in kind, ".warns" in kind, ".fails" in kind, options or None, output))
    return fences


def copy_examples(folder: Path) -> None:
    """Makes `folder/examples`, where commands may write; the data is linked."""
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("runs", "data"))
    (folder / "examples" / "data").symlink_to(ROOT / "examples" / "data")


def shortened(output: str, options: str) -> str:
    """The first and the last lines of an output, as many as the classes of its fence say."""
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    bounds = {name: int(count) for name, count in re.findall(r"\.(first|last)-(\d+)", options)}
    first, last = bounds.get("first", 0), bounds.get("last", 0)
    if bounds and len(lines) > first + last + 1:
        lines = [*lines[:first], "...", *lines[len(lines) - last :]]
    return "\n".join(lines) + "\n"


def compared(output: str, options: str) -> str:
    """The part of a shortened output that is the same on every machine."""
    return output.split(maxsplit=1)[0] if ".varies" in options else output


def differences(shown: str, printed: str) -> list[str]:
    """Lines that differ in their words, or in a number by more than a quarter and 0.03; times are not compared.

    Numbers may differ a little, because the last bits of a training depend on the CPU's instructions.
    """
    pairs = zip(shown.splitlines(), printed.splitlines(), strict=False)
    wrong = [f"- {old}\n+ {new}" for old, new in pairs if not _alike(old, new)]
    if len(shown.splitlines()) != len(printed.splitlines()):
        wrong.append(f"{len(shown.splitlines())} lines on the page, {len(printed.splitlines())} printed:\n{printed}")
    return wrong


def _alike(old: str, new: str) -> bool:
    (old_words, old_numbers), (new_words, new_numbers) = _words(old), _words(new)
    return old_words == new_words and all(
        abs(a - b) <= max(0.03, 0.25 * max(abs(a), abs(b))) for a, b in zip(old_numbers, new_numbers, strict=True)
    )


def _words(line: str) -> tuple[list[str], list[float]]:
    line = RULES.sub("---", TIME.sub("TIME", line))
    numbers = [float(number.replace(",", "")) for number in NUMBER.findall(line)]
    return NUMBER.sub("#", line).split(), numbers


def updated(text: str, folder: Path, is_short: bool) -> str:
    """A page with the outputs that its commands print now, in a folder with the examples.

    `is_short` leaves commands that take long, and their outputs, as they are.
    """
    parts, end = [], 0
    for match, fence in zip(FENCES.finditer(text), fences_of(text), strict=True):
        if is_short and fence.is_long:
            continue
        printed = "".join(_printed(line, folder, fence.fails) for line in fence.commands)
        if fence.options is not None:
            parts += [text[end : match.start(5)], shortened(printed, fence.options)]
            end = match.end(5)
    return "".join([*parts, text[end:]])


def _printed(line: str, folder: Path, fails: bool) -> str:
    program = [str(Path(sys.executable).with_name("netc")), *shlex.split(line)[1:]]
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != fails:
        sys.exit(f"{line}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout + done.stderr if fails else done.stdout


def main() -> None:
    names = [argument for argument in sys.argv[1:] if argument != "--short"]
    for name in names or pages_with_outputs():
        path = DOCS / f"{name}.md"
        with tempfile.TemporaryDirectory() as folder:
            copy_examples(Path(folder))
            text = updated(path.read_text(encoding="utf-8"), Path(folder), "--short" in sys.argv)
        path.write_text(text, encoding="utf-8")
        print(path, flush=True)


if __name__ == "__main__":
    main()
