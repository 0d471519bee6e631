"""Make mutants of the code, and find out which of them the tests notice; see ``scripts/mutants.py``."""
