"""What a request to S3 is for: who sends it, which operation, and what kind of object it is about."""

from __future__ import annotations

import re
from typing import NamedTuple

# Regular expression of `bucket/key` -> kind; the first that fits.
KINDS = (
    (r"/models/", "model"),
    (r"/data/.*\.manifest\.json$", "manifest"),
    (r"/data/.*", "data"),
    (r"\.work/.*/plan\.json$", "plan"),
    (r"\.work/.*/decision\.json$", "decision"),
    (r"\.work/.*/pending-[^/]*\.json$", "pending plan"),
    (r"\.work/.*/upload\.json$", "upload record"),
    (r"\.work/.*/chunk-\d+\.segments\.json$", "segments"),
    (r"\.work/.*/chunk-\d+\.error\.json$", "error record"),
    (r"\.work/.*/chunk-\d+\.csv\.rejected\.csv$", "rejected rows of a part"),
    (r"\.work/.*/chunk-\d+\.csv$", "part"),
    (r"\.work/.*/chunk-\d+\.json$", "receipt"),
    (r"\.work/.*/scan-\d+\.json$", "scan notes"),
    (r"\.work/.*/chunk-$", "chunks"),
    (r"\.work/columns-.*\.model$", "stored model"),
    (r"\.work/columns-", "columns"),
    (r"\.work/", "work"),
    (r"/out\.csv\.report\.json$", "report"),
    (r"/out\.csv\.rejected\.csv$", "rejected rows"),
    (r"/out\.csv$", "output"),
)


class Site(NamedTuple):
    """A call site."""

    function: str
    """Logical id without `Function`."""
    operation: str
    kind: str

    def __str__(self):
        return f"{self.function} {self.operation} {self.kind}"


def site_of(request):
    """Return the call site that a request came from."""
    # Keys are deleted many at once, and the first one says nothing of the others.
    kinds = KINDS if request.operation != "DeleteObjects" else ((r"\.work/", "work"),)
    kind = next((kind for pattern, kind in kinds if re.search(pattern, request.key)), request.key)
    return Site(request.function.removesuffix("Function"), request.operation, kind)


def pattern_of(site):
    """Return what matches, at the start of `bucket/key`, the keys of a call site's kind and no earlier kind's."""
    if site.operation == "DeleteObjects":
        return r"(?=.*\.work/)"
    index = next(index for index, (_, name) in enumerate(KINDS) if name == site.kind)
    return "".join(f"(?!.*{pattern})" for pattern, _ in KINDS[:index]) + f"(?=.*{KINDS[index][0]})"
