"""What the user types and gets: commands, project file, terminal, the export bundle."""
