"""Runs on this machine: the embedded local AWS, and what is kept of its runs."""
