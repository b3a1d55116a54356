"""The definition keeps its word, and a file may use it."""

import numpy as np
from netc_mish import mish

import netc
from netc.testing import check


def test_mish() -> None:
    check(mish)


def test_a_file_uses_it() -> None:
    text = "model {\n  input x: float[4]\n  output y = mish(x)\n}\n"
    x = np.linspace(-3, 3, 4, dtype=np.float32)[None]
    found = netc.compile(netc.parse(text)).predict({"x": x})["y"]
    np.testing.assert_allclose(found, x * np.tanh(np.log1p(np.exp(x))), rtol=1e-5)
