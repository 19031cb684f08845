"""examples/prediction_function, applied to the embedded AWS and destroyed again: where there is a Terraform.

    TERRAFORM=terraform .venv/bin/python -m pytest tests/integration/test_terraform_module.py

`terraform init` fetches the provider hashicorp/aws; TF_CLI_ARGS_init=-plugin-dir=DIRECTORY takes one that is there already.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from batch_predict.local.deploy import zip_function

ROOT = Path(__file__).parents[2]
TERRAFORM = os.environ.get("TERRAFORM")
BUCKETS = {"model_bucket": "tf-models", "data_bucket": "tf-data", "output_bucket": "tf-output", "package_bucket": "tf-packages"}
KEY = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"
# What the embedded AWS needs: no host names of buckets, nobody to ask for an account, and the runtime of LOCAL_ADAPTATIONS.
OVERRIDE = """
provider "aws" {
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

resource "aws_lambda_function" "predict" {
  runtime = "provided.al2023"
}
"""

pytestmark = pytest.mark.skipif(not TERRAFORM, reason="TERRAFORM does not name a terraform")


@pytest.fixture
def buckets(aws):
    s3 = aws.client("s3")
    for bucket in BUCKETS.values():
        s3.create_bucket(Bucket=bucket)
    yield
    for bucket in BUCKETS.values():
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
            s3.delete_object(Bucket=bucket, Key=item["Key"])
        s3.delete_bucket(Bucket=bucket)


@pytest.fixture
def terraform(aws, tmp_path):
    module = tmp_path / "module"
    shutil.copytree(ROOT / "examples/prediction_function", module)
    (module / "embedded_override.tf").write_text(OVERRIDE)
    (module / "dist").mkdir()
    (module / "dist/predict-arm64-py313.zip").write_bytes(
        zip_function(ROOT / "functions/predict", "prediction_handler.lambda_handler")
    )
    prefixes = {"model_prefix": "models/", "data_prefix": "data/", "output_prefix": "output/"}
    variables = {**BUCKETS, **prefixes, "function_name": "tf-predict", "kms_key_arn": KEY}
    (module / "terraform.tfvars.json").write_text(json.dumps(variables))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        **aws.environment(),
        "CHECKPOINT_DISABLE": "1",
    }

    def terraform(*arguments):
        command = [TERRAFORM, *arguments, "-no-color"]
        done = subprocess.run(command, cwd=module, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    terraform("init", "-input=false")
    return terraform


def test_the_module_deploys_a_function_that_scores(aws, stored, flights_csv, buckets, terraform):
    terraform("fmt", "-check", "-diff")
    terraform("validate")
    terraform("apply", "-auto-approve", "-input=false")
    s3, functions, iam = aws.client("s3"), aws.client("lambda"), aws.client("iam")

    model = s3.get_object(Bucket=aws.bucket, Key="models/arrival_delay.joblib")["Body"].read()
    s3.put_object(Bucket="tf-models", Key="models/arrival_delay.joblib", Body=model)
    s3.put_object(Bucket="tf-data", Key="data/flights.csv", Body=flights_csv)
    event = {
        **stored,
        "model_s3_uri": "s3://tf-models/models/arrival_delay.joblib",
        "data_s3_uri": "s3://tf-data/data/flights.csv",
        "output_s3_uri": "s3://tf-output/output/flights.csv",
    }
    answer = json.loads(functions.invoke(FunctionName="tf-predict", Payload=json.dumps(event))["Payload"].read())
    assert answer["statusCode"] == 200, answer
    assert s3.head_object(Bucket="tf-output", Key="output/flights.csv")["ContentLength"] > len(flights_csv)
    outside = json.dumps({**event, "output_s3_uri": "s3://tf-output/elsewhere/flights.csv"})
    answer = json.loads(functions.invoke(FunctionName="tf-predict", Payload=outside)["Payload"].read())
    assert "not under s3://tf-output/output/" in answer["body"]

    policy = iam.get_role_policy(RoleName="tf-predict", PolicyName="ReadAndWriteWithKey")["PolicyDocument"]
    assert policy["Statement"][0]["Resource"] == KEY
    assert policy["Statement"][0]["Condition"] == {"StringEquals": {"kms:ViaService": f"s3.{aws.region}.amazonaws.com"}}

    assert "No changes." in terraform("plan", "-input=false")
    terraform("destroy", "-auto-approve", "-input=false")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function(FunctionName="tf-predict")
