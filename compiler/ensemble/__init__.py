"""Ensembles: one model of several, whose outputs are the means of theirs."""
