"""Formats of annotation tools and public datasets: each file parses one, `read_foreign` makes a dataset of what it found.

A format is a value, `ForeignFormat`, in the table of `read_foreign`; Parquet, whose images are inside, is read by itself.
"""
