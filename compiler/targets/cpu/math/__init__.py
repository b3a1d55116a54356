"""The functions of scalar expressions (exp, log, tanh, ...) as LLVM instructions. `words.py` is their table."""
