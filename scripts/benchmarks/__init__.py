"""The benchmarks of ``scripts/bench.py`` and their tools; each benchmark is a module with ``measure(options)``."""
