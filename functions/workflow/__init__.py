"""The workflow's functions: a module for each state, and what they share."""
