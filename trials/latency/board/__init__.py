"""trials/latency/board."""
