"""How much one run may ask for: refused before the work is done, not after it has filled a disk or a memory."""

import os
import sys
import threading
from collections.abc import Sequence

from .contract import Model
from .errors import InvalidRequestError

MAX_KEY_BYTES = 1024
"""UTF-8 counts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

MAX_OUTPUT_KEY_BYTES = 850
"""The output's is lower: keys that derive from it (work.py, and those of the Map's ResultWriter) are up to 165 bytes longer."""

MAX_REQUEST_BYTES = 180_000
"""The request with its defaults, as JSON in ASCII. The execution's document holds it once, `csv` three times (and so
it is counted), an error's cause twice and long keys many times, and may have 256 KiB:
https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""

MAX_PREDICTIONS_BYTES = 5_000
"""What a request asks of a classifier, likewise: the document holds it three times, and the event of each of 10,000 chunks once."""

MAX_MANIFEST_BYTES = 2**25
"""Some 500,000 URIs of 60 bytes: more objects cannot be asked for their size, one by one, in the 15 minutes of a function."""

MAX_OBJECTS = 1_000_000
"""Objects of one run, including those without data. Planning them takes 0.6 GB of the planner's 1,769 MB if keys are short
(docs/performance.md), and with `MAX_LISTED_BYTES` of keys not more than 1.1 GB, however long they are and in whatever script."""

MAX_LISTED_BYTES = 2**28
"""All objects' URIs together, as they lie in Python's memory: one character beyond Latin makes text up to four times larger."""

BUNDLE_SUFFIX, MAX_BUNDLE_BYTES = ".bundle.zip", 2**30
"""What the name of a bundle ends in (a model with its own libraries, in one zip), and how large it may be."""

STORAGE_VARIABLE = "PREDICT_EPHEMERAL_STORAGE_SIZE"
"""MB of /tmp of the prediction function, which the template tells the planner; without it nothing is checked."""

MAX_STORAGE_MB = 10_240
"""https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

STORAGE_MARGIN_BYTES = 2**24
"""What the file system itself takes, and the rows of predictions beyond the chunk's own bytes."""


def require_bundle_size(model_s3_uri: str, model_bytes: int) -> None:
    """Raise if a model is a bundle by its name, and a larger one than the prediction function unpacks."""
    if model_s3_uri.endswith(BUNDLE_SUFFIX) and model_bytes > MAX_BUNDLE_BYTES:
        raise InvalidRequestError(
            f"model_s3_uri {model_s3_uri} has {model_bytes} bytes, and a bundle may have {MAX_BUNDLE_BYTES}",
            "make it again without libraries that the model does not need, or build a container image",
        )


def model_storage_bytes(model: Model) -> int:
    """Return what a model takes of the prediction function's ephemeral storage: its object, and what is unpacked of a bundle."""
    return model["bytes"] + model.get("unpacked_bytes", 0)


def require_ephemeral_storage(chunk_bytes: int, model_bytes: int) -> None:
    """Raise if the ephemeral storage of the prediction function is too small for the largest chunk, its part and the model."""
    storage_mb = os.environ.get(STORAGE_VARIABLE, "")
    needed_mb = -(-(2 * chunk_bytes + model_bytes + STORAGE_MARGIN_BYTES) // 2**20)
    if not storage_mb.isdecimal() or needed_mb <= int(storage_mb):
        return
    remedy = f"raise PredictEphemeralStorageSize to {needed_mb}, " if needed_mb <= MAX_STORAGE_MB else ""
    raise InvalidRequestError(
        f"the largest chunk has {chunk_bytes} bytes, and with its part and the model ({model_bytes} bytes) it needs {needed_mb} MB "
        f"of the prediction function's {storage_mb} MB of ephemeral storage: {remedy}lower chunk_size_mb, "
        "or split the run, or an object that is compressed"
    )


def chunk_room_bytes(model_bytes: int, storage_mb: int | None = None) -> int:
    """Return what a chunk and its part may take of the prediction function's ephemeral storage, with a margin for a long record.

    The template tells the planner how large that is; if nobody says it, it is taken for the largest that there is.
    """
    told = os.environ.get(STORAGE_VARIABLE, "")
    size_mb = storage_mb or (int(told) if told.isdecimal() else MAX_STORAGE_MB)
    return size_mb * 2**20 - model_bytes - 3 * STORAGE_MARGIN_BYTES


class ObjectCount:
    """Counts the objects of one run while they are listed, from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects = 0
        self._bytes = 0

    def add(self, uris: Sequence[str], skipped: int = 0) -> None:
        """Count some more; InvalidRequestError if they are too many."""
        with self._lock:
            self._objects += len(uris) + skipped
            self._bytes += sum(map(sys.getsizeof, uris))
            if self._objects > MAX_OBJECTS:
                raise InvalidRequestError(f"data_s3_uri names more than {MAX_OBJECTS} objects: {_SPLIT}")
            if self._bytes > MAX_LISTED_BYTES:
                raise InvalidRequestError(f"data_s3_uri names objects whose URIs take more than {MAX_LISTED_BYTES} bytes: {_SPLIT}")


_SPLIT = "split the run, for instance by prefix, and give each its own output_s3_uri"
