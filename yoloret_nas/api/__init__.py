"""What `import yoloret_nas` offers, and what the commands do between parsing and printing.

The public names are in `yoloret_nas` itself, which imports them when they are used.
"""
