"""spaces/weights."""
