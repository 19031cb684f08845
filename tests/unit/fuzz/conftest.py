"""One S3 in memory for all cases of a module, and what may come out of a function."""

import json
import tempfile
from pathlib import Path

import moto
import pytest

import prediction_handler as handler
from support.samples import BUCKET
from support.strict_s3 import StrictS3
from workflow import errors
from workflow import s3 as s3_module

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYFUZZKEY"
ROOT = str(Path(handler.__file__).parents[2])
NAMED = {error.__name__ for error in errors.BatchPredictionError.__subclasses__()} - {"InternalError"}


class Scene:
    """An S3 with one bucket, and the functions as Lambda calls them."""

    def __init__(self, client, temporary):
        self.s3 = client
        self.temporary = temporary

    def put(self, key, body):
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def get(self, key):
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self):
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())]

    def invoke(self, event):
        """Invoke the prediction function directly, as JSON comes and goes; returns "success" or the error's name."""
        response = handler.lambda_handler(json.loads(json.dumps(event)), None)
        body = json.loads(response["body"])
        assert response["statusCode"] in (200, 400, 500)
        self._shows_nothing(response["body"])
        if response["statusCode"] == 200:
            return "success"
        assert set(body) == {"error", "message"}
        assert body["error"] in NAMED, body
        assert (response["statusCode"] == 500) == (body["error"] == "TransientS3Error")
        return body["error"]

    def call(self, function, event):
        """Call a function as the state machine does; returns "success" or the error's name, and the result or error."""
        try:
            result = function(json.loads(json.dumps(event)), None)
        except (errors.BatchPredictionError, handler.PredictionError) as error:
            assert type(error).__name__ in NAMED, error  # noqa: PT017 - which of them is not foreseen
            self._shows_nothing(str(error))
            return type(error).__name__, error
        self._shows_nothing(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return "success", result

    def _shows_nothing(self, text):
        text.encode()  # Lambda's runtime could not send it otherwise
        for inside in ("Traceback", 'File "', "File \\", "site-packages", ROOT, str(self.temporary), SECRET):
            assert inside not in text
        assert not list(self.temporary.iterdir())


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    temporary = tmp_path_factory.mktemp("tmp")
    with pytest.MonkeyPatch.context() as patch, moto.mock_aws():
        for name, value in {"AWS_ACCESS_KEY_ID": "AKIAFUZZ", "AWS_SECRET_ACCESS_KEY": SECRET}.items():
            patch.setenv(name, value)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        patch.setattr(tempfile, "tempdir", str(temporary))
        client = StrictS3().client()
        client.create_bucket(Bucket=BUCKET)
        for module in (s3_module, handler):
            patch.setattr(module, "_s3_client" if module is handler else "s3_client", lambda: client)
        for name in ("validate_request", "plan_chunks", "merge_outputs", "record_failure", "explain_failure"):
            patch.setattr(f"workflow.{name}.s3_client", lambda: client)
        handler._model_cache.clear()
        yield Scene(client, temporary)
        handler._model_cache.clear()
