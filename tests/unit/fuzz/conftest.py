"""One S3 in memory for all cases of a module, what may come out of a function, and how many cases there were."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moto
import pytest

import prediction_handler as handler
from support.samples import BUCKET, EXECUTION
from support.strict_s3 import StrictS3
from workflow import errors
from workflow import s3 as s3_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYFUZZKEY"
ROOT = str(Path(handler.__file__).parents[2])
NAMED = {error.__name__ for error in errors.BatchPredictionError.__subclasses__()} - {"InternalError"}

CASES: Counter[str] = Counter()


class Scene:
    """An S3 with one bucket, and the functions as Lambda calls them."""

    def __init__(self, client: S3Client, temporary: Path) -> None:
        self.s3 = client
        self.temporary = temporary
        self.execution = EXECUTION

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self) -> list[str]:
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", ())]

    def invoke(self, event: Any) -> str:
        """Invoke the prediction function directly, as JSON comes and goes; returns "success" or the error's name."""
        response = handler.lambda_handler(json.loads(json.dumps(event)), None)
        body = json.loads(response["body"])
        assert response["statusCode"] in (200, 400, 500)
        self._shows_nothing(response["body"])
        if response["statusCode"] == 200:
            return self._counted("success")
        assert set(body) == {"error", "message"}
        assert body["error"] in NAMED, body
        assert (response["statusCode"] == 500) == (body["error"] == "TransientS3Error")
        return self._counted(body["error"])

    def call(self, function: Callable[[Any, Any], Any], event: Any) -> tuple[str, Any]:
        """Call a function as the state machine does; returns "success" or the error's name, and the result or error."""
        try:
            result = function(json.loads(json.dumps(event)), None)
        except (errors.BatchPredictionError, handler.PredictionError) as error:
            assert type(error).__name__ in NAMED, error  # noqa: PT017 - which of them is not foreseen
            self._shows_nothing(str(error))
            return self._counted(type(error).__name__), error
        self._shows_nothing(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return self._counted("success"), result

    def _shows_nothing(self, text: str) -> None:
        text.encode()  # Lambda's runtime could not send it otherwise
        for inside in ("Traceback", 'File "', "File \\", "site-packages", ROOT, str(self.temporary), SECRET):
            assert inside not in text
        assert not list(self.temporary.iterdir())

    def _counted(self, outcome: str) -> str:
        CASES[outcome] += 1
        return outcome


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
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


@pytest.fixture(scope="session", autouse=True)
def _figures(say: Callable[[str], None]) -> Iterator[None]:
    yield
    said = ", ".join(f"{outcome} {cases}" for outcome, cases in CASES.most_common())
    say(f"fuzz cases: {CASES.total()} ({said})")
