"""Random faults in a real experiment, and what they damage; see ``scripts/chaos.py``."""
