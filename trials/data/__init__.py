"""trials/data."""
