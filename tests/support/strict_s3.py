"""S3's rules where moto is lenient, as hooks on a client: a call that S3 would refuse is answered with S3's code and status.

The rules: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and the pages of the operations. What moto refuses
by itself is not repeated here; `test_strict_s3.py` holds both to the same table. Where S3 is known to be kinder (it may answer a
repeated completion as it did the first one), the rule here is the harder one that its documentation allows.
"""

from __future__ import annotations

import base64
import re
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RANGED_COPY_BYTES = 5_000_000
"""What the source of a ranged copy must be larger than."""

MAX_COPY_BYTES = 5 * 2**30
MAX_PART_NUMBER = 10_000
MAX_DELETED_KEYS = 1000

UPLOAD_OPERATIONS = {"UploadPart", "UploadPartCopy", "ListParts", "CompleteMultipartUpload", "AbortMultipartUpload"}

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Refusal(NamedTuple):
    """What S3 answers to a call against its rules."""

    code: str
    status: int
    message: str


NO_SUCH_UPLOAD = Refusal("NoSuchUpload", 404, "The upload ID may be invalid, or the upload may have been aborted or completed.")
NO_SUCH_KEY = Refusal("NoSuchKey", 404, "The specified key does not exist.")
PRECONDITION_FAILED = Refusal("PreconditionFailed", 412, "At least one of the pre-conditions you specified did not hold")
CONFLICT = Refusal("ConditionalRequestConflict", 409, "The conditional request cannot succeed due to a conflicting operation.")
MALFORMED_XML = Refusal("MalformedXML", 400, "The XML you provided was not well-formed or did not validate")


