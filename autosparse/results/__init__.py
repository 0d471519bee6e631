"""Results: every question that is asked of MLflow."""
