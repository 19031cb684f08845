"""What each fault at each call site leads to: written down here, not derived from the code under test.

Trouble that passes is survived everywhere. What S3 refuses for good ends in a name of docs/failures.md, or does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from call_sites import Site

if TYPE_CHECKING:
    from support.s3_proxy import Fault

SURVIVED = "survived"
NOT_FOUND, CHANGED, INVALID = "InputNotFoundError", "InputChangedError", "InvalidRequestError"
INCOMPLETE, MISSING, TRANSIENT = "IncompleteOutputError", "MissingChunksError", "TransientS3Error"

# (function, operation, kind): the run in which it is looked at, and what 403, 404 and, of conditional requests, 412 lead to.
# In a run that is lost in any case "survived" means that it ends as it would have without the fault.
TABLE: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("ValidateRequest", "HeadObject", "model"): ("split", NOT_FOUND, NOT_FOUND),
    ("ValidateRequest", "HeadObject", "data"): ("split", NOT_FOUND, NOT_FOUND),
    ("ValidateRequest", "GetObject", "data"): ("split", NOT_FOUND, NOT_FOUND, CHANGED),
    ("ValidateRequest", "GetObject", "manifest"): ("resumed", NOT_FOUND, NOT_FOUND),
    ("ValidateRequest", "ListObjectsV2", "data"): ("grouped", NOT_FOUND, NOT_FOUND),
    ("PlanChunks", "HeadObject", "data"): ("split", NOT_FOUND, NOT_FOUND),
    ("PlanChunks", "HeadObject", "output"): ("split", SURVIVED, SURVIVED),
    ("PlanChunks", "GetObject", "data"): ("split", NOT_FOUND, NOT_FOUND, CHANGED),
    ("PlanChunks", "GetObject", "manifest"): ("resumed", NOT_FOUND, NOT_FOUND),
    ("PlanChunks", "GetObject", "scan notes"): ("split", SURVIVED, SURVIVED),
    ("PlanChunks", "GetObject", "receipt"): ("resumed", SURVIVED, SURVIVED),
    ("PlanChunks", "GetObject", "error record"): ("guessed", SURVIVED, SURVIVED),
    ("PlanChunks", "GetObject", "report"): ("published", SURVIVED, SURVIVED),
    ("PlanChunks", "ListObjectsV2", "data"): ("grouped", NOT_FOUND, NOT_FOUND),
    ("PlanChunks", "ListObjectsV2", "chunks"): ("split", SURVIVED, SURVIVED),
    ("PlanChunks", "GetObject", "columns"): ("split", NOT_FOUND, NOT_FOUND),
    ("PlanChunks", "PutObject", "decision"): ("split", INVALID, INVALID),
    ("PlanChunks", "PutObject", "plan"): ("split", INVALID, INVALID),
    ("PlanChunks", "PutObject", "pending plan"): ("resumed", NOT_FOUND, NOT_FOUND),
    ("PlanChunks", "PutObject", "segments"): ("grouped", NOT_FOUND, NOT_FOUND),
    ("PredictChunk", "GetObject", "model"): ("split", NOT_FOUND, NOT_FOUND, CHANGED),
    ("PredictChunk", "GetObject", "stored model"): ("grouped", SURVIVED, SURVIVED),
    ("PredictChunk", "GetObject", "data"): ("split", NOT_FOUND, NOT_FOUND, CHANGED),
    ("PredictChunk", "GetObject", "decision"): ("split", NOT_FOUND, NOT_FOUND),
    ("PredictChunk", "GetObject", "segments"): ("grouped", NOT_FOUND, NOT_FOUND),
    ("PredictChunk", "PutObject", "stored model"): ("grouped", INVALID, INVALID),
    ("PredictChunk", "PutObject", "columns"): ("split", INVALID, INVALID),
    ("PredictChunk", "PutObject", "part"): ("split", INVALID, INVALID),
    ("PredictChunk", "PutObject", "rejected rows of a part"): ("split", INVALID, INVALID),
    ("PredictChunk", "PutObject", "receipt"): ("split", INVALID, INVALID),
    ("PredictChunk", "HeadObject", "part"): ("split", NOT_FOUND, NOT_FOUND),
    ("PredictChunk", "HeadObject", "rejected rows of a part"): ("split", NOT_FOUND, NOT_FOUND),
    ("PredictChunk", "CreateMultipartUpload", "part"): ("large", INVALID, INVALID),
    ("PredictChunk", "UploadPart", "part"): ("large", INVALID, SURVIVED),
    ("PredictChunk", "CompleteMultipartUpload", "part"): ("large", INVALID, SURVIVED),
    ("PredictChunk", "AbortMultipartUpload", "part"): ("not sent", SURVIVED, SURVIVED),
    ("RecordFailure", "PutObject", "error record"): ("lost", MISSING, MISSING),
    ("MergeOutputs", "GetObject", "report"): ("split", SURVIVED, SURVIVED),
    ("MergeOutputs", "GetObject", "plan"): ("split", NOT_FOUND, NOT_FOUND),
    ("MergeOutputs", "GetObject", "decision"): ("split", NOT_FOUND, NOT_FOUND),
    ("MergeOutputs", "GetObject", "segments"): ("grouped", NOT_FOUND, NOT_FOUND),
    ("MergeOutputs", "GetObject", "receipt"): ("split", MISSING, MISSING),
    ("MergeOutputs", "GetObject", "error record"): ("tolerated", SURVIVED, SURVIVED),
    ("MergeOutputs", "HeadObject", "output"): ("split", SURVIVED, SURVIVED),
    ("MergeOutputs", "GetObject", "part"): ("split", INCOMPLETE, INCOMPLETE, INCOMPLETE),
    ("MergeOutputs", "PutObject", "output"): ("split", NOT_FOUND, NOT_FOUND, SURVIVED),
    ("MergeOutputs", "GetObject", "upload record"): ("copied", SURVIVED, SURVIVED),
    ("MergeOutputs", "ListMultipartUploads", "output"): ("copied", NOT_FOUND, NOT_FOUND),
    ("MergeOutputs", "PutObject", "upload record"): ("copied", NOT_FOUND, NOT_FOUND),
    ("MergeOutputs", "CreateMultipartUpload", "output"): ("copied", NOT_FOUND, NOT_FOUND),
    ("MergeOutputs", "ListParts", "output"): ("upload taken up", NOT_FOUND, SURVIVED),
    ("MergeOutputs", "UploadPartCopy", "output"): ("copied", INCOMPLETE, INCOMPLETE, INCOMPLETE),
    ("MergeOutputs", "UploadPart", "output"): ("copied", NOT_FOUND, SURVIVED),
    ("MergeOutputs", "CompleteMultipartUpload", "output"): ("copied", NOT_FOUND, SURVIVED, SURVIVED),
    ("MergeOutputs", "AbortMultipartUpload", "output"): ("not completed", SURVIVED, SURVIVED),
    ("MergeOutputs", "HeadObject", "report"): ("replacing", SURVIVED, SURVIVED),
    ("MergeOutputs", "HeadObject", "rejected rows"): ("replacing", SURVIVED, SURVIVED),
    ("MergeOutputs", "DeleteObject", "report"): ("replacing", NOT_FOUND, NOT_FOUND, SURVIVED),
    ("MergeOutputs", "DeleteObject", "rejected rows"): ("replacing", NOT_FOUND, NOT_FOUND, SURVIVED),
    ("MergeOutputs", "GetObject", "rejected rows of a part"): ("split", INCOMPLETE, INCOMPLETE),
    ("MergeOutputs", "PutObject", "rejected rows"): ("split", NOT_FOUND, NOT_FOUND, SURVIVED),
    ("MergeOutputs", "PutObject", "report"): ("split", NOT_FOUND, NOT_FOUND, SURVIVED),
    ("MergeOutputs", "ListMultipartUploads", "work"): ("split", SURVIVED, SURVIVED),
    ("MergeOutputs", "ListObjectsV2", "work"): ("split", SURVIVED, SURVIVED),
    ("MergeOutputs", "ListObjectsV2", "columns"): ("split", SURVIVED, SURVIVED),
    ("MergeOutputs", "DeleteObjects", "work"): ("split", SURVIVED, SURVIVED),
    ("ExplainFailure", "GetObject", "report"): ("lost", SURVIVED, SURVIVED),
    ("ExplainFailure", "HeadObject", "output"): ("not completed", SURVIVED, SURVIVED),
    ("ExplainFailure", "ListObjectsV2", "chunks"): ("lost", MISSING, MISSING),
    ("ExplainFailure", "GetObject", "error record"): ("lost", MISSING, MISSING),
}

SITES = {Site(*names): row[0] for names, row in TABLE.items()}
"""Every call site of the workflow, and the run in which it is looked at."""

REFUSALS: tuple[Fault, ...] = ("403", "404", "412")

CONDITIONAL_WRITES = {
    Site("MergeOutputs", "PutObject", "output"),
    Site("MergeOutputs", "CompleteMultipartUpload", "output"),
    Site("MergeOutputs", "PutObject", "rejected rows"),
    Site("MergeOutputs", "PutObject", "report"),
}
ANSWER_IN_XML = {
    "ListObjectsV2",
    "ListMultipartUploads",
    "ListParts",
    "CreateMultipartUpload",
    "CompleteMultipartUpload",
    "UploadPartCopy",
    "DeleteObjects",
}
MAY_ANSWER_200_WITH_AN_ERROR = {"CompleteMultipartUpload", "UploadPartCopy"}
SENDS_A_BODY = {"PutObject", "UploadPart"}

# Ranged reads carry no checksum: a flipped bit in them is TCP's and TLS's to notice. Objects that are not there have none either.
READ_WHOLE = {
    "model",
    "stored model",
    "manifest",
    "segments",
    "plan",
    "columns",
    "decision",
    "receipt",
    "error record",
    "rejected rows of a part",
}

REPRESENTATIVES: dict[Site, tuple[Fault, str]] = {
    Site("ValidateRequest", "HeadObject", "model"): ("throttle", TRANSIENT),
    Site("PlanChunks", "PutObject", "plan"): ("reset", TRANSIENT),
    Site("PredictChunk", "PutObject", "part"): ("503", TRANSIENT),
    Site("RecordFailure", "PutObject", "error record"): ("500", MISSING),
    Site("MergeOutputs", "PutObject", "output"): ("throttle", TRANSIENT),
    Site("ExplainFailure", "ListObjectsV2", "chunks"): ("reset", MISSING),
}
"""One call site of each function at which trouble does not pass."""


class Cell(NamedTuple):
    """A fault at a call site."""

    site: Site
    fault: Fault
    persistent: bool = False

    def __str__(self):
        return f"{self.site}: {self.fault}{' that stays' if self.persistent else ''}"

    @property
    def expected(self):
        """`SURVIVED`, or the error that the execution ends with."""
        if self.persistent:
            return REPRESENTATIVES[self.site][1]
        if self.fault in REFUSALS:
            return TABLE[self.site][1 + REFUSALS.index(self.fault)]
        return SURVIVED


def applicable(site):
    """Return the faults that a call site can meet."""
    reads_whole = site.operation == "GetObject" and site.kind in READ_WHOLE
    faults = {
        "delay": True,
        "throttle": True,
        "500": True,
        "503": True,
        "403": True,
        "404": True,
        "412": len(TABLE[site]) > 1 + REFUSALS.index("412"),
        "409": site in CONDITIONAL_WRITES,
        "reset": True,
        "reset_after": True,
        "cut": site.operation in ANSWER_IN_XML or site.operation == "GetObject",
        "error_in_200": site.operation in MAY_ANSWER_200_WITH_AN_ERROR,
        "corrupt": reads_whole,
        "corrupt_sent": site.operation in SENDS_A_BODY,
    }
    return [fault for fault, can_happen in faults.items() if can_happen]


CELLS = [Cell(site, fault) for site in SITES for fault in applicable(site)] + [
    Cell(site, fault, persistent=True) for site, (fault, _) in REPRESENTATIVES.items()
]
