"""From the text of a kernel, a small part of Python, to LLVM IR; its built-ins; and the kernels of users as text."""
