"""The options that stand for a request's fields: types, defaults and descriptions are the request schema's."""

import csv
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand

from batch_predict.cli.commands import OptionGroup, option
from batch_predict.deployed import request_schema
from batch_predict.errors import InvalidRequestError
from batch_predict.setup.stack_settings import request_in


class _Field(NamedTuple):
    """How a field of the request is given on the command line, as far as the schema does not say it."""

    name: str
    option: str = ""
    """Its option, if that is not named as the field."""
    metavar: str | None = None
    help: str = ""
    """What the help says in place of the schema's description."""
    type: Any = None
    """The option's type in place of the schema's."""
    read: Callable[[Any], Any] = lambda given: given
    """Return the field's value from what was given."""

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return f"--{self.option or self.name}".replace("_", "-")


def _columns(flag: str, text: str, nouns: str = "names") -> list[str]:
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise InvalidRequestError(f"{flag} {text} cannot be read as {nouns} separated by commas: {error}") from error
    columns = [name.strip() for row in rows for name in row]
    if not all(columns):
        raise InvalidRequestError(f"{flag} {text!r} has an empty name: separate {nouns} by single commas")
    return columns


def _predictions(text: str) -> list[Any]:
    """Return what `label,top_k=3,probabilities=yes;no,threshold=yes:0.3` asks for; a list in JSON is taken as it is."""
    if text.lstrip().startswith("["):
        try:
            found: list[Any] = json.loads(text)
        except ValueError as error:
            raise InvalidRequestError(f"--predictions {text} is not JSON: {error}") from error
        return found
    return [_asked(item) for item in _columns("--predictions", text, "items")]


def _asked(item: str) -> Any:
    kind, equals, detail = item.partition("=")
    if not equals:
        return item
    if kind == "probabilities":
        return {kind: {"classes": detail.split(";")}}
    if kind == "threshold" and ":" in detail:
        shares = (share.rpartition(":") for share in detail.split(";"))  # a class's name may hold one, too
        return {kind: {label: _number(share, item) for label, _, share in shares}}
    return {kind: _number(detail, item)}


def _number(text: str, item: str) -> float:
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise InvalidRequestError(f"--predictions has {item}, in which {text!r} is not a number") from None


def _column_types(texts: list[str]) -> dict[str, str]:
    types: dict[str, str] = {}
    for text in texts:
        column, equals, kind = text.rpartition("=")  # a column's name may hold one, too
        if not equals:
            raise InvalidRequestError(f"--column-type {text} must be a column and its type, such as zip=text")
        if types.setdefault(column, kind) != kind:
            raise InvalidRequestError(f"--column-type gives {column} two types, {types[column]} and {kind}: leave one out")
    return types


def _csv(texts: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for text in texts:
        part, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequestError(f"--csv {text} must be a part and its value, such as 'delimiter=;'")
        if part in said:
            raise InvalidRequestError(f"--csv gives {part} twice: leave one out")
        if part == "column_names":
            said[part] = _columns("--csv column_names", value)
        elif part == "header":
            said[part] = {"true": True, "false": False}.get(value, value)
        else:
            said[part] = _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), value.replace("\\t", "\t"))
    return said


_ESCAPED = re.compile(r"\\(?:x|u00)([0-9a-fA-F]{2})")
"""A character that a shell hardly writes, such as Hive's U+0001."""

