"""The command `batch-predict init`: it asks for the settings of a stack, and writes them into samconfig.toml."""

import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from batch_predict.cli.commands import OptionGroup, command, example, option
from batch_predict.deployed import template_parameters
from batch_predict.errors import BatchPredictError, file_troubles
from batch_predict.setup.samconfig import configured, current_settings, difference, read_config, start_text
from batch_predict.setup.stack_settings import (
    MAY_BE_EMPTY,
    NONE,
    SETTINGS,
    Setting,
    default_of,
    is_switch,
    problem,
    problems,
    read_answer,
    without_asking,
)

INIT_EXAMPLE = example(
    """\
batch-predict init --yes --model-bucket our-models \\
  --data-bucket our-data --output-bucket our-predictions \\
  --create-output-bucket true --region eu-central-1""",
    "without questions",
)
AS_NOW = "as now"
"""The answer that keeps the request that is there already."""
SHOWN_CHARACTERS = 34
"""How much of an answer is shown in the list of all answers."""

app = typer.Typer(rich_markup_mode=None)


def _option_help(setting: Setting) -> str:
    if setting.help:
        return setting.help
    default = default_of(setting.name)
    return f"{template_parameters()[setting.name]['Description']}{f' [default: {default}]' if default else ''}"


_GIVEN_SETTINGS = OptionGroup(
    [
        option(
            setting.name,
            str | None,
            typer.Option(setting.option, help=_option_help(setting), metavar=setting.metavar, show_default=False),
        )
        for setting in SETTINGS
    ],
    lambda **given: {name: value for name, value in given.items() if value is not None},
)


@command(app, INIT_EXAMPLE)
def init(
    *,
    given: Annotated[dict[str, str], _GIVEN_SETTINGS],
    config: Annotated[Path, typer.Option(help="The file to write.", metavar="FILE")] = Path("samconfig.toml"),
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: what is not given stays, or is the default.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Change also what somebody has set before.")] = False,
) -> None:
    """Write the settings of a stack into samconfig.toml.

    Asks for what is not given, lets you change the answers, shows what it will write, and says how to deploy. Nothing is sent
    to AWS.
    Exits 0 when the file holds the settings, and 1 when it does not.
    """
    before = read_config(config)
    text = start_text() if before is None else before
    current = current_settings(text)
    settings = without_asking(given, current) if yes else _revised(_asked(given, current))
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
        with file_troubles("written", config):
            config.write_bytes(after.encode())
    typer.echo(_how_to_deploy(config))


# --- asking -----------------------------------------------------------------------------------------------------------------------


def _asked(given: dict[str, str], current: dict[str, str]) -> dict[str, str]:
    """Ask for every setting that is not given, or given wrongly; what is there now is the default."""
    settings = {}
    for name, value in given.items():
        answer = read_answer(name, value)
        if said := problem(name, answer):
            _say(f"  {said}")
        else:
            settings[name] = answer
    return _completed(settings, current)


def _completed(settings: dict[str, str], current: dict[str, str]) -> dict[str, str]:
    """Return the settings with answers to all that are missing, asked in their order."""
    for setting in SETTINGS:
        if setting.name not in settings and not (setting.needs and not settings[setting.needs]):
            now = current.get(setting.name, default_of(setting.name))
            settings[setting.name] = _answer(setting, now) if setting.is_asked else now
    return settings


def _answer(setting: Setting, now: str) -> str:
    """Ask until the answer is a right one."""
    default: str | None = now or (NONE if setting.name in MAY_BE_EMPTY else None)  # without one, an empty answer is asked again
    if setting.name == "ScheduleRequest" and now:
        default = AS_NOW
    if is_switch(setting.name):
        default = "y" if now == "true" else "n"
    while True:
        answer = str(typer.prompt(setting.question, default=default)).strip()
        try:
            answer = read_answer(setting.name, now if answer == default else answer)
            said = problem(setting.name, answer)
        except BatchPredictError as error:
            said = str(error)
        if not said:
            return answer
        _say(f"  {said}")


def _revised(settings: dict[str, str]) -> dict[str, str]:
    """Show all answers, and ask again for those that somebody wants to change, until they are right together."""
    while True:
        listed = [
            setting
            for setting in SETTINGS
            if setting.name in settings and (setting.is_asked or settings[setting.name] != default_of(setting.name))
        ]
        width = max(len(setting.name) for setting in listed)
        _say("\nThe answers:")
        for number, each in enumerate(listed, 1):
            _say(f"  {number:>2}  {each.name:<{width}}  {_shown(each.name, settings[each.name])}")
        answer = str(typer.prompt("Number of an answer to change (none: go on)", default=NONE)).strip()
        if answer.lower() in (NONE, ""):
            if not (found := problems(settings)):
                return settings
            _say("\n".join(f"  {said}" for said in found))
        elif setting := next(
            (each for number, each in enumerate(listed, 1) if answer.lower() in (str(number), each.name.lower())), None
        ):
            settings[setting.name] = _answer(setting, settings[setting.name])
            for other in SETTINGS:
                if other.needs and not settings[other.needs]:
                    settings.pop(other.name, None)
            _completed(settings, {})
        else:
            _say(f"  {answer[:SHOWN_CHARACTERS]!r} is none of the numbers 1 to {len(listed)}")


def _shown(name: str, value: str) -> str:
    if is_switch(name):
        return "yes" if value == "true" else "no"
    return f"{value[: SHOWN_CHARACTERS - 1]}…" if len(value) > SHOWN_CHARACTERS else value or NONE


def _say(text: str) -> None:
    """Print lines; on a terminal, long ones are broken between words."""
    lines = text.splitlines()
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
        lines = [
            textwrap.fill(line, width, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False) for line in lines
        ]
    typer.echo("\n".join(lines))


def _how_to_deploy(config: Path) -> str:
    is_named = config.name != "samconfig.toml"
    if not (config.parent / "template.yaml").is_file():
        named = f" --config {shlex.quote(str(config))}" if is_named or config.parent != Path() else ""
        return f"\nBuild and deploy with:\n  batch-predict deploy{named}"
    there = "" if config.parent == Path() else f"  cd {shlex.quote(str(config.parent))}\n"
    file = f" --config-file {shlex.quote(config.name)}" if is_named else ""
    return f"\nDeploy with:\n{there}  sam build{file}\n  sam deploy{file}"
