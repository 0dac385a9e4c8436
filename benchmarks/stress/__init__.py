"""Faults brought about on purpose: what a search, its files and its readers make of them (docs/reliability.md)."""
