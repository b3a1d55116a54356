"""nanoGPT in the setting that its README gives for a CPU: 4 layers of 4 heads, 128 wide, a context of 64 letters.

Small ones of the same kind with long contexts are the series "attention" and "attention memory".

As in karpathy/nanoGPT: learned positions, no bias in any layer, the exact GELU, and the table of the letters is also
the last layer. Its dropout is 0 in this setting. Trained with Adam, as all models here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.model import Fields, Model

LETTERS, WIDTH, HEADS, _LAYERS = 65, 128, 4, 4
LENGTHS = (512, 1024, 2048)  # of the series "attention"
_LETTERS_OF_BATCH = 2048  # in that series
_GROWING = (1024, 2048, 4096, 8192)  # lengths of the series "attention memory"

_BLOCKS = """block linear(x: float[t, n], units, std) {
  param W: float[n, units] = normal(std)
  return x @ W
}

block scaled_norm(x: float[t, n]) {
  param scale: float[n] = ones
  m = mean(x, over = -1) -> unsqueeze
  v = variance(x, over = -1) -> unsqueeze
  return (x - m) * rsqrt(v + 0.00001) * scale
}

block transformer(x: float[t, n], std) {
  joint = x -> scaled_norm -> linear(3 * n, 0.02)
  q, k, v = split(joint, 3)
  h = x + (attention(q, k, v, HEADS, causal = CAUSAL) -> linear(n, std))
  return h + (h -> scaled_norm -> linear(4 * n, 0.02) -> gelu -> linear(n, std))
}

"""


@dataclass(frozen=True)
class Gpt:
    """A GPT of these sizes. With `causal`, a letter sees only itself and those before it."""

    layers: int
    heads: int
    width: int
    context: int
    causal: bool = True

    @property
    def blocks(self) -> tuple[str, ...]:
        """The paths of the layers in netc."""
        return tuple(f"h.transformer{f'_{i}' if i > 1 else ''}" for i in range(1, self.layers + 1))

    def net(self, inputs: str, positions: str, ends: str) -> str:
        """The text of the model, from its inputs, its learned positions, and what is computed of its logits `z`."""
        blocks = _BLOCKS.replace("HEADS", str(self.heads)).replace("CAUSAL", str(self.causal).lower())
        layers = f" -> transformer({0.02 / (2 * self.layers) ** 0.5:.6f})" * self.layers
        return f"""{blocks}model {{
{inputs}
  param letters: float[{LETTERS}, {self.width}] = normal(0.02)
  h = (letters[x] + {positions}){layers} -> scaled_norm
  z = h @ transpose(letters)
  {ends}
}}
"""

    def data(self, count: int) -> Fields:
        """Samples of letters, and of each the next one."""
        letters = np.random.default_rng(2).integers(0, LETTERS, (count, self.context + 1)).astype(np.int32)
        return {"x": np.ascontiguousarray(letters[:, :-1]), "y": np.ascontiguousarray(letters[:, 1:])}

    def model(self, name: str, batch: int, series: str = "") -> Model:
        """The model that all contenders train."""
        mask = "" if self.causal else ", no mask"
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        return Model(
            name,
            f"{layers} of {self.heads} heads, {self.width} wide, context {self.context}{mask}",
            batch,
            self.net(
                f"  input x: class({LETTERS})[{self.context}]\n  target y: class({LETTERS})[{self.context}]\n"
                f"  param places: float[{self.context}, {self.width}] = normal(0.02)",
                "places",
                "loss cross_entropy(z, y)",
            ),
            self.data,
            lambda layers: _in_torch(self, layers),
            lambda layers, fields: _in_jax(self, layers, fields),
            series=series,
        )


def _in_torch(gpt: Gpt, layers: Any) -> Any:
    from torch import nn

    class Transformer(nn.Module):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.norm, self.norm_2 = (
                layers.layernorm(f"{path}.joint.scaled_norm"),
                layers.layernorm(f"{path}.scaled_norm"),
            )
            self.joint, self.out = layers.linear(f"{path}.joint.linear"), layers.linear(f"{path}.h.linear")
            self.wide, self.narrow = layers.linear(f"{path}.linear"), layers.linear(f"{path}.linear_2")

        def forward(self, x: Any) -> Any:
            heads = (*x.shape[:2], gpt.heads, gpt.width // gpt.heads)
            q, k, v = (part.view(heads).transpose(1, 2) for part in self.joint(self.norm(x)).split(gpt.width, dim=2))
            seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=gpt.causal)
            x = x + self.out(seen.transpose(1, 2).reshape(x.shape))
            return x + self.narrow(nn.functional.gelu(self.wide(self.norm_2(x))))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.letters, self.positions = layers.parameter("letters"), layers.parameter("places")
            self.blocks = nn.Sequential(*map(Transformer, gpt.blocks))
            self.norm = layers.layernorm("h.scaled_norm")

        def forward(self, x: Any) -> Any:
            h = nn.functional.embedding(x, self.letters) + self.positions
            return nn.functional.linear(self.norm(self.blocks(h)), self.letters)

    return GPT()


def _in_jax(gpt: Gpt, layers: Any, fields: Any) -> Any:
    import jax
    from jax import numpy as jnp

    letters = layers.parameters["letters"]
    h = letters[fields["x"]] + layers.parameters["places"]
    for path in gpt.blocks:
        joint = layers.dense(f"{path}.joint.linear", layers.layernorm(f"{path}.joint.scaled_norm", h))
        q, k, v = (part.reshape(*h.shape[:2], gpt.heads, -1) for part in jnp.split(joint, 3, axis=-1))
        seen = jax.nn.dot_product_attention(q, k, v, is_causal=gpt.causal)
        h = h + layers.dense(f"{path}.h.linear", seen.reshape(h.shape))
        wide = layers.dense(f"{path}.linear", layers.layernorm(f"{path}.scaled_norm", h))
        h = h + layers.dense(f"{path}.linear_2", jax.nn.gelu(wide, approximate=False))
    return layers.layernorm("h.scaled_norm", h) @ letters.T


NANO = Gpt(_LAYERS, HEADS, WIDTH, 64)
MODELS = (
    NANO.model("nanoGPT", 12),
    *(
        Gpt(1, WIDTH // columns, WIDTH, length, causal).model(
            f"attention {length} {columns}{'' if causal else ' full'}", _LETTERS_OF_BATCH // length, "attention"
        )
        for columns in (32, 64)
        for causal in (True, False)
        for length in LENGTHS
    ),
    *(Gpt(1, HEADS, WIDTH, length).model(f"attention memory {length}", 1, "attention memory") for length in _GROWING),
)
