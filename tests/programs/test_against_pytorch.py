"""Generated programs against PyTorch: apart from the other oracles, because CI installs it last."""

import pytest

from tests.programs.campaign import PYTORCH
from tests.programs.test_programs import failures, seeds

PROGRAMS = 24


def test_programs_against_pytorch(request: pytest.FixtureRequest) -> None:
    """Losses and gradients of those programs that PyTorch has the operations for."""
    pytest.importorskip("torch")
    wrong: list[str] = []
    for seed in seeds(request.config, PROGRAMS):
        wrong += failures(seed, "default", (PYTORCH,))
    assert not wrong, "\n\n".join(wrong)
