"""The command line: commands, project file, terminal, export."""
