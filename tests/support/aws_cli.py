"""The AWS CLI's commands as far as the documentation uses them, by botocore's own models of the services.

    python aws_cli.py lambda invoke --function-name predict --payload fileb://event.json answer.json

The AWS CLI itself pins a botocore of its own and so cannot live beside the project's. An operation, an option or a field that
AWS does not know fails here as it does there, and what is left is really sent.
"""

import json
import re
import shlex
import sys
from pathlib import Path

import botocore.session
import jmespath
from botocore import xform_name
from botocore.config import Config

GLOBAL_OPTIONS = ("query", "output", "cli-read-timeout")
SERVICES = {"s3api": "s3"}


def install(directory):
    """Write the command `aws` into a directory."""
    path = directory / "aws"
    path.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, __file__])} "$@"\n')
    path.chmod(0o755)


def main(arguments):
    service, *rest = arguments
    if (service, rest[0]) == ("s3", "cp"):
        return copy(*rest[1:])
    waits = rest[0] == "wait"
    operation, *words = rest[1:] if waits else rest
    options, files = read_options(words)
    settings = {name: options.pop(name)[0] for name in GLOBAL_OPTIONS if name in options}
    client = make_client(SERVICES.get(service, service), settings)
    if waits:
        waiter = client.get_waiter(operation.replace("-", "_"))
        model = client.meta.service_model.operation_model(waiter.config.operation)
        return waiter.wait(**read_parameters(model.input_shape, options))
    names = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    model = client.meta.service_model.operation_model(names[operation])
    answer = getattr(client, operation.replace("-", "_"))(**read_parameters(model.input_shape, options))
    answer.pop("ResponseMetadata")
    if model.has_streaming_output:
        (path,) = files
        Path(path).write_bytes(answer.pop(model.output_shape.serialization["payload"]).read())
    elif files:
        raise SystemExit(f"Unknown options: {' '.join(files)}")
    return show(answer, settings)


def make_client(service, settings):
    timeout = {"read_timeout": int(settings["cli-read-timeout"])} if "cli-read-timeout" in settings else {}
    return botocore.session.Session().create_client(service, config=Config(**timeout))


def copy(source, target):
    client = make_client("s3", {})
    if target.startswith("s3://"):
        bucket, _, key = target.removeprefix("s3://").partition("/")
        key += Path(source).name if key.endswith("/") else ""
        client.put_object(Bucket=bucket, Key=key, Body=Path(source).read_bytes())
        return
    bucket, _, key = source.removeprefix("s3://").partition("/")
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    if target == "-":
        sys.stdout.buffer.write(body)
    else:
        Path(target).write_bytes(body)


def read_options(words):
    """Split a command's words into its options, each with its values, and what is none."""
    options, files, name = {}, [], None
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            options[name] = []
        elif name and (not options[name] or name == "architectures"):
            options[name].append(word)
        else:
            files.append(word)
    return options, files


def read_parameters(shape, options):
    members = {xform_name(name, "-"): (name, member) for name, member in (shape.members if shape else {}).items()}
    unknown = [f"--{option}" for option in options if option not in members]
    if unknown:
        raise SystemExit(f"Unknown options: {', '.join(unknown)}")
    return {members[option][0]: read_value(members[option][1], values) for option, values in options.items()}


def read_value(shape, values):
    if shape.type_name == "boolean":
        return True
    (text,) = values if shape.type_name != "list" else values[:1]
    if text.startswith("fileb://"):
        return Path(text.removeprefix("fileb://")).read_bytes()
    if text.startswith("file://"):
        text = Path(text.removeprefix("file://")).read_text()
    if shape.type_name in ("structure", "map", "list") and text[:1] in "{[":
        return json.loads(text)
    if shape.type_name == "list":
        return list(values)
    return read_shorthand(shape, text)


def read_shorthand(shape, text):
    """`Name=value,Other={Inner=value}`: https://docs.aws.amazon.com/cli/latest/userguide/cli-usage-shorthand.html"""
    if shape.type_name in ("structure", "map"):
        fields = re.findall(r"([^=,{}]+)=({[^}]*}|[^,]*)", text)
        members = dict(shape.members) if shape.type_name == "structure" else {}
        return {name: read_shorthand(members.get(name, Text), value.strip("{}")) for name, value in fields}
    return int(text) if shape.type_name in ("integer", "long") else text


class Text:
    """The shape of a value whose name AWS does not know: botocore refuses it."""

    type_name = "string"


def show(answer, settings):
    result = jmespath.search(settings["query"], answer) if "query" in settings else answer
    if settings.get("output") == "text":
        print("\t".join(map(str, result)) if isinstance(result, list) else result)
    elif result:
        print(json.dumps(result, indent=4, default=str))


if __name__ == "__main__":
    main(sys.argv[1:])
