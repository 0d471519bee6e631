"""Mutants of the code, and which of them the tests notice; see ``scripts/mutants.py``."""
