"""The functions of random numbers (operations/random.py): a hash of integers, and numbers in [0, 1)."""

from netc.compiler.targets.cpu.math.terms import Term


def scramble(x: Term, y: Term) -> Term:
    """A hash of two integers."""
    return _mix(_mix(x ^ y) + y)


def _mix(x: Term) -> Term:
    """The hash lowbias32."""
    for shift, multiplier in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ x.unsigned_shift(shift)) * multiplier
    return x ^ x.unsigned_shift(16)


def unit_f32(x: Term) -> Term:
    """The upper 24 bits of an integer as a number in [0, 1)."""
    return x.unsigned_shift(8).to("f32") * 2.0**-24


def unit_f64(x: Term) -> Term:
    """The upper 24 bits of an integer as a number in [0, 1)."""
    return x.unsigned_shift(8).to("f64") * 2.0**-24
