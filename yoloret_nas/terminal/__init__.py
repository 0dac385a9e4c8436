"""Searches and experiments in the terminal: the live view, trial lines, front tables, Ctrl-C."""
