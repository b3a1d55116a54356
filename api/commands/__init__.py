"""The command line: one file a command, main.py their table. Faults become messages and exit status 1; nothing here computes."""
