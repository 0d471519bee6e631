"""What ``scripts/bench.py`` measures: one module per speed claim, each beside the baseline it is compared with."""
