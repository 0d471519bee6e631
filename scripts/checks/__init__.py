"""The parts of ``scripts/gpu_check.py``: each is a module with a function ``check(options, report)``."""
