"""The variables of the environment by which launchers tell a process how many were started, and which one it is.

`netc` looks at them before it imports anything, so this file imports nothing. A launcher comes before those that may
have started it: an mpiexec inside of a step of Slurm says what counts.
"""

SLURM_COUNT = "SLURM_STEP_NUM_TASKS"
# Open MPI; MPICH, Intel MPI and srun --mpi=pmi2; MVAPICH; srun of any kind, also with PMIx, which has no such variable
COUNTS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", SLURM_COUNT)
RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
