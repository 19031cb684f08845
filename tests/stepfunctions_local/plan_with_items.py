"""Deployed beside plan_chunks.py: its plan, with the items that a Distributed Map would read from S3 by itself."""

from workflow import plan_chunks
from workflow.s3 import get_json, s3_client


def lambda_handler(event, context):
    plan = plan_chunks.lambda_handler(event, context)
    if "continuation" in plan:
        return plan
    return {**plan, "items": get_json(s3_client(), f"s3://{plan['bucket']}/{plan['pending_key']}")}
