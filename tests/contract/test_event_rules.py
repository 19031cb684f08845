"""The prediction handler stands alone: what it repeats of the workflow's limits and confinement is the same."""

import json
import re

import prediction_handler
from workflow import chunking, confinement, limits, s3


def test_both_confine_by_the_same_variables():
    assert {field: prediction_handler._PREFIX_VARIABLES[field] for field in confinement.PREFIX_VARIABLES} == (
        confinement.PREFIX_VARIABLES
    )


def test_both_refuse_the_same_keys():
    # Half a character is none of the handler's URIs at all.
    assert prediction_handler._AMBIGUOUS.pattern == confinement._AMBIGUOUS.pattern.replace(r"\ud800-\udfff", "")
    assert prediction_handler._DECODINGS == confinement.DECODINGS


def test_all_read_the_same_uris(schema):
    pattern = re.sub(r"\?P<\w+>", "", prediction_handler._S3_URI.pattern)
    assert pattern == s3._URI.pattern
    properties = schema["properties"]
    bucket = pattern.partition("/(.+)")[0].replace("([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])", "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
    for rule in (properties["model_s3_uri"], properties["data_s3_uri"], properties["data_s3_uri"]["items"]):
        assert rule["pattern"] == f"^{bucket}/.+$"
    assert properties["output_s3_uri"]["pattern"] == f"^{bucket}/.*[^/]$"


def test_a_request_is_bounded_as_its_events_are(schema):
    properties = schema["properties"]
    assert properties["feature_columns"]["maxItems"] == prediction_handler.MAX_COLUMNS
    assert properties["prediction_column_name"]["maxLength"] == prediction_handler.MAX_COLUMN_NAME_CHARACTERS
    assert properties["model_version_id"]["maxLength"] == prediction_handler.MAX_VERSION_ID_CHARACTERS
    assert limits.MAX_KEY_BYTES == prediction_handler.MAX_KEY_BYTES
    longest = len("s3://") + 63 + len("/") + limits.MAX_KEY_BYTES
    assert {properties[field]["maxLength"] for field in ("model_s3_uri", "data_s3_uri", "output_s3_uri")} == {longest}
    assert properties["data_s3_uri"]["items"]["maxLength"] == longest


def test_both_know_a_bundle_by_its_name_and_its_largest_size():
    for name in ("BUNDLE_SUFFIX", "MAX_BUNDLE_BYTES"):
        assert getattr(limits, name) == getattr(prediction_handler, name)


def test_the_handler_takes_what_the_planner_groups():
    assert chunking.MAX_SEGMENTS == prediction_handler.MAX_SEGMENTS
    segment = {"data_s3_uri": "k" * 1093, "byte_range": [10**13, 10**13], "data_etag": f'"{"0" * 32}-10000"'}
    assert prediction_handler.MAX_SEGMENTS * len(json.dumps(segment)) < prediction_handler.MAX_SEGMENTS_LIST_BYTES
