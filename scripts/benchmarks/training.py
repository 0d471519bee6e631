"""Small networks: many cells on all cores, and one alone, beside the usual loop."""
