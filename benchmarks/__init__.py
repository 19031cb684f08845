"""What `make bench` runs: the prediction handler beside the usual ways to score a CSV file, and beside the machine's own limit."""
