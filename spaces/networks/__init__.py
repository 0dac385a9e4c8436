"""spaces/networks."""
