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
