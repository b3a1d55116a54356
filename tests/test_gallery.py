"""The gallery of wrong files: each folder holds case.net and the whole message that netc says of it."""

from pathlib import Path

import pytest
from support import warnings_of

import netc

GALLERY = Path(__file__).parent / "gallery"
CASES = sorted(path.name for path in GALLERY.iterdir() if path.is_dir())


@pytest.mark.parametrize("case", CASES)
def test_message(case: str, golden) -> None:
    folder = GALLERY / case
    try:
        message = "\n\n".join(warning.render() for warning in warnings_of(folder / "case.net"))
    except netc.Fault as fault:
        message = str(fault)
    assert message, "netc finds nothing wrong"
    golden(folder / "expected.txt", message + "\n")


def test_there_are_enough() -> None:
    assert len(CASES) >= 30
