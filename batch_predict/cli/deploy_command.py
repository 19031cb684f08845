"""The commands `batch-predict deploy` and `batch-predict eject`: from an installed batch-predict to a stack on AWS."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from batch_predict.cli.commands import command, example
from batch_predict.errors import BatchPredictError
from batch_predict.setup import target
from batch_predict.setup.samconfig import DeployOptions, current_settings, deploy_options, read_config
from batch_predict.setup.stack_files import BUILT, build
from batch_predict.setup.stack_files import eject as write_stack_files
from batch_predict.setup.stack_settings import problems, without_asking

DEPLOY_EXAMPLE = example("batch-predict deploy --code-bucket our-deployments", "after `batch-predict init`, with the AWS CLI")
EJECT_EXAMPLE = example(
    """\
batch-predict eject our-predictions
cd our-predictions
batch-predict init
sam build && sam deploy"""
)
CAPABILITIES = ("CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND")
"""Roles for the functions, and AWS's own transform of SAM templates."""
PACKAGED = BUILT / "packaged.yaml"

Command = list[str]


app = typer.Typer(rich_markup_mode=None)


@command(app, DEPLOY_EXAMPLE)
def deploy(
    config: Annotated[
        Path, typer.Option(help="Settings of the stack, as `batch-predict init` writes them.", metavar="FILE")
    ] = Path("samconfig.toml"),
    code_bucket: Annotated[
        str | None,
        typer.Option(
            help="Bucket that the AWS CLI uploads the code to, in the stack's region; the SAM CLI has its own.", metavar="BUCKET"
        ),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="AWS profile.", metavar="NAME")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Deploy without asking.")] = False,
) -> None:
    """Build the functions, and deploy the stack with the SAM CLI or the AWS CLI.

    Builds into .aws-sam/build beside the settings, as `sam build` does, and says what deploys it. Runs that if it is installed and
    you say yes. Until then nothing is sent to AWS.
    Exits 0 when all is built and what was run has succeeded, and 1 otherwise.
    """
    options = _options(config)
    typer.echo("Building the functions …", err=True)
    build(config.parent, lambda line: typer.echo(line, err=True), config)
    file = [] if config.name == "samconfig.toml" else ["--config-file", config.name]
    by_sam = [["sam", "deploy", *file, *_profile(profile)]]  # which reads the settings itself
    by_aws = aws_commands(options, code_bucket, profile)
    where = "" if config.parent == Path() else f", in {config.parent}"
    ways = ((f"\nDeploy with the SAM CLI{where}:", by_sam), (f"or with the AWS CLI{where}, and a bucket for the code:", by_aws))
    for sentence, commands in ways:
        typer.echo("\n".join([sentence, *(f"  {shlex.join(command)}" for command in commands)]))
    built_for = target.template_target()
    if target.find_interpreter(built_for.python) is None:
        wanted = built_for.python_version
        typer.echo(
            f"\nWarning: there is no Python {wanted} on this machine to compile the package with, so each cold start takes two to "
            f"three times as long: install it (uv python install {wanted}), and run this again",
            err=True,
        )
    commands = by_sam if shutil.which("sam") else by_aws if shutil.which("aws") and code_bucket else []
    if yes and not commands:
        raise BatchPredictError(
            "nothing was deployed: --yes needs the SAM CLI (pip install aws-sam-cli), or the AWS CLI and --code-bucket"
        )
    if commands and (yes or (is_terminal() and typer.confirm(f"\nRun {_named(commands)} now?", default=False))):
        _run([*commands[0], "--no-confirm-changeset"] if yes and commands is by_sam else commands[0], config.parent)
        for command in commands[1:]:
            _run(command, config.parent)


def is_terminal() -> bool:
    """Tell whether somebody can be asked."""
    return sys.stdin.isatty()


def _options(config: Path) -> DeployOptions:
    """Return what to deploy by. Raises BatchPredictError if it is missing or wrong."""
    text = read_config(config)
    if text is None:
        raise BatchPredictError(f"there is no {config}: write it with `batch-predict init`")
    if (config.parent / "template.yaml").exists():
        raise BatchPredictError(
            f"{config.parent / 'template.yaml'} would not be used, since this deploys the template of the installed batch-predict: "
            "deploy your own with `sam build` and `sam deploy`, or keep samconfig.toml in another folder"
        )
    if found := problems(without_asking({}, current_settings(text))):
        raise BatchPredictError(f"{config}: {'; '.join(found)}; correct it with `batch-predict init`")
    return deploy_options(text)


def aws_commands(options: DeployOptions, code_bucket: str | None, profile: str | None) -> list[Command]:
    """Return what deploys `.aws-sam/build` with the AWS CLI."""
    bucket = ["--s3-bucket", code_bucket or "BUCKET"]
    region = ["--region", options.region] if options.region else []
    source = ["--template-file", str(BUILT / "template.yaml"), "--output-template-file", str(PACKAGED)]
    tags = ["--tags", *options.tags] if options.tags else []
    parameters = ["--parameter-overrides", *(f"{name}={value}" for name, value in options.parameters.items())]
    stack = ["--template-file", str(PACKAGED), "--stack-name", options.stack_name, "--capabilities", *CAPABILITIES]
    return [
        ["aws", "cloudformation", "package", *source, *bucket, *region, *_profile(profile)],
        ["aws", "cloudformation", "deploy", *stack, *bucket, *region, *_profile(profile), *tags, *parameters],
    ]


def _profile(profile: str | None) -> list[str]:
    return ["--profile", profile] if profile else []


def _named(commands: list[Command]) -> str:
    return " and ".join(f"`{' '.join(command[: 2 if command[0] == 'sam' else 3])}`" for command in commands)


def _run(command: Command, directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, check=False)  # noqa: S603 - what was shown, and agreed to
    if done.returncode:
        raise BatchPredictError(f"`{_named([command]).strip('`')}` ended with {done.returncode}, and said why above")


@command(app, EJECT_EXAMPLE)
def eject(
    directory: Annotated[Path, typer.Argument(help="Where to write the files; made if it is not there.", metavar="DIR")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there; never samconfig.toml.")] = False,
) -> None:
    """Write a stack's template, state machine, functions and builder into a folder of yours.

    For who wants to change them, or keep them in a repository: `sam build` and `sam deploy` work there, without batch-predict.
    Exits 0 when the files are there, and 1 when they are not.
    """
    written = write_stack_files(directory, overwrite=overwrite)
    typer.echo(f"{len(written)} files are in {directory}: template.yaml, functions/, statemachine/, events/ and what builds them.")
    there = "" if directory == Path() else f"  cd {shlex.quote(str(directory))}\n"
    typer.echo(f"\nSet its buckets, and deploy it:\n{there}  batch-predict init\n  sam build\n  sam deploy")
