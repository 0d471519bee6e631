"""The parts of ``scripts/gpu_check.py`` and their tools; each part is a module with ``check(options, report)``."""
