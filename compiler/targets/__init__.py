"""Everything that runs programs: the interface to the runtime (target.py), machine code for CPUs (cpu/), an emulator
that checks every access (emulator/), the interpreter (reference/), and descriptions of machines. A new target is one
more folder."""
