"""Random requests under random faults, for minutes or hours, each held against an oracle: `make soak MINUTES=20`.

`workloads` makes a request and its data from a seed, `scenarios` runs it, `oracle` says what must come out (by Python's csv
module and one `model.predict` on the whole), `leaks` watches what stays behind, and `figures` counts. Nothing here imports the
functions' code.
"""
