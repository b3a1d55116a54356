"""Several processes, the ranks of MPI, that train one model together."""
