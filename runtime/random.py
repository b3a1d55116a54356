"""Random numbers that depend only on a seed and a purpose: NumPy's counter-based Philox, keyed by a hash of both."""

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from netc.compiler.ir.types import DTYPES
from netc.runtime.linear_algebra import qr

if TYPE_CHECKING:
    from netc.compiler.model import ParameterInfo

Array = np.ndarray[Any, Any]


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """The generator of a purpose. Two purposes never share numbers; no number depends on what was drawn before."""
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def words(count: int, seed: int, *purpose: str | int) -> Array:
    """32-bit words hashed from a purpose: keys of the generator inside kernels (compiler/operations/random.py)."""
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=4 * count).digest()
    return np.frombuffer(digest, np.int32).copy()


def permutation(count: int, seed: int, epoch: int) -> Array:
    """The order of an epoch's samples."""
    return generator(seed, "shuffle", epoch).permutation(count)


def initial(parameter: "ParameterInfo", seed: int) -> Array:
    """A parameter's initial value: drawn in f64 and rounded, so that f32 and f64 start from the same numbers.

    Fan in is the product of all dimensions but the last, fan out the last one (Glorot and Bengio 2010; He et al. 2015).
    """
    shape = parameter.type.shape(1)
    random = generator(seed, "parameter", parameter.name)
    fan_out = shape[-1] if shape else 1
    fan_in = math.prod(shape[:-1]) if len(shape) > 1 else fan_out
    numbers = parameter.numbers
    match parameter.initial:
        case "zeros":
            value = np.zeros(shape)
        case "ones":
            value = np.ones(shape)
        case "constant":
            along_last = np.repeat(numbers, fan_out // len(numbers))
            value = np.broadcast_to(along_last, shape) if shape else along_last[0]
        case "normal":
            value = random.standard_normal(shape) * numbers[0]
        case "uniform":
            value = random.uniform(numbers[0], numbers[1], shape)
        case "glorot_uniform":
            bound = math.sqrt(6 / (fan_in + fan_out))
            value = random.uniform(-bound, bound, shape)
        case "glorot_normal":
            value = random.standard_normal(shape) * math.sqrt(2 / (fan_in + fan_out))
        case "he_uniform":
            bound = math.sqrt(6 / fan_in)
            value = random.uniform(-bound, bound, shape)
        case "he_normal":
            value = random.standard_normal(shape) * math.sqrt(2 / fan_in)
        case "orthogonal":
            flat = random.standard_normal((max(fan_in, fan_out), min(fan_in, fan_out)))
            q, r = qr(flat)
            q = q * np.sign(np.diag(r))
            value = (q if fan_in >= fan_out else q.T).reshape(shape)
        case other:
            raise AssertionError(other)
    return np.asarray(value, DTYPES[parameter.type.dtype].numpy)
