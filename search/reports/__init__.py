"""search/reports."""
