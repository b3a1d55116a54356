"""NumPy's decompositions of a matrix, computed by one thread.

NumPy's library shares each of their many small steps out among threads, which wait for each other. If other processes
keep a core busy, a decomposition takes a hundred times as long (1536 x 384 by 2 threads: seconds in place of 0.1 s).
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def qr(matrix: Array) -> tuple[Array, Array]:
    """Returns the factors q [m, k] with orthonormal columns and r [k, n], upper triangular, of a matrix [m, n] = q r,
    where k is the smaller of m and n."""
    from threadpoolctl import threadpool_limits  # few models need it

    with threadpool_limits(1, user_api="blas"):
        q, r = np.linalg.qr(matrix)
    return q, r


def svd(matrix: Array) -> tuple[Array, Array, Array]:
    """Returns u [m, k], the singular values [k], largest first, and v [k, n] of a matrix [m, n] = u diag(values) v."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        u, values, v = np.linalg.svd(matrix, full_matrices=False)
    return u, values, v
