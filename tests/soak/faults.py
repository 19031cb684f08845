"""Which faults a run meets: rules for the proxy, about this run's own keys."""

import re
from random import Random

from support.s3_proxy import Fault, Rule

KINDS: tuple[Fault, ...] = ("delay", "throttle", "500", "503", "409", "reset", "reset_after", "cut", "stall")
"""What passes: any of them may end a run as TransientS3Error, and as nothing else."""

READS = ("GetObject", "HeadObject", "ListObjectsV2")
CALLS = (
    ("ValidateRequestFunction", READS),
    ("PlanChunksFunction", (*READS, "PutObject")),
    ("PredictChunkFunction", ("GetObject", "GetObject", "HeadObject", "PutObject")),
    (
        "MergeOutputsFunction",
        (*READS, "PutObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "DeleteObjects"),
    ),
)


def rules_of(seed, intensity, run):
    """Return the rules of a run; `intensity` is none, some, many, burst or storm."""
    random = Random(f"faults of {seed}")
    key = rf"/{re.escape(run)}[/.]"
    function, operations = random.choice(CALLS)
    if intensity == "burst":
        kind = random.choice(KINDS)
        times, after = random.choice([1, 2, 4, 6, 11]), random.choice([0, 0, random.randint(1, 8)])
        return [Rule(kind, function, random.choice(operations), key, after=after, times=times, seconds=seconds_of(random, kind))]
    if intensity == "storm":
        return [Rule(random.choice(["throttle", "reset", "500"]), function, random.choice(operations), key, times=None)]
    count, most = {"none": (0, 0.0), "some": (random.randint(1, 3), 0.06), "many": (random.randint(3, 6), 0.08)}[intensity]
    rules = []
    for number in range(count):
        kind = random.choice(KINDS)
        one = random.choice(CALLS)[0] if random.random() < 0.4 else None
        rules.append(
            Rule(
                kind,
                one,
                key=key,
                times=None,
                probability=random.uniform(0.01, most),
                seed=random.randrange(2**31) + number,
                seconds=seconds_of(random, kind),
            )
        )
    return rules


def seconds_of(random, kind):
    return random.uniform(0.01, 0.4) if kind in {"delay", "stall"} else 0.0