class StrictS3:
    """moto's S3 with S3's rules. All clients of one instance see the same S3; make it within `moto.mock_aws()`."""

    def __init__(self) -> None:
        self._inside = self._plain_client()
        self._checksums: dict[tuple[str, int], str] = {}
        self._conflicts = 0
        self._void_uploads: set[str] = set()

    def conflict(self, times: int = 1) -> None:
        """Answer the next conditional writes as S3 may while another write of the same key is under way: with 409."""
        self._conflicts += times

    def client(self) -> S3Client:
        """Return a new client, which never waits before it tries again."""
        client = self._plain_client()
        events = client.meta.events
        events.register("before-parameter-build.s3", _keep_params)
        events.register("before-call.s3", self._refuse)
        events.register("after-call.s3.UploadPart", self._note_checksum)
        events.register("after-call.s3.UploadPartCopy", self._note_copy_s_checksum)
        events.register("after-call.s3.ListParts", self._list_checksums)
        return client

    @staticmethod
    def _plain_client() -> S3Client:
        return boto3.client("s3", region_name="us-east-1", config=Config(retries={"mode": "standard", "max_attempts": 1}))

    def _refuse(self, model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> Any:
        """Answer in S3's place where the call is against a rule."""
        refusal = self._refusal(model.name, context["strict_s3"], context)
        if refusal is None:
            return None
        parsed = {
            "Error": {"Code": refusal.code, "Message": refusal.message},
            "ResponseMetadata": {"HTTPStatusCode": refusal.status, "HTTPHeaders": {}, "RetryAttempts": 0},
        }
        return AWSResponse(params["url"], refusal.status, {}, None), parsed

    def _refusal(self, operation: str, params: dict[str, Any], context: dict[str, Any]) -> Refusal | None:
        if operation in UPLOAD_OPERATIONS:
            upload = self._open_upload(params)
            return NO_SUCH_UPLOAD if upload is None else self._in_upload(operation, params, context, upload)
        if operation == "PutObject":
            return self._condition(params)
        if operation == "DeleteObjects" and len(params["Delete"]["Objects"]) > MAX_DELETED_KEYS:
            return MALFORMED_XML
        return self._reading(params) if operation == "GetObject" else None

    def _in_upload(self, operation: str, params: dict[str, Any], context: dict[str, Any], upload: Any) -> Refusal | None:
        if not 1 <= params.get("PartNumber", 1) <= MAX_PART_NUMBER:
            return Refusal("InvalidArgument", 400, "Part number must be an integer between 1 and 10000, inclusive")
        if operation == "CompleteMultipartUpload":
            return self._completion(params, upload)
        if operation == "UploadPartCopy":
            return self._copy(params)
        return _sent_checksum(context, upload) if operation == "UploadPart" else None

    def _copy(self, params: dict[str, Any]) -> Refusal | None:
        try:
            source = self._inside.head_object(**_source(params))
        except ClientError:
            return NO_SUCH_KEY
        if params.get("CopySourceIfMatch", source["ETag"]) != source["ETag"]:
            return PRECONDITION_FAILED
        return _copied_range(params.get("CopySourceRange"), source["ContentLength"])

    def _condition(self, params: dict[str, Any]) -> Refusal | None:
        """Refuse a write whose condition does not hold. moto looks at If-Match in PutObject alone."""
        if not params.keys() & {"IfMatch", "IfNoneMatch"}:
            return None
        if self._conflicts:
            self._conflicts -= 1
            return CONFLICT
        try:
            there = self._inside.head_object(Bucket=params["Bucket"], Key=params["Key"])["ETag"]
        except ClientError:
            return NO_SUCH_KEY if "IfMatch" in params else None
        return PRECONDITION_FAILED if "IfNoneMatch" in params or params["IfMatch"] not in {there, "*"} else None

    def _completion(self, params: dict[str, Any], upload: Any) -> Refusal | None:
        if params["UploadId"] in self._void_uploads:
            return CONFLICT
        refusal = self._condition(params)
        if refusal == CONFLICT:  # S3 wants the upload to be made anew, and all of its parts
            self._void_uploads.add(params["UploadId"])
        return refusal or self._completed_parts(params, upload)

    def _completed_parts(self, params: dict[str, Any], upload: Any) -> Refusal | None:
        parts = params.get("MultipartUpload", {}).get("Parts")
        if not parts:
            return MALFORMED_XML
        if any(after["PartNumber"] <= before["PartNumber"] for before, after in pairwise(parts)):
            return Refusal("InvalidPartOrder", 400, "The list of parts was not in ascending order.")
        sizes = self._part_sizes(params)
        if not all(part["PartNumber"] in sizes for part in parts):
            return None  # moto calls it an InvalidPart
        size = sum(sizes[part["PartNumber"]] for part in parts)
        if params.get("MpuObjectSize", size) != size:
            return Refusal("InvalidRequest", 400, f"The provided MpuObjectSize does not match the {size} bytes of the parts")
        if upload.get("ChecksumAlgorithm") == "CRC32" and upload.get("ChecksumType") != "FULL_OBJECT":
            return self._repeated_checksums(params["UploadId"], parts)
        return None

    def _repeated_checksums(self, upload_id: str, parts: list[dict[str, Any]]) -> Refusal | None:
        for part in parts:
            if "ChecksumCRC32" not in part:
                return Refusal(
                    "InvalidRequest",
                    400,
                    "The upload was created using a crc32 checksum. The complete request must include the checksum for each "
                    f"part. It was missing for part {part['PartNumber']} in the request.",
                )
            if part["ChecksumCRC32"] != self._checksums[upload_id, part["PartNumber"]]:
                return Refusal("InvalidPart", 400, "One or more of the specified parts could not be found.")
        return None

    def _reading(self, params: dict[str, Any]) -> Refusal | None:
        """Refuse the last bytes of an empty object; moto refuses the other ranges that lie outside."""
        if not params.get("Range", "").startswith("bytes=-"):
            return None
        try:
            head = self._inside.head_object(Bucket=params["Bucket"], Key=params["Key"])
        except ClientError:
            return None
        return None if head["ContentLength"] else Refusal("InvalidRange", 416, "The requested range is not satisfiable")

    def _open_upload(self, params: dict[str, Any]) -> Any:
        listed = self._inside.list_multipart_uploads(Bucket=params["Bucket"], Prefix=params["Key"])
        named = (params["Key"], params["UploadId"])
        return next((upload for upload in listed.get("Uploads", ()) if (upload["Key"], upload["UploadId"]) == named), None)

    def _part_sizes(self, params: dict[str, Any]) -> dict[int, int]:
        pages = self._inside.get_paginator("list_parts").paginate(**{name: params[name] for name in ("Bucket", "Key", "UploadId")})
        return {part["PartNumber"]: part["Size"] for page in pages for part in page.get("Parts", ())}

    def _note_checksum(self, http_response: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        if http_response.status_code == 200 and "ChecksumCRC32" in parsed:
            params = context["strict_s3"]
            self._checksums[params["UploadId"], params["PartNumber"]] = parsed["ChecksumCRC32"]

    def _note_copy_s_checksum(self, http_response: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        """Tell the checksum of a copied part, as S3 does for an upload that was created with one."""
        params = context["strict_s3"]
        if http_response.status_code != 200 or (self._open_upload(params) or {}).get("ChecksumAlgorithm") != "CRC32":
            return
        ranged = {"Range": params["CopySourceRange"]} if "CopySourceRange" in params else {}
        body = self._inside.get_object(**_source(params), **ranged)["Body"].read()
        checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        self._checksums[params["UploadId"], params["PartNumber"]] = parsed["CopyPartResult"]["ChecksumCRC32"] = checksum

    def _list_checksums(self, http_response: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        params = context["strict_s3"]
        upload = self._open_upload(params) if http_response.status_code == 200 else None
        if upload and upload.get("ChecksumAlgorithm") == "CRC32":
            parsed["ChecksumAlgorithm"] = "CRC32"
            for part in parsed.get("Parts", ()):
                part["ChecksumCRC32"] = self._checksums[params["UploadId"], part["PartNumber"]]


def _keep_params(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Keep what the caller asked for until the call is sent."""
    context["strict_s3"] = params


def _sent_checksum(context: dict[str, Any], upload: Any) -> Refusal | None:
    """Refuse a part whose checksum is not of the kind that its upload was created with."""
    expected = upload.get("ChecksumAlgorithm", "null").lower()
    sent = (context.get("checksum", {}).get("request_algorithm") or {}).get("algorithm", "null").lower()
    if sent == expected:
        return None
    message = f"Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {sent}"
    return Refusal("InvalidRequest", 400, message)


def _source(params: dict[str, Any]) -> dict[str, str]:
    bucket, _, key = unquote(params["CopySource"]).partition("/")  # botocore has joined and quoted it by now
    return {"Bucket": bucket, "Key": key}


def _copied_range(ranged: str | None, source_bytes: int) -> Refusal | None:
    too_large = Refusal("InvalidRequest", 400, f"The copy source is larger than the maximum of {MAX_COPY_BYTES} bytes")
    if ranged is None:
        return too_large if source_bytes > MAX_COPY_BYTES else None
    match = _RANGE.fullmatch(ranged)
    start, stop = (int(match[1]), int(match[2])) if match else (1, 0)
    if not start <= stop < source_bytes:
        return Refusal("InvalidArgument", 400, f"Range specified is not valid for source object of size: {source_bytes}")
    if source_bytes <= RANGED_COPY_BYTES:
        return Refusal("InvalidRequest", 400, "The specified copy source is not supported as a byte-range copy source")
    return too_large if stop - start + 1 > MAX_COPY_BYTES else None
