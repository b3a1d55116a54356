"""nanoGPT in the setting that its README gives for a CPU: 4 layers of 4 heads, 128 wide, a context of 64 letters.

As in karpathy/nanoGPT: learned positions, no bias in any layer, the exact GELU, and the table of the letters is also
the last layer. Its dropout is 0 in this setting. Trained with Adam, as all models here.
"""

from typing import Any

import numpy as np

from benchmarks.model import Fields, Model

LETTERS, _CONTEXT, WIDTH, HEADS, _LAYERS = 65, 64, 128, 4, 4

_TRANSFORMER = f"""block linear(x: float[t, n], units, std) {{
  param W: float[n, units] = normal(std)
  return x @ W
}}

block scaled_norm(x: float[t, n]) {{
  param scale: float[n] = ones
  m = mean(x, over = -1) -> unsqueeze
  v = variance(x, over = -1) -> unsqueeze
  return (x - m) * rsqrt(v + 0.00001) * scale
}}

block transformer(x: float[t, n], std) {{
  joint = x -> scaled_norm -> linear(3 * n, 0.02)
  q, k, v = split(joint, 3)
  h = x + (attention(q, k, v, {HEADS}, causal = true) -> linear(n, std))
  return h + (h -> scaled_norm -> linear(4 * n, 0.02) -> gelu -> linear(n, std))
}}

"""


def net(inputs: str, places: str, ends: str) -> str:
    """The text of the model, from its inputs, its learned positions, and what is computed of its logits `z`."""
    return f"""{_TRANSFORMER}model {{
{inputs}
  param letters: float[{LETTERS}, {WIDTH}] = normal(0.02)
  h = (letters[x] + {places}){f" -> transformer({0.02 / (2 * _LAYERS) ** 0.5:.6f})" * _LAYERS} -> scaled_norm
  z = h @ transpose(letters)
  {ends}
}}
"""


_NET = net(
    f"  input x: class({LETTERS})[{_CONTEXT}]\n  target y: class({LETTERS})[{_CONTEXT}]\n"
    f"  param places: float[{_CONTEXT}, {WIDTH}] = normal(0.02)",
    "places",
    "loss cross_entropy(z, y)",
)
BLOCKS = ("h.transformer", "h.transformer_2", "h.transformer_3", "h.transformer_4")


def _data(count: int) -> Fields:
    letters = np.random.default_rng(2).integers(0, LETTERS, (count, _CONTEXT + 1)).astype(np.int32)
    return {"x": np.ascontiguousarray(letters[:, :-1]), "y": np.ascontiguousarray(letters[:, 1:])}


def _in_torch(layers: Any) -> Any:
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
            heads = (*x.shape[:2], HEADS, WIDTH // HEADS)
            q, k, v = (part.view(heads).transpose(1, 2) for part in self.joint(self.norm(x)).split(WIDTH, dim=2))
            seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(seen.transpose(1, 2).reshape(x.shape))
            return x + self.narrow(nn.functional.gelu(self.wide(self.norm_2(x))))

    class GPT(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.letters, self.places = layers.parameter("letters"), layers.parameter("places")
            self.blocks = nn.Sequential(*map(Transformer, BLOCKS))
            self.norm = layers.layernorm("h.scaled_norm")

        def forward(self, x: Any) -> Any:
            h = nn.functional.embedding(x, self.letters) + self.places
            return nn.functional.linear(self.norm(self.blocks(h)), self.letters)

    return GPT()


def _in_jax(layers: Any, fields: Any) -> Any:
    import jax
    from jax import numpy as jnp

    letters = layers.parameters["letters"]
    h = letters[fields["x"]] + layers.parameters["places"]
    for path in BLOCKS:
        joint = layers.dense(f"{path}.joint.linear", layers.layernorm(f"{path}.joint.scaled_norm", h))
        q, k, v = (part.reshape(*h.shape[:2], HEADS, -1) for part in jnp.split(joint, 3, axis=-1))
        seen = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        h = h + layers.dense(f"{path}.h.linear", seen.reshape(h.shape))
        wide = layers.dense(f"{path}.linear", layers.layernorm(f"{path}.scaled_norm", h))
        h = h + layers.dense(f"{path}.linear_2", jax.nn.gelu(wide, approximate=False))
    return layers.layernorm("h.scaled_norm", h) @ letters.T


MODELS = (
    Model(
        "nanoGPT",
        f"{_LAYERS} layers of {HEADS} heads, {WIDTH} wide, context {_CONTEXT}",
        12,
        _NET,
        _data,
        _in_torch,
        _in_jax,
    ),
)
