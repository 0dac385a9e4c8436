"""search/tracking."""
