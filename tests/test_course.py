"""The course is true and complete: outputs in the pages are what commands print, and each chapter has its parts."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import outputs
import pytest
from support import ROOT, command

COURSE = ROOT / "docs" / "course"
CHAPTERS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(COURSE.glob("*.md"))}
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


PAGES = outputs.pages_with_outputs()
# Pages that run without `--long`: short ones, in which every command and every kind of fence occurs.
SHORT = [
    *("check", "diagnose", "eval", "explain", "export", "new", "ops", "predict", "profile", "report", "runs"),
    *("ensemble", "studies", "study", "train"),
]
CHOSEN = [*(f"commands/{name}" for name in SHORT), "course/07-descent", "course/09-back-propagation", "index"]


def test_every_command_and_kind_of_fence_is_tested_without_long() -> None:
    def kinds(names: Iterable[str]) -> set[object]:
        fences = [
            fence for name in names for fence in outputs.fences_of(PAGES[name].read_text("utf-8")) if not fence.is_long
        ]
        options = [re.sub(r"\d+", "", fence.options or "").split() for fence in fences]
        commands = {line.split()[1] for fence in fences for line in fence.commands}
        return {
            *commands,
            *((fence.warns, fence.fails) for fence in fences),
            *(word for words in options for word in words),
        }

    assert kinds(CHOSEN) == kinds(PAGES)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.long] * (page not in CHOSEN)) for page in PAGES]
)
def test_commands_print_what_the_page_shows(page: str, tmp_path: Path, is_long: bool) -> None:
    """In order and in one folder, as a reader would run them. Warnings are allowed where they are the subject."""
    outputs.copy_examples(tmp_path)
    for fence in outputs.fences_of(PAGES[page].read_text(encoding="utf-8")):
        if fence.is_long and not is_long:
            continue
        printed = ""
        for line in fence.commands:
            done = command(*shlex.split(line)[1:], cwd=tmp_path)
            assert done.returncode == fence.fails, f"{line}\n{done.stderr}"
            assert fence.warns or "warning" not in done.stderr, f"{line}\n{done.stderr}"
            printed += done.stdout + done.stderr if fence.fails else done.stdout
        if fence.options is not None:
            shown = outputs.compared(fence.output, fence.options)
            printed = outputs.compared(outputs.shortened(printed, fence.options), fence.options)
            wrong = outputs.differences(shown, printed)
            assert not wrong, "\n".join([*fence.commands, *wrong])


@pytest.mark.parametrize("chapter", sorted(CHAPTERS))
def test_each_chapter_has_its_parts(chapter: str) -> None:
    """A figure, a command with its output, exercises with folded solutions, and sources."""
    text = CHAPTERS[chapter]
    words = len(re.sub(r"<[^>]*>", "", FENCE.sub("", text)).split())
    assert 900 <= words <= 2600, f"{words} words"
    assert re.search(r"^!\[.+\]\(\.\./pictures/\w+\.svg\)$", text, re.MULTILINE), "no figure"
    assert any(fence.options is not None for fence in outputs.fences_of(text)), "no output"
    assert "\n## Exercises\n" in text
    assert "\n## Sources\n" in text
    exercises = text.partition("\n## Exercises\n")[2].partition("\n## Sources\n")[0]
    assert len(re.findall(r"^\*\*\d\.\*\* ", exercises, re.MULTILINE)) >= 3, "fewer than three exercises"
    assert exercises.count("<details") == exercises.count("</details>") >= 3, "an exercise without a solution"


@pytest.mark.parametrize("chapter", sorted(CHAPTERS))
def test_no_line_of_a_chapter_becomes_a_list_by_accident(chapter: str) -> None:
    """In Markdown, a wrapped line that begins with a year and a full stop is an entry of a numbered list."""
    assert not re.findall(r"^ +\d{3,}\..*", FENCE.sub("", CHAPTERS[chapter]), re.MULTILINE)


def test_outputs_are_compared_by_their_words_and_numbers() -> None:
    """Times may differ, numbers a little; other words, other numbers and missing lines are reported."""
    shown = "epoch 3/5  loss 0.521  12,000 samples/s\nsaved to runs/a\n"
    assert not outputs.differences(shown, "epoch 3/5  loss 0.530  9,100 samples/s\nsaved to runs/a\n")
    for printed in (shown.replace("0.521", "0.9"), shown.replace("saved", "wrote"), shown.partition("\n")[0]):
        assert outputs.differences(shown, printed)
    assert outputs.shortened("a\nb\nc\nd\ne\n", ".first-1 .last-2") == "a\n...\nd\ne\n"


def test_the_course_has_commands_and_outputs() -> None:
    fences = [fence for text in CHAPTERS.values() for fence in outputs.fences_of(text)]
    assert sum(len(fence.commands) for fence in fences) >= 40
    assert sum(fence.options is not None for fence in fences) >= 6
