"""Who may write data and start a run cannot make a model: a file can be a CSV and a pickle at once."""

import json

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from batch_predict.deployed import stack_directory
from batch_predict.local.aws import STACK_PARAMETERS
from batch_predict.local.deploy import deploy

pytestmark = pytest.mark.emulator("it deploys a stack of its own by the local steps")

POLYGLOT = b'Va,"\ncbuiltins\nexec\n(Vraise SystemExit(7)\ntR."\n1,2\n'
"""One record under a header; for pickle, a call of exec. An output begins with these bytes."""


@pytest.fixture(scope="module")
def nested(aws):
    """The stack with an output's place within the models', which the template's rules cannot see."""
    parameters = STACK_PARAMETERS | {"ModelPrefix": "models/", "OutputPrefix": "models/scored/"}
    yield deploy(aws.client, stack_directory(), bucket=aws.bucket, stack_name="nested", parameters=parameters)
    aws.client("cloudformation").delete_stack(StackName="nested")


def test_an_output_that_could_be_loaded_as_a_model_is_not_written(aws, nested, run_execution, put, uris, places):
    model = LinearRegression().fit(pd.DataFrame({"Va": [1.0, 2.0]}), [1.0, 2.0])
    request = {
        "model_s3_uri": put(f"{places.models}polyglot.joblib", model),
        "data_s3_uri": put(f"{places.data}polyglot.csv", POLYGLOT),
        "output_s3_uri": f"s3://{aws.bucket}/models/scored/result.csv",
        "prediction_column_name": "prediction",
        "feature_columns": ["Va"],
    }

    ended = run_execution(aws, request, state_machine_arn=nested["StateMachineArn"])
    assert (ended["status"], ended["error"]) == ("FAILED", "InvalidRequestError")
    assert "models/scored/result.csv, where models are read (s3://batch-predict/models/)" in ended["cause"]

    answer = aws.client("lambda").invoke(FunctionName=nested["PredictFunctionName"], Payload=json.dumps(request))
    assert "would be written where models are read (s3://batch-predict/models/)" in json.loads(answer["Payload"].read())["body"]
    assert not uris(f"s3://{aws.bucket}/models/scored/")
