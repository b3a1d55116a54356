"""The function of a step: it calls the kernels in their order, for each worker's share, with its context."""
