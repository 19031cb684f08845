"""Where everything lies that a run writes: all names derive from the output's URI, the fingerprint and the chunk's index."""

import hashlib

IDENTITY_METADATA = "batch-predict-identity"
"""User metadata of a published output: of which request on which inputs it is the result (`fingerprint.identity_of`)."""
SIZE_METADATA = "batch-predict-bytes"
"""The size that the output was published with. S3 keeps metadata if somebody puts other bytes in the object's place."""
PARTS_METADATA = "batch-predict-parts"
"""The digest of the parts that the output was made of: SHA-256 over the ETag and the range of each (`multipart.digest_of`)."""

WORK_MARK = ".work/"
"""In the key of everything that is deleted after publishing, and that a lifecycle rule may expire."""
WORK_TAG = "batch-predict=work"
"""On every object of that kind, as a request's `Tagging`: a lifecycle rule can match tags, but not `.work/` in a key."""

RECEIPT_SUFFIX = ".json"
ERROR_RECORD_SUFFIX = ".error.json"
TYPES_SUFFIX = ".types.json"
"""What a chunk has found of columns whose values do not fit the decided type; it replaces the receipt's suffix."""
UPLOAD_RECORD = "upload.json"


NAME_DIGITS = 32
"""Digits of a SHA-256 in a key: 128 bits tell all runs apart, and the plan stays small."""


def request_prefix(output_s3_uri: str, identity: str) -> str:
    """Return the prefix of all work for one result, however it is cut; the roles may write and delete `*.work/*`."""
    return f"{output_s3_uri}{WORK_MARK}{identity[:NAME_DIGITS]}/"


def work_prefix(output_s3_uri: str, identity: str, fingerprint: str) -> str:
    """Return the prefix of the plan, parts and receipts of one way to cut the inputs."""
    return f"{request_prefix(output_s3_uri, identity)}{fingerprint[:NAME_DIGITS]}/"


def chunk_size_uri(output_s3_uri: str, identity: str) -> str:
    """Return where the size of chunks is kept that the planner has chosen: whoever resumes the request must not choose another."""
    return f"{request_prefix(output_s3_uri, identity)}chunk-size.json"


def scan_uri(output_s3_uri: str, identity: str, chunk_bytes: int) -> str:
    """Return where a scan for exact boundaries that takes several invocations notes how far it is."""
    return f"{request_prefix(output_s3_uri, identity)}scan-{chunk_bytes}.json"


def chunk_places(prefix: str, chunk_index: int, ending: str, *, grouped: bool) -> dict[str, str]:
    """Return where the objects of a chunk go, by their fields in the plan; zero-padded, so that a listing is in its order."""
    name = f"{prefix}chunk-{chunk_index:05}"
    segments = {"segments_s3_uri": f"{name}.segments.json"} if grouped else {}
    own = {"output_s3_uri": f"{name}{ending}", "receipt_s3_uri": f"{name}{RECEIPT_SUFFIX}"}
    return {**segments, "decision_s3_uri": decision_uri(prefix), **own}


def decision_uri(prefix: str) -> str:
    """Return where the decision goes, which all chunks agree on."""
    return f"{prefix}decision.json"


def columns_prefix(output_s3_uri: str) -> str:
    """Return the prefix of what the probes of all executions for one output have found of the columns."""
    return f"{output_s3_uri}{WORK_MARK}columns-"


def columns_uri(output_s3_uri: str, execution_arn: str) -> str:
    """Return where Probe Model writes what it finds of the columns: no other execution's, however much else they share."""
    return f"{columns_prefix(output_s3_uri)}{hashlib.sha256(execution_arn.encode()).hexdigest()[:NAME_DIGITS]}.json"


def tail_uri(prefix: str, sha256: str) -> str:
    """Return where the merge writes what the output ends with and no part has: a repeat of it finds the same bytes there."""
    return f"{prefix}tail-{sha256[:NAME_DIGITS]}"


def upload_record_uri(prefix: str) -> str:
    """Return where the merge notes its multipart upload, so that a repeat finds it."""
    return f"{prefix}{UPLOAD_RECORD}"


def error_record_uri(receipt_s3_uri: str) -> str:
    """Return where the error record goes of a chunk that was lost for good."""
    return receipt_s3_uri.removesuffix(RECEIPT_SUFFIX) + ERROR_RECORD_SUFFIX


def rejected_uri(output_s3_uri: str) -> str:
    """Return where the list of rejected rows goes, of the output as of each part."""
    return f"{output_s3_uri}.rejected.csv"


def report_uri(output_s3_uri: str) -> str:
    """Return where the report goes."""
    return f"{output_s3_uri}.report.json"


def side_uris(output_s3_uri: str) -> tuple[str, str]:
    """Return what speaks of an output beside it."""
    return report_uri(output_s3_uri), rejected_uri(output_s3_uri)


def written_uris(output_s3_uri: str) -> set[str]:
    """Return what a run writes beside the work prefix."""
    return {output_s3_uri, *side_uris(output_s3_uri)}
