"""The optimizer Lion (Chen et al. 2023, algorithm 2): the sign of a running mean of gradients, with one moment.

optimizer = lion(lr = 0.0003)
"""

from netc.extend import OptimizerRule, Parameter, Value, apply


def _step(p: Parameter) -> Value:
    """u = sign(beta1 * m + (1 - beta1) * g); w = w - lr * (u + decay * w); m = beta2 * m + (1 - beta2) * g."""
    beta1, beta2 = p.numbers["beta1"], p.numbers["beta2"]
    m = p.state("moment")
    u = apply("sign", m * beta1 + p.gradient * (1 - beta1))
    p.keep("moment", m * beta2 + p.gradient * (1 - beta2))
    return p.value - p.scaled(u + p.value * p.decay if p.decay else u)


lion = OptimizerRule(
    "lion",
    "The sign of a running mean of gradients (Chen et al. 2023).",
    {"lr": 1e-4, "beta1": 0.9, "beta2": 0.99, "decay": 0.0},
    _step,
)
