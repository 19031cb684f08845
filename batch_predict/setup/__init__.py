"""Builds what is deployed. Runs under a plain Python: the standard library, and pip in a process of its own."""
