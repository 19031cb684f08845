"""Starts a function of the embedded AWS on AWS's own runtime client, awslambdaric, for the `bootstrap` that `deploy.py` zips.

Each path of the Runtime API begins with a key: AWS_LAMBDA_RUNTIME_API is `127.0.0.1:port/key`, which the client's compiled part
takes as it is. Its Python part, which says that a handler could not be imported, takes an address alone.
"""

import json
import os
import runpy
from typing import Any


def give_key() -> None:
    """Have the client's Python part ask under the key, too."""
    from awslambdaric.lambda_runtime_client import BaseLambdaRuntimeClient  # type: ignore[import-untyped]  # noqa: PLC0415

    call = BaseLambdaRuntimeClient.call_rapid

    def call_with_key(self: Any, http_method: str, endpoint: str, *arguments: Any, **named: Any) -> Any:
        self.lambda_runtime_address, _, key = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
        return call(self, http_method, f"/{key}{endpoint}" if key else endpoint, *arguments, **named)

    BaseLambdaRuntimeClient.call_rapid = call_with_key


if __name__ == "__main__":
    if "DEPLOYED_PACKAGE" in os.environ:
        from as_packaged import lack_other_modules  # type: ignore[import-not-found]

        lack_other_modules(json.loads(os.environ["DEPLOYED_PACKAGE"])["modules"])
    give_key()
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=False)
