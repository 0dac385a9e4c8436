"""Command-line options that several commands share, parsed and checked before anything heavy is imported."""
