"""Tracking: write MLflow runs from records, and find them again."""
