"""What `make bench` runs: the prediction handler beside the usual ways to score a CSV file, and beside the machine's own limit.

`make bench-scale` (`scale.py`) plans and merges inputs of any size; `make bench-planning` (`planning.py`) plans on the local S3;
`make bench-workflow` (`workflow.py`) runs the whole workflow; `make bench-lambda` (`lambda_sizes.py`) times and prices invocations
by memory size; `make bench-bundles` (`bundles.py`) scores with bundles.
"""

import sys
from pathlib import Path

# Benchmarks take prices and limits from the package `workflow`.
sys.path.append(str(Path(__file__).parents[1] / "functions"))
