"""What maintainers and CI run; never deployed."""
