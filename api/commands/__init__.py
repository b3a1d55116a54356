"""The command line: one file for each command; main.py is their table. Faults become messages and exit status 1."""
