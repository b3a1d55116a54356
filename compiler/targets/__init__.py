"""What runs a plan: machine code for CPUs (cpu/), an emulator that checks every access, and descriptions of targets."""
