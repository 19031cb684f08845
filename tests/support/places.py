"""Where tests put things, and what they put there."""

import io

import joblib


def split_uri(uri):
    """Return bucket and key, or bucket and prefix."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def dumped(content, **options):
    """Return the bytes of a model; bytes and texts are left as they are."""
    if isinstance(content, (bytes, str)):
        return content
    buffer = io.BytesIO()
    joblib.dump(content, buffer, **options)
    return buffer.getvalue()
