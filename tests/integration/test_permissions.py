"""What the role of each function may do, and what it may not: asked with the role's own credentials, IAM enforced.

Every call of `CALLS` is tried at every place of `PLACES`: what `ALLOWED` lists must work, and everything else must be denied.

The emulator is laxer than AWS in what matters here: it does not ask for s3:ListBucket when it chooses between 403 and 404 for a
missing object, and it knows no kms:ViaService. So tests/contract/test_grants.py reads the policies' text, too. The
state machine's role is written, not proven: the emulator does nothing under it.
"""

from collections import Counter
from contextlib import suppress
from typing import NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from batch_predict import deployed
from batch_predict.errors import BatchPredictError
from batch_predict.local import deploy
from batch_predict.local.aws import LOCAL_BUCKET as BUCKET
from support.s3_proxy import function_names

pytestmark = pytest.mark.emulator("it makes buckets, stacks and functions, and is denied what it asks for")

ELSEWHERE = "permissions-elsewhere"
MADE = "permissions-made-by-the-stack"
DENIED = {"AccessDenied", "AccessDeniedException", "403"}  # the last is the answer to a HEAD


class Place(NamedTuple):
    bucket: str
    prefix: str

    def key(self, name):
        """The fields that name an object there."""
        return {"Bucket": self.bucket, "Key": f"{self.prefix}{name}"}


PLACES = {
    "model": Place(BUCKET, "models/permissions/"),
    "data": Place(BUCKET, "data/permissions/"),
    "output": Place(BUCKET, "output/permissions/"),
    "work": Place(BUCKET, "output/permissions/run.csv.work/identity/fingerprint/"),
    "beside models/": Place(BUCKET, "models-of-others/"),
    "beside data/": Place(BUCKET, "data-of-others/"),
    "beside output/": Place(BUCKET, "output-of-others/"),
    "another prefix": Place(BUCKET, "permissions/"),
    "a work prefix outside of output/": Place(BUCKET, "permissions/run.csv.work/identity/fingerprint/"),
    "the functions' code": Place(BUCKET, ".deploy/"),
    "models/ of another bucket": Place(ELSEWHERE, "models/permissions/"),
    "data/ of another bucket": Place(ELSEWHERE, "data/permissions/"),
    "output/ of another bucket": Place(ELSEWHERE, "output/permissions/"),
    "a work prefix of another bucket": Place(ELSEWHERE, "output/permissions/run.csv.work/identity/fingerprint/"),
}

ALLOWED = {
    "ValidateRequestFunction": {
        "get": {"model", "data"},
        "head": {"model", "data"},
        "get version": {"model"},
        "list": {"model", "data"},
    },
    "PredictChunkFunction": {
        "get": {"model", "data", "work"},
        "head": {"model", "data", "work"},
        "get version": {"model"},
        "list": {"model", "data"},
        "put": {"output", "work"},
        "upload": {"output", "work"},
        "abort upload": {"output", "work"},
        "copy from": {"model", "data", "work"},  # what may be read may be written to a work prefix
        "write tags": {"work"},
    },
    "PlanChunksFunction": {
        "get": {"data", "output", "work"},
        "head": {"data", "output", "work"},
        "list": {"data", "output", "work"},
        "put": {"work"},
        "upload": {"work"},
        "copy from": {"data", "output", "work"},
        "write tags": {"work"},
    },
    "RecordFailureFunction": {
        "put": {"work"},
        "upload": {"work"},
        "write tags": {"work"},
    },
    "MergeOutputsFunction": {
        "get": {"data", "output", "work"},
        "head": {"data", "output", "work"},
        "list": {"output", "work"},
        "put": {"output", "work"},
        "upload": {"output", "work"},
        "abort upload": {"output", "work"},
        "list parts": {"output", "work"},
        "copy from": {"data", "output", "work"},
        "delete": {"work"},
        "delete several": {"work"},
        "write tags": {"work"},
    },
    "ExplainFailureFunction": {
        "get": {"output", "work"},
        "head": {"output", "work"},
        "list": {"output", "work"},
    },
}

OTHERS = [name for name in ALLOWED if name != "PredictChunkFunction"]
"""Roles that `make test-all` tries."""

counted = Counter()


@pytest.fixture(scope="module", autouse=True)
def objects(aws, say):
    """An object in every place; at the end, none, and a line that says how much was tried."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=ELSEWHERE)
    for place in PLACES.values():
        s3.put_object(**place.key("there"), Body=b"x")
    yield
    for place in PLACES.values():
        for name in ("there", "written", "uploaded"):
            s3.delete_object(**place.key(name))
    s3.delete_bucket(Bucket=ELSEWHERE)
    say(f"permissions of {len(ALLOWED)} roles: {counted['denied']} calls denied, {counted['allowed']} allowed")


@pytest.fixture(scope="module")
def client_of(aws):
    """Make a client with the credentials of a function's role; the emulator lets root assume what only Lambda could."""
    functions = function_names(aws)

    def client_of(function, service="s3", stack=functions):
        role = aws.client("lambda").get_function_configuration(FunctionName=stack[function])["Role"]
        assumed = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="permissions")["Credentials"]
        return boto3.client(
            service,
            region_name=aws.region,
            endpoint_url=aws.endpoint_url,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, proxies={}),
            aws_access_key_id=assumed["AccessKeyId"],
            aws_secret_access_key=assumed["SecretAccessKey"],
            aws_session_token=assumed["SessionToken"],
        )

    return client_of


