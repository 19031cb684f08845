"""The command line, and the embedded local AWS that it runs the workflow on; never deployed."""
