"""The driver: the process that the user started. It plans, starts jobs, and stops when asked."""