def upload(s3, place, root):
    fields = place.key("uploaded")
    fields["UploadId"] = s3.create_multipart_upload(**fields)["UploadId"]
    part = s3.upload_part(**fields, PartNumber=1, Body=b"x")
    s3.complete_multipart_upload(**fields, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})


def on_upload(method):
    def call(s3, place, root):
        fields = place.key("uploaded")
        fields["UploadId"] = root.create_multipart_upload(**fields)["UploadId"]
        try:
            getattr(s3, method)(**fields)
        finally:
            with suppress(root.exceptions.NoSuchUpload):
                root.abort_multipart_upload(**fields)

    return call


def delete_several(s3, place, root):
    answer = s3.delete_objects(Bucket=place.bucket, Delete={"Objects": [{"Key": f"{place.prefix}absent"}]})
    for error in answer.get("Errors", ()):  # S3 refuses key by key
        raise ClientError({"Error": error}, "DeleteObjects")


# Each is given the role's client, a place, and root's client.
CALLS = {
    "get": lambda s3, place, _: s3.get_object(**place.key("there")),
    "head": lambda s3, place, _: s3.head_object(**place.key("there")),
    "get version": lambda s3, place, _: s3.get_object(**place.key("there"), VersionId="null"),
    "list": lambda s3, place, _: s3.list_objects_v2(Bucket=place.bucket, Prefix=place.prefix),
    "list versions": lambda s3, place, _: s3.list_object_versions(Bucket=place.bucket, Prefix=place.prefix),
    "put": lambda s3, place, _: s3.put_object(**place.key("written"), Body=b"x"),
    "upload": upload,
    "abort upload": on_upload("abort_multipart_upload"),
    "list parts": on_upload("list_parts"),
    # To where a role that writes at all may certainly write.
    "copy from": lambda s3, place, _: s3.copy_object(**PLACES["work"].key("written"), CopySource=place.key("there")),
    "delete": lambda s3, place, _: s3.delete_object(**place.key("absent")),
    "delete several": delete_several,
    "delete version": lambda s3, place, _: s3.delete_object(**place.key("absent"), VersionId="null"),
    "read tags": lambda s3, place, _: s3.get_object_tagging(**place.key("there")),
    "write tags": lambda s3, place, _: s3.put_object_tagging(**place.key("there"), Tagging={"TagSet": []}),
    "read ACL": lambda s3, place, _: s3.get_object_acl(**place.key("there")),
}

# Of a whole bucket, or of other services: nobody's, but for the merge, which looks for what a killed attempt has left.
OTHER_CALLS = {
    "list without a prefix": ("s3", "list_objects_v2", {"Bucket": BUCKET}),
    "list with an empty prefix": ("s3", "list_objects_v2", {"Bucket": BUCKET, "Prefix": ""}),
    "list the upper level": ("s3", "list_objects_v2", {"Bucket": BUCKET, "Prefix": "", "Delimiter": "/"}),
    "list by the start of a prefix": ("s3", "list_objects_v2", {"Bucket": BUCKET, "Prefix": "m"}),
    "list in the old way": ("s3", "list_objects", {"Bucket": BUCKET}),
    "list uploads": ("s3", "list_multipart_uploads", {"Bucket": BUCKET}),
    "read the bucket's policy": ("s3", "get_bucket_policy", {"Bucket": BUCKET}),
    "write the bucket's policy": ("s3", "put_bucket_policy", {"Bucket": BUCKET, "Policy": "{}"}),
    "switch versioning": ("s3", "put_bucket_versioning", {"Bucket": BUCKET, "VersioningConfiguration": {"Status": "Suspended"}}),
    "delete the bucket": ("s3", "delete_bucket", {"Bucket": BUCKET}),
    "make a bucket": ("s3", "create_bucket", {"Bucket": "permissions-new"}),
    "list buckets": ("s3", "list_buckets", {}),
    "invoke a function": ("lambda", "invoke", {"FunctionName": "any"}),
    "list functions": ("lambda", "list_functions", {}),
    "list state machines": ("stepfunctions", "list_state_machines", {}),
    "list roles": ("iam", "list_roles", {}),
    "list keys": ("kms", "list_keys", {}),
}
OTHERS_ALLOWED = {("MergeOutputsFunction", "list uploads")}


