"""A pass that replaces exp(x) * exp(y) by exp(x + y): one exponential instead of two.

`netc explain M.net --diff simplify --after exponents` shows its effect.
"""

from netc.extend import Graph, Pass, Value, apply, rebuild


def _joined(graph: Graph) -> Graph:
    def rule(copy: Graph, value: Value, operands: list[Value]) -> Value:
        if value.operation == "multiply" and all(operand.operation == "exp" for operand in operands):
            left, right = (operand.operands[0] for operand in operands)
            return apply("exp", left + right)
        return copy.add_copy(value, operands)

    return rebuild(graph, rule)


exponents = Pass(
    "exponents",
    "exp(x) * exp(y) becomes exp(x + y).",
    _joined,
    after="simplify",
    example="""model {
  input x: float[4]
  target y: float
  h = x -> dense(3)
  z = sum(exp(h) * exp(0.5 * h))
  loss mse(z, y)
}
""",
)
