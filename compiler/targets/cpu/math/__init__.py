"""The functions of scalar expressions (exp, log, tanh, ...) as LLVM instructions. `functions.py` is their table."""
