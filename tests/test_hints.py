"""Hints that propose a text: a file that follows them has the message no more."""

import shutil
from pathlib import Path

import pytest
from support import ROOT, warnings_of
from test_gallery import CASES, GALLERY

import netc
from netc.dsl.diagnostics import Diagnostic

# Cases in which another fault is left, which the message did not cause: the hint is right, and not enough.
_NOT_ENOUGH = {
    "caret_after_tab": "the loss applies a constant",
    "cascade_broken_name": "a name after it is unknown too",
    "return_in_a_model_of_a_target": "the loss reads a name that the model lacks",
    "data_classes_as_a_vector": "the loss is one of numbers",
    "data_split_of_percents": "the other share is a percentage too",
    "data_target_of_scikit": "the column has an empty cell",
    "typing_call_before_an_output": "the call is unfinished",
    "data_head_unknown": "the column has an empty cell",
    "synonym_module": "another name of the same line is unknown too",
    "data_images_option": "the case has no pictures",
    "data_split_folds_misspelt": "the table is too short",
    "data_unknown_reader": "the column has an empty cell",
    "data_unknown_step": "the column has an empty cell",
    "series_unknown_argument": "`every` is missing",
    "synonym_setting": "the optimizer has a wrong argument too",
    "syntax_unknown_block": "the column has an empty cell",
    "train_loss_scale_unknown": "the loss has a factor already",
    "brace_of_loop_open": "the output is in the loop then",
    "call_lacks_argument": "`units` stands for a number",
    "conv_border_misspelt": "an image has no direction in time",
    "data_classes": "the last layer has three scores too",
    "data_classes_of_float": "the loss is one of numbers",
    "outside_of_data": "the case has no table",
    "outside_of_model_without_braces": "the closing brace is missing too",
    "shape_of_data_before_shapes": "a reshape has the wrong size too",
    "syntax_unclosed_brace": "the model is unfinished",
    "window_none": "the other window has another step",
    "window_two_steps": "the table is too short",
    "window_without_step": "the table is too short",
}


def messages_of(path: Path) -> list[Diagnostic]:
    """The errors or warnings of netc about a file."""
    try:
        return [*warnings_of(path)]
    except netc.Fault as fault:
        return [*fault.diagnostics]


def followed(path: Path, message: Diagnostic) -> str | None:
    """The text of a file that follows the hint of a message; None unless the hint proposes one text for it."""
    text = path.read_bytes().decode()
    if len(message.edits) != 1 or message.edits[0].span.source.name != path.name:
        return None
    (edit,) = message.edits
    return text[: edit.span.start] + edit.text + text[edit.span.end :]


@pytest.mark.parametrize("case", CASES)
def test_a_followed_hint_removes_its_message(case: str, tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "gallery" / case
    shutil.copytree(GALLERY / case, folder)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    original = GALLERY / case / "case.net"
    messages = messages_of(original)
    errors = [message for message in messages if message.is_error]
    for message in messages:
        text = followed(original, message)
        if text is not None:
            (folder / "case.net").write_bytes(text.encode())
            left = messages_of(folder / "case.net")
            remaining = [(other.title, other.primary.span.text) for other in left]
            assert (message.title, message.primary.span.text) not in remaining, (text, remaining)
            if case not in _NOT_ENOUGH:
                assert len([other for other in left if other.is_error]) <= max(len(errors) - 1, 0), (text, remaining)
