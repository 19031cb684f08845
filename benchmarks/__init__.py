"""What `make bench` runs: the prediction handler beside the usual ways to score a CSV file, and beside the machine's own limit.

`make bench-scale` (`scale.py`) plans and merges inputs of any size; `make bench-workflow` (`workflow.py`) runs the whole workflow.
"""
