"""trials/latency."""
