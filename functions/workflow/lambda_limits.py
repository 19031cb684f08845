"""What the memory size of a Lambda function buys: processor time and network, for estimates and benchmarks alike."""

MB_PER_GB = 1024
"""Lambda's MB and GB are binary: a GB of GB-seconds is 1,024 of the MB in which the memory size is set."""

MB_PER_VCPU = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
FUNCTION_SECONDS = 900
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
DEFAULT_MEMORY_MB = 1024
"""What template.yaml gives the prediction function; tests hold the template and the pages to it. Of the sizes that were measured,
the smallest at which the network alone bounds linear models and packed trees (docs/performance.md)."""

NETWORK_MB_PER_SECOND = 75
"""MB (10^6 bytes) a second between S3 and one function, each way, below `SCALED_NETWORK_MEMORY_MB`. Assumed: 90 were
measured at 640 MB."""
SCALED_NETWORK_MBIT, SCALED_NETWORK_MEMORY_MB, MAX_NETWORK_MBIT = 625, 2_048, 3_000
"""Since August 2026, functions outside of a VPC have 625 Mbit/s at 2 GB of memory, in proportion to 3,000 Mbit/s at 10 GB.
Collected in November 2026 from secondary copies of AWS's announcement."""


def vcpus(memory_mb: int) -> float:
    """Return the processor seconds that a function gets a second."""
    return memory_mb / MB_PER_VCPU


def network_mb_per_second(memory_mb: int) -> float:
    """Return MB (10^6 bytes) a second that a function outside of a VPC reads from S3, and as many that it writes."""
    if memory_mb < SCALED_NETWORK_MEMORY_MB:
        return NETWORK_MB_PER_SECOND
    return min(MAX_NETWORK_MBIT, SCALED_NETWORK_MBIT * memory_mb / SCALED_NETWORK_MEMORY_MB) / 8