def is_denied(call, *arguments, **fields):
    """Make the call; return whether the role may not do it. Any other error is an error."""
    try:
        call(*arguments, **fields)
    except ClientError as error:
        if error.response["Error"]["Code"] not in DENIED:
            raise
        counted["denied"] += 1
        return True
    counted["allowed"] += 1
    return False


@pytest.mark.parametrize("function", ["PredictChunkFunction", *(pytest.param(name, marks=pytest.mark.thorough) for name in OTHERS)])
def test_a_role_may_do_what_its_function_does_and_nothing_else(aws, client_of, function):
    s3, root = client_of(function), aws.client("s3")
    allowed = {
        (name, place)
        for name, call in CALLS.items()
        for place, location in PLACES.items()
        if not is_denied(call, s3, location, root)
    }
    assert allowed == {(name, place) for name, places in ALLOWED[function].items() for place in places}


@pytest.mark.thorough
@pytest.mark.parametrize("function", ALLOWED)
def test_the_merge_deletes_what_speaks_of_an_output_and_no_output(aws, client_of, function):
    names = ("run.csv.report.json", "run.csv.rejected.csv", "run.csv", "report.json.csv")
    keys = {name: f"output/permissions/{name}" for name in names}
    s3, root = client_of(function), aws.client("s3")
    etags = {name: root.put_object(Bucket=BUCKET, Key=key, Body=b"x")["ETag"] for name, key in keys.items()}
    deleted = {name for name, key in keys.items() if not is_denied(s3.delete_object, Bucket=BUCKET, Key=key, IfMatch=etags[name])}
    for key in keys.values():
        root.delete_object(Bucket=BUCKET, Key=key)
    assert deleted == (set(names[:2]) if function == "MergeOutputsFunction" else set())


@pytest.mark.parametrize("function", ["PredictChunkFunction", *(pytest.param(name, marks=pytest.mark.thorough) for name in OTHERS)])
def test_no_role_touches_a_whole_bucket_or_another_service(aws, client_of, function):
    allowed = {
        (function, name)
        for name, (service, method, fields) in OTHER_CALLS.items()
        if not is_denied(getattr(client_of(function, service), method), **fields)
    }
    assert allowed == {pair for pair in OTHERS_ALLOWED if pair[0] == function}


@pytest.mark.thorough
def test_root_may_do_all_of_it(aws):
    """What is denied to a role is denied because of the role."""
    root = aws.client("s3")
    for call in CALLS.values():
        for place in PLACES.values():
            call(root, place, root)


@pytest.fixture(scope="module")
def options(aws):
    """The stack once more, with a key and a bucket of its own; returns its resources by name."""
    key = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"
    buckets = {"ModelBucket": BUCKET, "DataBucket": BUCKET, "OutputBucket": MADE}
    parameters = {**buckets, "OutputPrefix": "output/", "CreateOutputBucket": "true", "KmsKeyArn": key}
    deploy.deploy(aws.client, deployed.stack_directory(), bucket=BUCKET, stack_name="permissions", parameters=parameters)
    cloudformation = aws.client("cloudformation")
    found = cloudformation.describe_stack_resources(StackName="permissions")["StackResources"]
    yield {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in found}
    cloudformation.delete_stack(StackName="permissions")


def test_the_stack_makes_a_private_versioned_bucket_if_asked(aws, options):
    s3 = aws.client("s3")
    assert s3.get_bucket_versioning(Bucket=MADE)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=MADE)["PublicAccessBlockConfiguration"].values())


def test_the_bucket_that_the_stack_makes_answers_tls_only(aws, options, client_of):
    """The emulator's endpoint is plain HTTP."""
    put = {"Bucket": MADE, "Key": "output/written", "Body": b"x"}
    predict = client_of("PredictChunkFunction", stack=options)
    assert is_denied(predict.put_object, **put)

    aws.client("s3").delete_bucket_policy(Bucket=MADE)
    assert not is_denied(predict.put_object, **put)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("OutputPrefix", "output"),
        ("OutputPrefix", "*/"),
        ("OutputPrefix", "/"),
        ("OutputPrefix", "models/"),  # the default ModelPrefix
        ("ModelPrefix", ""),
        ("DataPrefix", "output/"),
        ("DataBucket", "*"),
        ("ModelBucket", "s3://models"),
        ("KmsKeyArn", "arn:aws:kms:us-east-1:000000000000:alias/mine"),
        ("KmsKeyArn", "*"),
    ],
)
def test_a_parameter_that_would_widen_the_permissions_is_refused(aws, parameter, value):
    parameters = {"ModelBucket": BUCKET, "DataBucket": BUCKET, "OutputBucket": BUCKET, parameter: value}
    with pytest.raises(BatchPredictError, match=parameter):
        deploy.deploy(aws.client, deployed.stack_directory(), bucket=BUCKET, stack_name="refused", parameters=parameters)
