"""The command line: one file a command. Faults become messages and exit status 1; nothing here computes."""

from netc.commands.main import main

__all__ = ["main"]
