"""Decompositions by one thread: the factors, and the number of threads of NumPy's library afterwards."""

import numpy as np
from threadpoolctl import threadpool_info

from netc.runtime.linear_algebra import qr, svd


def test_factors_are_orthonormal_and_multiply_to_the_matrix():
    matrix = np.random.default_rng(1).standard_normal((7, 4))
    q, r = qr(matrix)
    u, values, v = svd(matrix)
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(q @ r, matrix, atol=1e-12)
    np.testing.assert_array_equal(np.tril(r, -1), 0)
    np.testing.assert_allclose(u * values @ v, matrix, atol=1e-12)
    assert (np.diff(values) <= 0).all()


def test_a_decomposition_leaves_the_number_of_threads_as_it_was():
    before = [library["num_threads"] for library in threadpool_info()]
    qr(np.eye(3))
    assert [library["num_threads"] for library in threadpool_info()] == before
