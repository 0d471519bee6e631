"""Tracking: MLflow runs written from records, and questions asked of them."""
