"""The gallery of wrong files: each folder holds case.net and the whole message that netc says of it."""

from pathlib import Path

import pytest

import netc
from netc.dsl.source import Source
from netc.runtime.data.dataset import load, parse_data

GALLERY = Path(__file__).parent / "gallery"
CASES = sorted(path.name for path in GALLERY.iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES)
def test_message(case: str, golden) -> None:
    folder = GALLERY / case
    try:
        text = (folder / "case.net").read_text(encoding="utf-8")
        from netc.compiler.elaborate.elaborator import elaborate
        from netc.dsl.parser import parse

        model = elaborate(parse(Source("case.net", text, folder / "case.net")))
        message = "\n\n".join(one.render() for one in model.warnings)
        if model.data is not None:
            load(model, parse_data(model))
    except netc.Fault as found:
        message = str(found)
    assert message, "netc finds nothing wrong"
    golden(folder / "expected.txt", message + "\n")


def test_there_are_enough() -> None:
    assert len(CASES) >= 30
