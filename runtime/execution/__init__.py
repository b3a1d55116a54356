"""A graph ready to run: plan, machine code, memory and threads."""
