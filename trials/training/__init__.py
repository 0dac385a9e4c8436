"""trials/training."""
