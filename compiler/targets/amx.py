"""Permission to use AMX's tile registers, which Linux gives to a process that asks for it.

Their 8 KiB would make every thread's saved state larger, so the kernel of the system grants them only on request (the
Linux kernel's Documentation/arch/x86/xstate.rst). Threads and forked processes inherit the permission.
"""

import ctypes
import os
import sys
from functools import cache

_ARCH_PRCTL = 158  # the system call, on x86-64
_REQUEST, _XTILEDATA = 0x1023, 18  # ARCH_REQ_XCOMP_PERM, and the part of a thread's state that holds tiles


@cache
def is_permitted() -> bool:
    """Returns whether this process may use tile registers, and asks for the permission the first time.

    It is refused by systems before Linux 5.16, by some sandboxes, and if a thread's stack for signals is too small.
    """
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        return False
    try:
        call = ctypes.CDLL(None).syscall
    except (OSError, AttributeError):
        return False
    call.restype, call.argtypes = ctypes.c_long, [ctypes.c_long] * 3
    return bool(call(_ARCH_PRCTL, _REQUEST, _XTILEDATA) == 0)
