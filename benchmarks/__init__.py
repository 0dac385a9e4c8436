"""Scripts that measured the figures of the documentation."""
