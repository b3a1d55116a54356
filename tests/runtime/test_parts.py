"""Parts of a trained model: encoder and decoder one after the other give the results of the whole model."""

from pathlib import Path

import numpy as np
import pytest
from support import command

import netc

IMAGES = """data {
  source = csv("DATA")
  x = columns(all)
  split = (train = 1.0)
}
block encoder(x: float[n], size) {
  return x -> dense(5) -> tanh -> dense(size)
}
model {
  input x: float[8]
  layer decoder = dense(8)
  mean_of_code = x -> encoder(3)
  drawn = mean_of_code + normal_like(mean_of_code)
  planes = reshape(decoder(drawn if training else mean_of_code), 2, 2, 2)
  again = sigmoid(planes) -> flatten
  output code = mean_of_code
  output again = again
  output odd = mean(square(again - x))
  loss mse(again, x)
}
train {
  epochs = 1
}
"""

SEQUENCES = """model {
  input x: float[time, 4]
  hs = x -> gru(6)
  slow = hs[1:]
  code = hs -> dense(2)
  output code = code
  output again = code -> gru(4)
  output end = last(code) -> dense(3)
  output slow = slow -> dense(2)
}
"""


def test_parts_give_the_results_of_the_whole_model() -> None:
    rng = np.random.default_rng(3)
    model = netc.parse(IMAGES.replace("DATA", "unread.csv"))
    program = netc.compile(model)
    x = rng.random((7, 8), np.float32)
    outputs = program.predict({"x": x})
    code = program.predict({"x": x}, outputs=["code"])
    assert code.keys() == {"code"}
    np.testing.assert_array_equal(code["code"], outputs["code"])
    decoded = program.predict({"code": outputs["code"]})
    assert decoded.keys() == {"again"}
    np.testing.assert_array_equal(decoded["again"], outputs["again"])
    middle = program.predict({"x": x}, outputs=["planes", "again"])
    assert middle["planes"].shape == (7, 2, 2, 2)
    again = program.predict({"planes": middle["planes"]}, outputs=["again"])
    np.testing.assert_array_equal(again["again"], outputs["again"])


def test_wrong_inputs_and_outputs_are_messages() -> None:
    program = netc.compile(netc.parse(IMAGES.replace("DATA", "unread.csv")))
    code = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="the model has no value `codes`: it has code, again, odd, mean_of_code, "):
        program.predict({"x": np.zeros((2, 8), np.float32)}, outputs=["codes"])
    with pytest.raises(ValueError, match="nothing that is wanted is computed from `again`"):
        program.predict({"again": np.zeros((2, 8), np.float32), "x": np.zeros((2, 8), np.float32)}, outputs=["code"])
    with pytest.raises(ValueError, match=r"`code` has the shape \[2, 4\], the model takes \[samples, 3\]"):
        program.predict({"code": np.zeros((2, 4), np.float32)})
    with pytest.raises(ValueError, match="the field `x` is missing"):
        program.predict({}, outputs=["mean_of_code"])
    with pytest.raises(ValueError, match="the model has no field `other`"):
        program.predict({"other": code}, outputs=["mean_of_code"])
    with pytest.raises(ValueError, match=r"(?s)the model has no field `codes`.*did you mean `code`"):
        program.predict({"codes": code}, outputs=["mean_of_code"])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_parts_of_sequences(backend: str) -> None:
    rng = np.random.default_rng(3)
    program = netc.compile(netc.parse(SEQUENCES), backend=backend, batch=3)
    x = [rng.standard_normal((n, 4)).astype(np.float32) for n in (3, 6, 2, 5, 4)]
    outputs = program.predict({"x": x})
    decoded = program.predict({"code": outputs["code"]})
    assert decoded.keys() == {"again", "end"}
    for name, value in decoded.items():
        for part, other in zip(value, outputs[name], strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-6, atol=1e-7)


def test_encoder_and_decoder_as_commands(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = "\n".join(",".join(f"{v:.4f}" for v in row) for row in rng.random((30, 8)))
    (tmp_path / "data.csv").write_text(f"{','.join('abcdefgh')}\n{rows}\n", encoding="utf-8")
    (tmp_path / "m.net").write_text(IMAGES.replace("DATA", "data.csv"), encoding="utf-8")
    assert command("train", "m.net", cwd=tmp_path).returncode == 0
    result = command("predict", "runs/m", "data.csv", "--output", "code", "-o", "codes.csv", cwd=tmp_path)
    assert result.stdout == "30 rows -> codes.csv\n"
    assert (tmp_path / "codes.csv").read_text(encoding="utf-8").splitlines()[0] == "code[0],code[1],code[2]"
    decoded = command("predict", "runs/m", "codes.csv", "--given", "code", cwd=tmp_path).stdout
    assert decoded == command("predict", "runs/m", "data.csv", "--output", "again", cwd=tmp_path).stdout
    assert len(decoded.splitlines()) == 31
    wrong = command("predict", "runs/m", "codes.csv", "--given", "kode", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "the model has no value `kode`" in " ".join(wrong.stderr.replace("│", " ").split())
    wrong = command("predict", "runs/m", "data.csv", "--given", "code", cwd=tmp_path)
    assert wrong.returncode == 1
    assert "has no column `code`" in wrong.stderr


@pytest.mark.parametrize("backend", ["cpu", "reference", "plan"])
def test_an_output_that_reads_no_field(backend: str) -> None:
    """It is the same for every sample."""
    model = netc.parse(
        "model {\n  input x: float[2]\n  param w: float[2] = ones\n  h = x if training else x\n"
        "  output z = (x + w if training else w + 0 * ones(2))\n}\n"
    )
    predicted = netc.compile(model, backend=backend).predict({"x": np.zeros((3, 2), np.float32)})["z"]
    np.testing.assert_array_equal(np.broadcast_to(predicted, (3, 2)), np.ones((3, 2)))
