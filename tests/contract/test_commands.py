"""The commands that the documentation prints are commands: of make, and of the AWS CLI by the models that it is made from."""

import os
import re
import shlex
import subprocess

import botocore.session
from botocore import xform_name

from batch_predict.cli.local_commands import DEMO_EXAMPLE

# What the AWS CLI takes with every command, and what it adds to what the models say.
EVERYWHERE = {"region", "profile", "output", "query", "endpoint-url", "no-cli-pager", "no-paginate", "max-items", "cli-input-json"}
EVERYWHERE |= {"cli-binary-format", "cli-read-timeout", "cli-connect-timeout", "no-sign-request", "page-size", "starting-token"}
OF_THE_CLI = {
    "s3": {"cp", "ls", "mb", "mv", "rb", "rm", "sync"},
    "cloudformation": {"deploy", "package"},
    "configure": {"list", "sso"},
    "logs": {"tail"},
    "sso": {"login"},
}
SAME_AS = {("lambda", "create-function", "zip-file"): "code"}


def commands(text, program="aws"):
    """The commands of a page's code blocks, as lists of words; a comment, a pipe or a bracket ends one."""
    found = []
    for block in re.findall(r"^ *```\w*\n(.*?)```", text, re.DOTALL | re.MULTILINE):
        lines = iter(block.replace("\\\n", " ").splitlines())
        for line in lines:
            if not re.search(rf"(^|[ (]){program} ", line):
                continue  # what a command prints, or another language
            while True:
                words = shlex.shlex(line, posix=True, punctuation_chars="();|&")
                try:
                    split = list(words)
                    break
                except ValueError:
                    line += "\n" + next(lines)  # noqa: PLW2901 - a quote that goes on
            while program in split:
                split = split[split.index(program) :]
                end = next((i for i, word in enumerate(split) if word and set(word) <= set("();|&")), len(split))
                found.append(split[1:end])
                split = split[end:]
    return found


def problem(words):
    """Return what the AWS CLI would say; None if it would run the command."""
    service, operation, *rest = words
    given = [word[2:].partition("=")[0] for word in rest if word.startswith("--")]
    if operation in OF_THE_CLI.get(service, ()):
        return None
    session = botocore.session.get_session()
    name = {"s3api": "s3"}.get(service, service)
    if name not in session.get_available_services():
        return f"no service {service}"
    if service == "s3":  # all of it is the CLI's own
        return f"s3 has no {operation}"
    model = session.get_service_model(name)
    if operation == "wait":
        waiters = session.get_waiter_model(name)
        by_name = {kebab(waiter): waiters.get_waiter(waiter).operation for waiter in waiters.waiter_names}
        operation = rest[0]
    else:
        by_name = {kebab(operation_name): operation_name for operation_name in model.operation_names}
    if operation not in by_name:
        return f"{service} has no {operation}"
    shape = model.operation_model(by_name[operation]).input_shape
    members = {kebab(member): shape.members[member] for member in shape.members}
    named = [SAME_AS.get((service, operation, option), option) for option in given if option not in EVERYWHERE]
    unknown = [option for option in named if option not in members and option.removeprefix("no-") not in members]
    missing = {kebab(member) for member in shape.required_members} - set(named)
    return f"{operation}: unknown {unknown}, missing {missing}" if unknown or ("cli-input-json" not in given and missing) else None


def kebab(name):
    return xform_name(name, "-")


def test_aws_commands_have_services_operations_and_options_that_are_there(root):
    pages = {path.relative_to(root).as_posix(): path.read_text() for path in [root / "README.md", *root.glob("docs/*.md")]}
    found = [(page, words) for page, text in pages.items() for words in commands(text)]
    assert ("README.md", "stepfunctions", "start-execution") in {(page, *words[:2]) for page, words in found}
    assert [(page, words, problem(words)) for page, words in found if problem(words)] == []


def test_the_readmes_commands_are_those_that_tests_run(root):
    readme = (root / "README.md").read_text()
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= {target for words in commands(readme, "make") for target in words} <= targets
    ours = [words[:3] for words in commands(readme, "batch-predict")]
    assert ours == [
        ["run", "--model", "model.joblib"],  # tests/installed, in an environment of its own
        ["init"],  # tests/unit/cli/test_init.py
        ["deploy"],  # tests/unit/cli/test_deploy_command.py
    ]


def test_make_demo_is_the_demo_that_tests_run(root):
    """make demo scores all flights; the help's example scores a slice of them."""
    environment = {"PATH": os.environ["PATH"]}  # nothing of the make that runs the tests
    command = ["make", "--dry-run", "demo"]
    printed = subprocess.run(command, check=True, cwd=root, env=environment, capture_output=True, text=True).stdout
    assert printed.splitlines()[-1] == ".venv/bin/batch-predict demo"
    assert DEMO_EXAMPLE.rpartition("\b\n")[2].strip().startswith("batch-predict demo --rows ")
