"""The runner: plans, jobs and stages on Ray."""
