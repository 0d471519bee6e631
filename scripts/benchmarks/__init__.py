"""The benchmarks of ``scripts/bench.py``: one module per speed claim, each against its baseline."""
