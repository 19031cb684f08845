"""moto's S3, held to the rules of `s3_rules.py` by hooks on a client: a call that S3 would refuse gets S3's code and status."""

import base64
import zlib
from urllib.parse import unquote

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

from support import s3_rules
from support.s3_rules import RefusedError, Uploaded

UPLOAD_OPERATIONS = {"UploadPart", "UploadPartCopy", "ListParts", "CompleteMultipartUpload", "AbortMultipartUpload"}


class StrictS3:
    """moto's S3 with S3's rules. All clients of one instance see the same S3; make it within `moto.mock_aws()`."""

    def __init__(self):
        self._inside = self._plain_client()
        self._checksums = {}
        self._conflicts = 0
        self._void_uploads = set()

    def conflict(self, times=1):
        """Answer the next conditional writes as S3 may while another write of the same key is under way: with 409."""
        self._conflicts += times

    def client(self):
        """Return a new client, which never waits before it tries again."""
        return self.hold(self._plain_client())

    def hold(self, client):
        """Hold a client to the rules, and return it."""
        events = client.meta.events
        events.register("before-parameter-build.s3", _keep_params)
        events.register("before-call.s3", self._answer)
        events.register("after-call.s3.UploadPart", self._note_checksum)
        events.register("after-call.s3.UploadPartCopy", self._note_copy_s_checksum)
        events.register("after-call.s3.ListParts", self._list_checksums)
        return client

    @staticmethod
    def _plain_client():
        return boto3.client("s3", region_name="us-east-1", config=Config(retries={"mode": "standard", "max_attempts": 1}))

    def _answer(self, model, params, context, **_):
        """Answer in S3's place if the call is against a rule."""
        try:
            self._check(model.name, context["strict_s3"], context)
        except RefusedError as refused:
            parsed = {
                "Error": {"Code": refused.code, "Message": refused.message},
                "ResponseMetadata": {"HTTPStatusCode": refused.status, "HTTPHeaders": {}, "RetryAttempts": 0},
            }
            return AWSResponse(params["url"], refused.status, {}, None), parsed

    def _check(self, operation, params, context):
        if operation in UPLOAD_OPERATIONS:
            self._check_upload(operation, params, context)
        elif operation == "PutObject":
            self._check_condition(params)
        elif operation == "DeleteObjects":
            s3_rules.require_few(params["Delete"]["Objects"])
        elif operation == "GetObject" and params.get("Range", "").startswith("bytes=-") and (head := self._head(params)):
            s3_rules.read_range(params["Range"], head["ContentLength"])  # moto sees the other ranges that lie outside

    def _check_upload(self, operation, params, context):
        upload = self._open_upload(params)
        if upload is None:
            raise RefusedError("NoSuchUpload", "The specified upload does not exist.")
        s3_rules.require_part_number(params.get("PartNumber", 1))
        if operation == "UploadPart":
            _check_kind_of_checksum(context, upload)
        elif operation == "UploadPartCopy":
            source = self._head(_source(params))
            if source is None:
                raise RefusedError("NoSuchKey", "The specified key does not exist.")
            s3_rules.require_match(params.get("CopySourceIfMatch"), source["ETag"])
            s3_rules.copied_range(params.get("CopySourceRange"), source["ContentLength"])
        elif operation == "CompleteMultipartUpload":
            self._check_completion(params, upload)

    def _check_condition(self, params):
        """Refuse a write whose condition does not hold. moto looks at If-Match in PutObject alone."""
        if not params.keys() & {"IfMatch", "IfNoneMatch"}:
            return
        if self._conflicts:
            self._conflicts -= 1
            if "UploadId" in params:
                self._void_uploads.add(params["UploadId"])  # S3 wants the upload to be made anew, and all of its parts
            raise RefusedError("ConditionalRequestConflict", "A conflicting operation occurred during the request")
        head = self._head(params)
        s3_rules.require_writable(params, head and head["ETag"])

    def _check_completion(self, params, upload):
        if params["UploadId"] in self._void_uploads:
            raise RefusedError("ConditionalRequestConflict", "The upload must be made anew")
        self._check_condition(params)
        named = {name: params[name] for name in ("Bucket", "Key", "UploadId")}
        pages = self._inside.get_paginator("list_parts").paginate(**named)
        listed = [part for page in pages for part in page.get("Parts", ())]
        s3_rules.require_complete(params, {part["PartNumber"]: Uploaded(part["ETag"], part["Size"]) for part in listed})
        if upload.get("ChecksumAlgorithm") != "CRC32" or upload.get("ChecksumType") == "FULL_OBJECT":
            return
        for part in params["MultipartUpload"]["Parts"]:
            if "ChecksumCRC32" not in part:
                message = f"The complete request must include the checksum for each part: missing for part {part['PartNumber']}"
                raise RefusedError("InvalidRequest", message)
            if part["ChecksumCRC32"] != self._checksums[params["UploadId"], part["PartNumber"]]:
                raise RefusedError("InvalidPart", "One or more of the specified parts could not be found.")

    def _head(self, params):
        """Return what is at a key, or None."""
        try:
            return self._inside.head_object(Bucket=params["Bucket"], Key=params["Key"])
        except ClientError:
            return None

    def _open_upload(self, params):
        listed = self._inside.list_multipart_uploads(Bucket=params["Bucket"], Prefix=params["Key"])
        named = (params["Key"], params["UploadId"])
        return next((upload for upload in listed.get("Uploads", ()) if (upload["Key"], upload["UploadId"]) == named), None)

    def _note_checksum(self, http_response, parsed, context, **_):
        if http_response.status_code == 200 and "ChecksumCRC32" in parsed:
            params = context["strict_s3"]
            self._checksums[params["UploadId"], params["PartNumber"]] = parsed["ChecksumCRC32"]

    def _note_copy_s_checksum(self, http_response, parsed, context, **_):
        """Tell the checksum of a copied part, as S3 does for an upload that was created with one."""
        params = context["strict_s3"]
        if http_response.status_code != 200 or (self._open_upload(params) or {}).get("ChecksumAlgorithm") != "CRC32":
            return
        ranged = {"Range": params["CopySourceRange"]} if "CopySourceRange" in params else {}
        body = self._inside.get_object(**_source(params), **ranged)["Body"].read()
        checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        self._checksums[params["UploadId"], params["PartNumber"]] = parsed["CopyPartResult"]["ChecksumCRC32"] = checksum

    def _list_checksums(self, http_response, parsed, context, **_):
        params = context["strict_s3"]
        upload = self._open_upload(params) if http_response.status_code == 200 else None
        if upload and upload.get("ChecksumAlgorithm") == "CRC32":
            parsed["ChecksumAlgorithm"] = "CRC32"
            for part in parsed.get("Parts", ()):
                part["ChecksumCRC32"] = self._checksums[params["UploadId"], part["PartNumber"]]


def _keep_params(params, context, **_):
    """Keep what the caller asked for until the call is sent."""
    context["strict_s3"] = params


def _check_kind_of_checksum(context, upload):
    """Refuse a part whose checksum is not of the kind that its upload was created with."""
    expected = upload.get("ChecksumAlgorithm", "null").lower()
    sent = (context.get("checksum", {}).get("request_algorithm") or {}).get("algorithm", "null").lower()
    if sent != expected:
        message = f"Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {sent}"
        raise RefusedError("InvalidRequest", message)


def _source(params):
    bucket, _, key = unquote(params["CopySource"]).partition("/")  # botocore has joined and quoted it by now
    return {"Bucket": bucket, "Key": key}
