"""The losses: of heads with anchors and of heads without, each with its assignment of objects to predictions."""
