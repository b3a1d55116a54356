"""Whether a launcher started this process, as the variables of the environment say that each of them sets."""

import os
from pathlib import Path

import pytest
from support import command

from netc.dsl.diagnostics import Fault
from netc.runtime.distributed import launch
from netc.runtime.distributed.variables import COUNTS, RANKS

# As Slurm 22.05 sets them in a step, on each process
STEP = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_STEP_ID": "0"}
PMIX = {"PMIX_RANK": "3", "PMIX_NAMESPACE": "slurm.pmix.1.0", "PMIX_SERVER_URI41": "pmix-server.20947;tcp4://1:2"}
PMI2 = {"PMI_FD": "11", "PMI_JOBID": "1.0", "PMI_RANK": "3", "PMI_SIZE": "4"}
LAUNCHES = {
    "no launcher": ({}, 1, 0),
    "a job of Slurm without srun": ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}, 1, 0),
    "srun --mpi=none": (STEP, 4, 3),
    "srun --mpi=pmix": ({**STEP, **PMIX}, 4, 3),
    "srun --mpi=pmi2": ({**STEP, **PMI2}, 4, 3),
    "srun of one task": ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, 1, 0),
    "mpiexec of Open MPI": ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMIX_RANK": "1"}, 2, 1),
    "mpiexec of Open MPI in a step": ({**STEP, **PMIX, "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "7"}, 8, 7),
    "mpiexec of MPICH in a step": ({**STEP, "PMI_SIZE": "2", "PMI_RANK": "0"}, 2, 0),
    "MVAPICH": ({"MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "1"}, 2, 1),
    "a variable that is not a number": ({"PMI_SIZE": "many", "PMI_RANK": "0"}, 1, 0),
}


@pytest.mark.parametrize("name", LAUNCHES)
def test_the_number_of_ranks_follows_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment, count, rank = LAUNCHES[name]
    for variable in (*COUNTS, *RANKS):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert (launch.launched_ranks(), launch.launched_rank()) == (count, rank)
    assert any(variable in os.environ for variable in COUNTS) or count == 1


@pytest.mark.parametrize("rank", [0, 3])
def test_a_command_of_one_process_refuses_the_tasks_of_srun(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {**STEP, **PMIX, "SLURM_PROCID": str(rank)}.items():
        monkeypatch.setenv(variable, value)
    done = command("ops", cwd=tmp_path)
    assert ("error[E1013]: `netc ops` runs in one process" in done.stderr) == (rank == 0)
    assert done.stdout == ""


def test_a_library_that_srun_did_not_reach_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """`srun` without PMIx starts processes that Open MPI takes for programs by themselves."""
    mpi = pytest.importorskip("netc.runtime.distributed.mpi", exc_type=(ImportError, RuntimeError))
    for variable, value in STEP.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(mpi.MpiRanks, "of_world", lambda: type("Alone", (), {"count": 1}))
    with pytest.raises(Fault) as caught:
        launch.start()
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.title == "the launcher started 4 ranks"
    assert diagnostic.hint == "use the mpiexec that was installed with it, or srun --mpi=pmix"
