"""search/driver."""
