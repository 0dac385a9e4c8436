"""search/strategy."""
