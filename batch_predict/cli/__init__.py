"""The command line: commands, screens and prompts."""
