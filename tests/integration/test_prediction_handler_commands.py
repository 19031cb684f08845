"""docs/prediction_handler.md, followed from top to bottom on the embedded AWS, IAM enforced: each `bash` and `python` block.

`aws` is tests/support/aws_cli.py; `AWS_CLI=aws` in the environment takes the real one.
"""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from batch_predict.local.deploy import zip_function
from support import aws_cli
from support.pages import blocks, run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/prediction_handler.md").read_text()
BUCKETS = ("my-models", "my-data", "my-output", "my-deploy")
WORK = "s3://my-output/output/flights.csv.work/flights.csv"
OUTPUT = {"Bucket": "my-output", "Key": "output/flights.csv"}


@pytest.fixture
def buckets(aws):
    s3 = aws.client("s3")
    for bucket in BUCKETS:
        s3.create_bucket(Bucket=bucket)
    yield
    for bucket in BUCKETS:
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=item["Key"])
        s3.delete_bucket(Bucket=bucket)


@pytest.fixture
def planned(aws, stored, run_execution):
    """A run of the workflow that has a plan; returns its ARN."""
    output = f"s3://{aws.bucket}/output/one-chunk.csv"
    execution = run_execution(aws, {**stored, "output_s3_uri": output, "dry_run": True})
    assert execution["status"] == "SUCCEEDED", execution
    yield execution["executionArn"]
    s3 = aws.client("s3")
    for item in s3.list_objects_v2(Bucket=aws.bucket, Prefix="output/one-chunk.csv")["Contents"]:
        s3.delete_object(Bucket=aws.bucket, Key=item["Key"])


@pytest.fixture
def run_block(aws, planned, tmp_path):
    """Run a block of the page in a directory that looks like a checkout."""
    for name in ("examples", "functions"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "dist").mkdir()
    # Its libraries are the environment's, as in every function on the embedded AWS.
    (tmp_path / "dist/predict-arm64-py313.zip").write_bytes(
        zip_function(ROOT / "functions/predict", "prediction_handler.lambda_handler")
    )
    real = os.environ.get("AWS_CLI")
    (tmp_path / "bin").mkdir()
    if real:
        (tmp_path / "bin/aws").symlink_to(shutil.which(real))
    else:
        aws_cli.install(tmp_path / "bin")
    environment = {
        "PATH": os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": os.environ["HOME"] if real else str(tmp_path),
        "PYTHONPATH": "functions/predict",
        **aws.environment(),
        "EXECUTION_ARN": planned,
        "CHUNK_INDEX": "0",
        "PREDICT_FUNCTION": aws.predict_function_name,
    }

    def run_block(language, block):
        return run(language, block, tmp_path, environment).stdout

    return run_block


def answer_to(functions, output, receipt):
    """Invoke the page's function for a receipt."""
    event = json.loads(re.search(r"<<'END'\n(.*?)^END$", PAGE, re.DOTALL | re.MULTILINE)[1])
    event |= {"output_s3_uri": output, "receipt_s3_uri": receipt}
    return json.loads(functions.invoke(FunctionName="predict", Payload=json.dumps(event))["Payload"].read())


def wait_for_output(s3):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            return s3.head_object(**OUTPUT)
        except ClientError:
            time.sleep(0.1)
    raise AssertionError(OUTPUT)


@pytest.mark.thorough
def test_the_page_can_be_followed(aws, buckets, run_block):
    s3, functions = aws.client("s3"), aws.client("lambda")
    printed = {}
    for language, block in blocks(PAGE, "bash|python"):
        if "create-function" in block:  # LOCAL_ADAPTATIONS in batch_predict/local/deploy.py says why
            block = block.replace("--runtime python3.13", "--runtime provided.al2023")  # noqa: PLW2901
        if "--invocation-type Event" in block:
            s3.delete_object(**OUTPUT)
        if "delete-function" in block:
            receipts = [answer_to(functions, output, f"{output}.json") for output in (WORK, f"s3://my-output/{OUTPUT['Key']}")]
        printed[block] = run_block(language, block)
        if "--invocation-type Event" in block:
            wait_for_output(s3)

    def output_of(words):
        (output,) = [output for block, output in printed.items() if words in block]
        return output

    by_hand, scored_file = output_of("import load_data").split("3 0 ", 1)
    assert by_hand.count("\n") == 4
    assert [line.partition(",")[0] for line in scored_file.splitlines()] == ["id", "007", "008", "009", ""]
    answer, scored = output_of("--cli-read-timeout").split("}id,", 1)
    (answer,) = re.findall(r'^\{"statusCode": 200.*$', f"{answer}}}", re.MULTILINE)
    body = json.loads(json.loads(answer)["body"])
    (documented,) = [json.loads(text) for _, text in blocks(PAGE, "json") if "rows_read" in text]
    measured = {"milliseconds", "started", "output_bytes", "model"}  # other versions print other digits
    assert {name: value for name, value in body.items() if name not in measured} == {
        name: value for name, value in documented.items() if name not in measured
    }
    assert re.fullmatch(r"distance,dep_delay,predicted_arr_delay\n007,1400,2,\S+\n008,1416,4,\S+\n009,1089,-1,\S+\n", scored)
    assert output_of("total_max_attempts") == "3 rows in s3://my-output/output/flights.csv\n"
    assert output_of("absent = ") == "Unhandled InputNotFoundError s3://my-data/data/absent.csv does not exist (S3: NoSuchKey)\n"
    assert output_of("by-hand.csv").startswith("{'statusCode': 200")

    assert [answer["statusCode"] for answer in receipts] == [200, 400]  # "Permissions" says so
    assert "(S3: 403)" in receipts[1]["body"]

    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function(FunctionName="predict")
    iam = aws.client("iam")
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="predict")