_FIELDS = (
    _Field(
        "model_s3_uri", "model", "FILE", "The fitted model, as `joblib.dump` writes it, or its bundle; with --stack also an S3 URI."
    ),
    _Field(
        "data_s3_uri",
        "data",
        "PATH...",
        "Files of one format in the order of the output; of a directory, all *.csv below it in natural order (*.jsonl or *.parquet "
        "if it has none, or by --input-format); a glob in quotes, in which ** stands for any folders; with --stack also S3 URIs.",
        type=list[str] | None,
    ),
    _Field(
        "feature_columns",
        "features",
        "A,B,C",
        "Columns given to the model, in this order, separated by commas; quoted as in CSV if a name holds one. By default those "
        "that it was fitted on, if it knows their names.",
        type=str | None,
        read=partial(_columns, "--features"),
    ),
    _Field("prediction_column_name", "prediction", "NAME"),
    _Field("input_format"),
    _Field(
        "csv",
        metavar="PART=VALUE",
        help="How the data's CSV is written, if not with commas below a header, in UTF-8: delimiter, header, column_names, "
        "encoding, decimal or comment, as in --csv 'delimiter=;' --csv decimal=, --csv header=false --csv column_names=a,b; "
        "a tab is \\t.",
        type=list[str] | None,
        read=_csv,
    ),
    _Field(
        "output_s3_uri",
        "output",
        "FILE",
        "The one table of all rows, whose name says its format; its report goes beside it, as FILE.report.json. With --stack "
        "also an S3 URI, which stays there.",
    ),
    _Field(
        "output_columns",
        metavar="A,B,C",
        help="Columns of the data that the output has, in the data's order, before the predictions; separated as --features. By "
        "default all, with '' none.",
        type=str | None,
        read=partial(_columns, "--output-columns"),
    ),
    _Field("output_format"),
    _Field("output_compression"),
    _Field("chunk_size_mb", metavar="MB"),
    _Field("max_concurrency", metavar="N", help="Chunks in flight at once on AWS; the local AWS runs one on each core."),
    _Field("tolerated_failure_percentage", metavar="PERCENT"),
    _Field("on_bad_row"),
    _Field("on_no_rows"),
    _Field("prediction_method"),
    _Field(
        "predictions",
        metavar="A,B,C",
        help="What to write of a classifier, separated by commas: label, probability, probabilities (or those of classes, "
        "probabilities=yes;no), top_k=3, threshold=0.3 (or of classes, threshold=yes:0.3;maybe:0.5). By default what the method "
        "gives.",
        type=str | None,
        read=_predictions,
    ),
    _Field(
        "column_types",
        "column-type",
        "COLUMN=TYPE",
        "Type of a feature column, boolean, integer, number or text; may be given for several. By default the model or all values "
        "of the column decide.",
        type=list[str] | None,
        read=_column_types,
    ),
    _Field("model_sha256", metavar="HEX"),
    _Field("strict"),
    _Field("overwrite"),
    _Field("keep_work"),
    _Field("dry_run", help="Stop after planning: check everything, count the chunks, score nothing."),
)
"""The options in the order of the help."""
_BY_NAME = {field.name: field for field in _FIELDS}
_TYPES = {"string": str | None, "number": float | None, "integer": int | None, "boolean": bool}


class DataFilesCommand(TyperCommand):
    """A command whose `--data` takes several paths, as a shell's `--data 2013/*.csv` gives them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat `--data` before each of its paths."""
        expanded: list[str] = []
        is_data = False
        for arg in args:
            if arg.startswith("-"):
                is_data = arg == "--data" or arg.startswith("--data=")
            elif is_data and expanded[-1] != "--data":
                expanded.append("--data")
            expanded.append(arg)
        return super().parse_args(ctx, expanded)


def request_options(*left_out: str) -> OptionGroup:
    """Return the options that together are a request, but for some fields, and `--request`, which is all of it."""
    help_text = "A whole request as JSON, in place of the options above; local paths as S3 URIs."
    whole = option("request", Path | None, typer.Option(help=help_text, metavar="FILE"))
    options = [option(field.name, _type(field), field_option(field.name)) for field in _FIELDS if field.name not in left_out]
    return OptionGroup((*options, whole), _request)


def field_option(name: str) -> Any:
    """Return the option of a field: its help and its default are the schema's unless `_FIELDS` has other ones."""
    field = _BY_NAME[name]
    schema = request_schema()["properties"][name]
    default = schema.get("default")
    shown = "" if field.help or default is None or default is False else f" [default: {default}]"
    metavar = field.metavar or "|".join(filter(None, schema.get("enum", ()))) or None
    return typer.Option(field.flag, help=f"{field.help or schema['description']}{shown}", metavar=metavar, show_default=False)


def field_flag(name: str) -> str:
    """Return a field's option as it is typed."""
    return _BY_NAME[name].flag


def read_field(name: str, given: Any) -> Any:
    """Return a field's value from what its option was given; InvalidRequestError if that cannot be read."""
    return _BY_NAME[name].read(given)


def _type(field: _Field) -> Any:
    kind = request_schema()["properties"][field.name]["type"]
    return field.type or _TYPES[kind if isinstance(kind, str) else kind[0]]


def _request(request: Path | None, **options: Any) -> dict[str, Any]:
    """Return the request that the options, or the file, say; InvalidRequestError if they do not say one."""
    given = {name: value for name, value in options.items() if value is not None and value is not False and value != []}
    if request:
        if given:
            flags = ", ".join(_BY_NAME[name].flag for name in given)
            raise InvalidRequestError(f"--request is the whole request: leave out {flags}")
        found = request_in(request)
        if not isinstance(found, dict):
            raise InvalidRequestError(f"request {request} must be one JSON object")
        return found
    if missing := [_BY_NAME[name].flag for name in request_schema()["required"] if name not in given]:
        raise InvalidRequestError(f"missing {', '.join(missing)}")
    return {name: read_field(name, value) for name, value in given.items()}
