"""Declared types that differ from the data are the message in place of the shapes that do not fit because of them."""

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.runtime.data import declared_types

TEXT = """data {
  source = npz("t.npz")
  x = field("image")
  y = field("y")
}
model {
  input x: float[1, 8, 8]
  target y: class(2)
  logits = x -> conv(4) -> maxpool(4) -> flatten -> dense(2)
  loss cross_entropy(logits, y)
}
"""


@pytest.mark.parametrize(("most", "code", "words"), [(1 << 20, "E0804", r"float\[8, 8, 1\]"), (100, "E04", "fit")])
def test_data_is_only_read_if_it_is_small(
    most: int, code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declared_types, "_MOST_BYTES", most)
    np.savez(tmp_path / "t.npz", image=np.zeros((40, 8, 8, 1), np.float32), y=np.arange(40) % 2)
    (tmp_path / "m.net").write_text(TEXT, encoding="utf-8")
    with pytest.raises(netc.Fault, match=words) as refusal:
        netc.load(tmp_path / "m.net")
    assert all(diagnostic.code.startswith(code) for diagnostic in refusal.value.diagnostics)
