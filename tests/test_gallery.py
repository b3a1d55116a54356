"""The gallery of wrong files: each folder holds case.net and the whole message that netc says of it."""

from pathlib import Path

import pytest

import netc
from netc.compiler.elaborate.elaborator import elaborate
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.runtime.data.dataset import class_counter, load
from netc.runtime.data.spec import parse_data

GALLERY = Path(__file__).parent / "gallery"
CASES = sorted(path.name for path in GALLERY.iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES)
def test_message(case: str, golden) -> None:
    folder = GALLERY / case
    try:
        text = (folder / "case.net").read_text(encoding="utf-8")
        file = parse(Source("case.net", text, folder / "case.net"))
        model = elaborate(file, {}, class_counter(file))
        found = [*model.warnings]
        if model.data is not None:
            found += load(model, parse_data(model)).warnings
        message = "\n\n".join(one.render() for one in found)
    except netc.Fault as fault:
        message = str(fault)
    assert message, "netc finds nothing wrong"
    golden(folder / "expected.txt", message + "\n")


def test_there_are_enough() -> None:
    assert len(CASES) >= 30
