"""The local Lambda understands what Step Functions Local sends it: the function's ARN in the path, and a body in pieces."""

import json
import socket
from urllib.parse import quote, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def test_an_invocation_by_arn_with_a_chunked_body(aws, arns):
    """As old jars send it; the AWS SDK for Java sends a whole body."""
    address = urlsplit(aws.endpoint_url)
    event = json.dumps({"model_s3_uri": "ü"}).encode()
    path = f"/2015-03-31/functions/{quote(arns['PredictChunkFunctionArn'], safe='')}/invocations"
    signed = AWSRequest("POST", aws.endpoint_url + path, {"Content-Type": "application/x-amz-json-1.0"}, event)
    SigV4Auth(Credentials("test", aws.secret_access_key), "lambda", aws.region).add_auth(signed)
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (event[:5], event[5:]))
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: {address.netloc}",
        *(f"{name}: {value}" for name, value in signed.headers.items()),
        "Transfer-Encoding: chunked",
        "Connection: close",
    ]
    with socket.create_connection((address.hostname, address.port), 60) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + pieces + b"0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b'"statusCode": 400' in answer, answer  # the event has arrived: its problems are named
    assert b"prediction_column_name is missing" in answer
