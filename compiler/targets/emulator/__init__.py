"""Runs a plan without compiling it: its calls one after another in Python, in any order that the phases allow.

Every access to memory is checked.
"""
