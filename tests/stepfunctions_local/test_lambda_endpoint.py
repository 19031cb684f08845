"""The local Lambda understands what Step Functions Local sends it: the function's ARN in the path, and a body in pieces."""

import json
import socket
from urllib.parse import quote, urlsplit


def test_an_invocation_by_arn_with_a_chunked_body(aws, arns):
    """As old jars send it; the AWS SDK for Java sends a whole body."""
    address = urlsplit(aws.endpoint_url)
    event = json.dumps({"model_s3_uri": "ü"}).encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (event[:5], event[5:]))
    head = [
        f"POST /2015-03-31/functions/{quote(arns['PredictChunkFunctionArn'], safe='')}/invocations HTTP/1.1",
        f"Host: {address.netloc}",
        "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0",
        "Content-Type: application/x-amz-json-1.0",
        "Transfer-Encoding: chunked",
        "Connection: close",
    ]
    with socket.create_connection((address.hostname, address.port), 60) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + pieces + b"0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b'"statusCode": 400' in answer, answer  # the event has arrived: its problems are named
    assert b"feature_columns" in answer
