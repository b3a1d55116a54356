"""What kernels in vectors and the step's function are written with: functions, loops and vectors as LLVM IR."""
