"""The command `batch-predict init`: settings of a stack into samconfig.toml."""

import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from batch_predict.errors import BatchPredictError
from batch_predict.setup.init_stack import ask_settings, default_of, parameters, problems, revise, without_asking
from batch_predict.setup.samconfig import configured, current_settings, difference, read_config, start_text

INIT_EXAMPLE = """\
Example, without questions:

\b
  batch-predict init --yes --model-bucket our-models \\
    --data-bucket our-data --output-bucket our-predictions \\
    --create-output-bucket true --region eu-central-1
"""


def register(app: typer.Typer) -> None:
    """Add the command `init`."""
    app.command(epilog=INIT_EXAMPLE)(init)


def _parameter(name: str, option: str, metavar: str) -> Any:
    """Return an option for a parameter of the template: its help and its default are the template's."""
    default = default_of(name)
    shown = f" [default: {default}]" if default else ""
    return typer.Option(option, help=f"{parameters()[name]['Description']}{shown}", metavar=metavar, show_default=False)


def init(
    stack_name: Annotated[
        str | None, typer.Option(help="Name of the stack, and of its state machine. [default: batch-predict]", metavar="NAME")
    ] = None,
    region: Annotated[str | None, typer.Option(help="Region; by default that of the AWS profile.", metavar="REGION")] = None,
    model_bucket: Annotated[str | None, _parameter("ModelBucket", "--model-bucket", "BUCKET")] = None,
    model_prefix: Annotated[str | None, _parameter("ModelPrefix", "--model-prefix", "PREFIX")] = None,
    data_bucket: Annotated[str | None, _parameter("DataBucket", "--data-bucket", "BUCKET")] = None,
    data_prefix: Annotated[str | None, _parameter("DataPrefix", "--data-prefix", "PREFIX")] = None,
    output_bucket: Annotated[str | None, _parameter("OutputBucket", "--output-bucket", "BUCKET")] = None,
    output_prefix: Annotated[str | None, _parameter("OutputPrefix", "--output-prefix", "PREFIX")] = None,
    create_output_bucket: Annotated[str | None, _parameter("CreateOutputBucket", "--create-output-bucket", "yes|no")] = None,
    memory: Annotated[str | None, _parameter("PredictMemorySize", "--memory", "MB")] = None,
    schedule: Annotated[str | None, _parameter("ScheduleExpression", "--schedule", "EXPRESSION")] = None,
    time_zone: Annotated[str | None, _parameter("ScheduleTimezone", "--time-zone", "ZONE")] = None,
    schedule_request: Annotated[
        str | None, typer.Option(help="The request (JSON) that the schedule starts with.", metavar="FILE")
    ] = None,
    notification_email: Annotated[str | None, _parameter("NotificationEmail", "--notification-email", "MAIL")] = None,
    notify_of_success: Annotated[str | None, _parameter("NotifyOfSuccess", "--notify-of-success", "yes|no")] = None,
    reserved_concurrency: Annotated[str | None, _parameter("PredictReservedConcurrency", "--reserved-concurrency", "N")] = None,
    architecture: Annotated[str | None, _parameter("Architecture", "--architecture", "arm64|x86_64")] = None,
    permissions_boundary: Annotated[str | None, _parameter("PermissionsBoundary", "--permissions-boundary", "ARN")] = None,
    subnets: Annotated[str | None, _parameter("VpcSubnetIds", "--subnets", "ID,ID")] = None,
    security_groups: Annotated[str | None, _parameter("VpcSecurityGroupIds", "--security-groups", "ID,ID")] = None,
    config: Annotated[Path, typer.Option(help="The file to write.", metavar="FILE")] = Path("samconfig.toml"),
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: what is not given stays, or is the default.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Change also what somebody has set before.")] = False,
) -> None:
    """Write the settings of a stack into samconfig.toml.

    Asks for what is not given, lets you change the answers, shows what it will write, and says how to deploy. Nothing is sent
    to AWS.
    Exits 0 when the file holds the settings, and 1 when it does not.
    """
    options = {
        "stack_name": stack_name,
        "region": region,
        "ModelBucket": model_bucket,
        "ModelPrefix": model_prefix,
        "DataBucket": data_bucket,
        "DataPrefix": data_prefix,
        "OutputBucket": output_bucket,
        "OutputPrefix": output_prefix,
        "CreateOutputBucket": create_output_bucket,
        "PredictMemorySize": memory,
        "ScheduleExpression": schedule,
        "ScheduleTimezone": time_zone,
        "ScheduleRequest": schedule_request,
        "NotificationEmail": notification_email,
        "NotifyOfSuccess": notify_of_success,
        "PredictReservedConcurrency": reserved_concurrency,
        "Architecture": architecture,
        "PermissionsBoundary": permissions_boundary,
        "VpcSubnetIds": subnets,
        "VpcSecurityGroupIds": security_groups,
    }
    given = {name: value for name, value in options.items() if value is not None}
    try:
        _init(given, config, yes=yes, overwrite=overwrite)
    except BatchPredictError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def _init(given: dict[str, str], config: Path, *, yes: bool, overwrite: bool) -> None:
    before = read_config(config)
    text = start_text() if before is None else before
    current = current_settings(text)
    settings = without_asking(given, current) if yes else _asked(given, current)
    if found := problems(settings):
        raise BatchPredictError("; ".join(found))
    after = configured(text, settings)
    if before == after:
        typer.echo(f"{config} holds these settings already.")
    else:
        typer.echo(difference(before or "", after, config))
        is_set = before is not None and "ModelBucket" in current
        if is_set and yes and not overwrite:
            raise BatchPredictError(f"{config} has settings already, and was left as it is: --overwrite changes it")
        if not yes and not overwrite and not typer.confirm(f"Write this to {config}?", default=not is_set):
            raise BatchPredictError(f"{config} was left as it is")
        _write(config, after)
    typer.echo(_how_to_deploy(config))


def _asked(given: dict[str, str], current: dict[str, str]) -> dict[str, str]:
    return revise(ask_settings(given, current, typer.prompt, _say), typer.prompt, _say)


def _say(text: str) -> None:
    """Print lines, those of a terminal broken between words."""
    lines = text.splitlines()
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        lines = [
            textwrap.fill(line, width, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False) for line in lines
        ]
    typer.echo("\n".join(lines))


def _write(config: Path, text: str) -> None:
    try:
        config.write_bytes(text.encode())
    except OSError as error:
        raise BatchPredictError(f"{config} cannot be written: {error.strerror}") from error


def _how_to_deploy(config: Path) -> str:
    is_named = config.name != "samconfig.toml"
    if not (config.parent / "template.yaml").is_file():
        named = f" --config {shlex.quote(str(config))}" if is_named or config.parent != Path() else ""
        return f"\nBuild and deploy with:\n  batch-predict deploy{named}"
    there = "" if config.parent == Path() else f"  cd {shlex.quote(str(config.parent))}\n"
    file = f" --config-file {shlex.quote(config.name)}" if is_named else ""
    return f"\nDeploy with:\n{there}  sam build{file}\n  sam deploy{file}"
