"""Results: everything that is asked of what MLflow has."""
