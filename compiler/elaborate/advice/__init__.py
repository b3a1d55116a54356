"""Checks of an elaborated model, and warnings about models that run but are almost surely wrong."""
