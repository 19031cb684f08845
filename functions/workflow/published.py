"""Whether a request's output is there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contract import Output
from errors import InputNotFoundError
from s3 import get_json, head_object
from work import IDENTITY_METADATA, report_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def published_output(client: S3Client, output_s3_uri: str, identity: str, execution_arn: str) -> Output | None:
    """Return the output if it is there with its report as the result of this identity: nothing is left to do but to clean up."""
    try:
        report = get_json(client, report_uri(output_s3_uri))
        head = head_object(client, output_s3_uri)
        output = report["output"]
        if not Output.__required_keys__ <= output.keys():
            return None
        # An incomplete output is the result of one execution's bad luck: another execution makes its own.
        same_result = report["identity"] == identity if output["complete"] else report["execution"]["arn"] == execution_arn
        same_object = head.etag == output["etag"] and head.metadata.get(IDENTITY_METADATA) == report["identity"]
    except (InputNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return output if same_result and same_object else None
