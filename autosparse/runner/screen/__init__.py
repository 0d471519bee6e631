"""What the user sees while work runs."""
