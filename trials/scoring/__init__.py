"""trials/scoring."""
