"""The formats that datasets are read from: one reader each, and what they share."""
