"""Experiments: the YAML schema, the tasks it expands to, and their content ids."""
