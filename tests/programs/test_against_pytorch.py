"""Generated programs, compared with PyTorch. A separate file, because CI installs PyTorch last."""

import pytest

from tests.programs.campaign import PYTORCH
from tests.programs.test_programs import failures, seeds

PROGRAMS = 24


def test_programs_agree_with_pytorch(request: pytest.FixtureRequest) -> None:
    """Losses and gradients of the programs whose operations PyTorch has."""
    pytest.importorskip("torch")
    wrong: list[str] = []
    for seed in seeds(request.config, PROGRAMS):
        wrong += failures(seed, "default", (PYTORCH,))
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_of_the_evaluator_has_second_derivatives(is_causal: bool) -> None:
    """A loss may contain `grad` of attention."""
    torch = pytest.importorskip("torch")
    from tests.programs.torch_functions import attention

    operands = [torch.randn(steps, 4, dtype=torch.float64, requires_grad=True) for steps in (3, 5, 5)]
    assert torch.autograd.gradgradcheck(lambda *parts: attention(*parts, heads=2, causal=is_causal), operands)
