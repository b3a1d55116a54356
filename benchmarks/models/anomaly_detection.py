"""MLPerf Tiny's anomaly detection: a deep autoencoder over spectrograms of machine sounds.

From mlcommons/tiny, benchmark/training/anomaly_detection: each layer but the last has batch normalisation and ReLU.
"""

from typing import Any

from benchmarks.model import Model, numbered, unlabelled

_HIDDEN = (128, 128, 128, 128, 8, 128, 128, 128, 128)
_DENSE = numbered(["dense"] * (len(_HIDDEN) + 1), "z.")
_NORMS = numbered(["batchnorm"] * len(_HIDDEN), "z.")

_NET = f"""model {{
  input x: float[640]
  z = x {" ".join(f"-> dense({width}) -> batchnorm -> relu" for width in _HIDDEN)} -> dense(640)
  loss mse(z, x)
}}
"""


def _in_torch(layers: Any) -> Any:
    from torch import nn

    modules: list[Any] = []
    for dense, norm in zip(_DENSE[:-1], _NORMS, strict=True):
        modules += [layers.linear(dense), layers.batchnorm(norm, is_image=False), nn.ReLU()]
    return nn.Sequential(*modules, layers.linear(_DENSE[-1]))


def _in_jax(layers: Any, fields: Any) -> Any:
    from jax.nn import relu

    x = fields["x"]
    for dense, norm in zip(_DENSE[:-1], _NORMS, strict=True):
        x = relu(layers.batchnorm(norm, layers.dense(dense, x)))
    return layers.dense(_DENSE[-1], x)


MODELS = (
    Model(
        "anomaly detection",
        "640-4x128-8-4x128-640",
        512,
        _NET,
        unlabelled((640,)),
        _in_torch,
        _in_jax,
        "mse",
    ),
)
