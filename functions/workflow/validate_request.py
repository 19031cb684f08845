"""Validate Request: a complete request whose model and data exist and fit each other's columns, or all that is wrong with it."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache, partial
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any, cast

from .confinement import problems_of
from .contract import Execution, InputFormat, PredictionFields, Request, StatedColumns, Validated, WholeRequest
from .csv_dialect import delimiter_of, dialect_of, dialect_problems, field_of
from .data_names import FORMATS, WILDCARDS, Written, written_as
from .errors import InputNotFoundError, InvalidDataError, InvalidRequestError, bounded
from .formats import Format, Header, format_of, recognised
from .header_mistakes import REPEATED_ADVICE, SHOWN_MISSING, Mistake, close_name, lacking_columns, repeated_columns
from .inputs import (
    InputObject,
    first_objects,
    folder_of,
    glob_of,
    is_prefix,
    no_data,
    nothing_to_predict,
    repeated_in,
)
from .invocation import entry_point, log
from .limits import MAX_PREDICTIONS_BYTES, MAX_REQUEST_BYTES, require_bundle_size
from .s3 import S3Client, bucket_region, head_object, in_parallel, s3_client
from .schema import Schema, full_match, problems, with_defaults
from .work import columns_uri, written_uris

PROBE_ROWS = 1000
"""Rows that Probe Model predicts: enough to time the model, few enough to take a second."""

FURTHER_OBJECTS, FURTHER_BYTES = 50, 6000
"""Where the probe looks for a row that can be predicted if the first object has none; their URIs are in the document."""

SHOWN_PROBLEMS = 100
"""Problems of a request's fields that are listed: more than a message has room for."""

# What strftime means by each is the same everywhere; the rest depends on the platform or the locale.
STRFTIME_DIRECTIVES = frozenset("YmdHMSjyUWVGuwf%")
SHIFT_UNITS = {"d": "days", "h": "hours"}


@entry_point
def lambda_handler(event: dict[str, Any], context: object) -> Validated:  # noqa: ARG001 - Lambda passes it
    """Start the execution's document."""
    validated = validate_request(s3_client(), event["request"], event["execution"])
    log(
        "request validated",
        model_s3_uri=validated["request"]["model_s3_uri"],
        output_s3_uri=validated["request"]["output_s3_uri"],
        probe_s3_uri=validated["probe"]["data_s3_uri"],
    )
    return validated


def validate_request(client: S3Client, raw: object, execution: Execution) -> Validated:
    """Check a request by itself, then against what is in S3."""
    request, stated = without_columns(normalise(raw, execution))
    require_own_region(client, request)
    model = head_object(client, request["model_s3_uri"], request["model_version_id"])
    require_bundle_size(request["model_s3_uri"], model.size)
    require_data(client, request)
    may_lack_rows = request["on_no_rows"] == "succeed"
    objects = chain.from_iterable(first_objects(client, uri, may_lack_rows=may_lack_rows) for uri in request["data_s3_uri"])
    opening = next(objects, None)
    request["input_format"] = kind = recognised(client, opening, request)
    written = _written_as(request)
    if written.mistake:
        raise InvalidRequestError(f"output_s3_uri {request['output_s3_uri']} {written.mistake}")
    if request["csv"] and kind != "csv":
        raise InvalidRequestError(f"csv says how CSV is written, and the data are {FORMATS[kind]}", "leave csv out")
    request["output_format"], request["output_compression"] = written.format, written.compression
    prediction: PredictionFields = {
        "model_s3_uri": request["model_s3_uri"],
        "model_etag": model.etag,
        "model_sha256": request["model_sha256"],
        "model_version_id": request["model_version_id"],
        "prediction_column_name": request["prediction_column_name"],
        "input_format": kind,
        "csv": request["csv"],
        "output_format": cast("InputFormat", written.format),
        "output_compression": written.compression,
        "prediction_method": request["prediction_method"],
        "predictions": request["predictions"],
        "on_bad_row": request["on_bad_row"],
        "on_no_rows": request["on_no_rows"],
        "strict": request["strict"],
        "raise_errors": True,
        "execution_name": execution["name"],
    }
    source = format_of(prediction)
    first = object_to_probe(client, source, chain(filter(None, [opening]), objects), request)
    if first and first[1].columns:
        if source.has_types and stated["column_types"]:
            what = f"column_types is for data without types, and {first[0].uri} says the types of its columns"
            raise InvalidRequestError(what, "leave column_types out")
        require_columns(request, stated, *first)
    may_be_empty = first is not None and first[1].compression == "zstd"  # which only the probe can read
    further = list(islice(objects, FURTHER_OBJECTS)) if request["on_bad_row"] == "quarantine" or may_be_empty else []
    sizes = accumulate(len(json.dumps([found.uri, found.etag])) for found in further)
    return {
        "request": request,
        "execution": execution,
        "prediction": prediction,
        "probe": {
            **prediction,
            **stated,
            "data_s3_uri": first[0].uri if first else None,
            "data_etag": first[0].etag if first else None,
            "further_data": [
                {"data_s3_uri": found.uri, "data_etag": found.etag}
                for found, size in zip(further, sizes, strict=True)
                if size <= FURTHER_BYTES
            ],
            "probe_rows": PROBE_ROWS,
            "receipt_s3_uri": columns_uri(request["output_s3_uri"], execution["arn"]),
        },
    }


def without_columns(whole: WholeRequest) -> tuple[Request, StatedColumns]:
    """Return a request in two parts: its columns may be thousands, and go no further than to the probe."""
    stated: StatedColumns = {
        "feature_columns": whole["feature_columns"],
        "column_types": whole["column_types"],
        "output_columns": whole["output_columns"],
    }
    return cast("Request", {name: value for name, value in whole.items() if name not in stated}), stated


def normalise(raw: object, execution: Execution) -> WholeRequest:
    """Return the request with defaults and resolved placeholders; InvalidRequestError lists all problems of the request itself."""
    schema = request_schema()
    given, placeholders, time = _start_of(raw)
    found = list(islice(problems(given, schema), SHOWN_PROBLEMS))
    fields: dict[str, Any] = given if isinstance(given, dict) else {}
    instant, time_problem = _scheduled_time(fields.get("scheduled_time", time), execution)
    zone, zone_problem = _time_zone(fields.get("time_zone", "UTC"))
    found += [*time_problem, *zone_problem]
    known = {"execution_name": execution["name"], **placeholders}
    resolved: dict[str, Any] = {}
    for field in ("data_s3_uri", "output_s3_uri"):
        if field in fields and not any(problems(fields[field], schema["properties"][field], field)):
            listed = [fields[field]] if isinstance(fields[field], str) else fields[field]  # from here on, data_s3_uri is a list
            uris, uri_problems = _resolve_placeholders(field, listed, known, instant, zone)
            resolved[field] = uris if field == "data_s3_uri" else uris[0]
            found += uri_problems
    if not found:
        scheduled_time = instant.isoformat().replace("+00:00", "Z")
        request = cast("WholeRequest", with_defaults(fields | resolved, schema) | {"scheduled_time": scheduled_time})
        again = 2 * len(json.dumps(request["csv"])) if request["csv"] else 0  # the document has it three times
        if (n_bytes := len(json.dumps(request)) + again) > MAX_REQUEST_BYTES:
            found.append(
                f"the request has {n_bytes} bytes as JSON, more than {MAX_REQUEST_BYTES}: "
                "name the data by a prefix, a glob or a manifest, and leave feature_columns out if the model knows its columns"
            )
        found += [*dialect_problems(request["csv"] or {}), *problems_of(request), *_conflicts(request)]
        if not found:
            request["csv"] = field_of(dialect_of(request["csv"]))
            return request
    raise InvalidRequestError(bounded("; ".join(found)))


def _start_of(raw: object) -> tuple[object, dict[str, str], str | None]:
    """Return the request, placeholders and time of an input, which may be what a rule of EventBridge has made of an object's event.

    The key is put in here: EventBridge escapes nothing, and whoever may write an object chooses its key.
    """
    if not (isinstance(raw, dict) and "object_created" in raw):
        return raw, {}, None
    try:
        key, time = raw["object_created"]["object"]["key"], raw["time"]
    except (KeyError, TypeError):
        key = time = None
    if not (isinstance(key, str) and isinstance(time, str) and raw.keys() == {"object_created", "time", "request"}):
        raise InvalidRequestError(
            "the input is not what an object starts with: object_created (the detail of S3's event), its time, and the request"
        )
    return raw["request"], {"object_key": key}, time


@cache
def request_schema() -> Schema:
    """Return the only description of the request."""
    schema: Schema = json.loads(Path(__file__).with_name("request.schema.json").read_text())
    return schema


def _scheduled_time(raw: object, execution: Execution) -> tuple[datetime, list[str]]:
    start = datetime.fromisoformat(execution["start_time"])
    start = start.replace(tzinfo=start.tzinfo or UTC).astimezone(UTC)
    if not isinstance(raw, str):
        return start, []  # absent, or the schema has said what is wrong with it
    with suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(raw)
        if time.tzinfo:
            return time.astimezone(UTC), []
    return start, [f"scheduled_time must be an instant such as 2026-11-24T02:00:00Z, not {json.dumps(raw)[:80]}"]


def _time_zone(name: object) -> tuple[tzinfo, list[str]]:
    """Return the time zone, out of the database that dateutil brings along: not every Lambda runtime has one of its own."""
    if name == "UTC" or not isinstance(name, str):
        return UTC, []  # the schema has said what is wrong with another type
    from dateutil.zoneinfo import get_zonefile_instance  # type: ignore[import-untyped]  # noqa: PLC0415  # takes 80 ms

    zone = get_zonefile_instance().get(name)
    if zone is None:
        return UTC, [f"time_zone must be the name of a time zone such as Europe/Berlin, not {json.dumps(name)[:80]}"]
    return zone, []


def _shifted(instant: datetime, zone: tzinfo, shift: str) -> datetime:
    """Return an instant in the zone, so many days (of its calendar, whatever their hours) or hours before or after."""
    amount = timedelta(**{SHIFT_UNITS[shift[-1]]: int(shift[:-1])}) if shift else timedelta()
    return instant.astimezone(zone) + amount if shift.endswith("d") else (instant + amount).astimezone(zone)


def _resolve_placeholders(
    field: str, uris: list[str], known: Mapping[str, str], instant: datetime, zone: tzinfo
) -> tuple[list[str], list[str]]:
    """Return a field's URIs, and what is wrong with their placeholders; a brace in a value is not one."""
    found: list[str] = []

    def value_of(match: re.Match[str]) -> str:
        placeholder, _, time_format = match[1].partition(":")
        if (value := known.get(match[1])) is not None:
            if field == "data_s3_uri" and WILDCARDS.search(value):
                found.append(f"{field} has {match[0]}, which is {value!r} with a wildcard in it: it would name other objects")
            return value
        if time_format and (shifted := re.fullmatch(r"scheduled_time([+-][0-9]{1,4}[dh])?", placeholder)):
            directives = re.findall("%(.?)", time_format, re.DOTALL)
            if unknown := [f"%{letter}" for letter in directives if letter not in STRFTIME_DIRECTIVES or not letter]:
                found.append(f"{field} has the unknown time directive {unknown[0]} in {match[0]}")
            try:
                return _shifted(instant, zone, shifted[1] or "").strftime(time_format)
            except OverflowError:
                found.append(f"{field} has a time before the year 1 or after 9999 in {match[0]}")
                return match[0]
        found.append(
            f"{field} has the unknown placeholder {match[0]}: "
            "there are {execution_name}, {scheduled_time:%Y-%m-%d} and {scheduled_time-1d:%Y-%m-%d}, "
            "and {object_key} if an object starts the run"
        )
        return match[0]

    resolved = []
    for uri in uris:
        before = len(found)
        if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", uri)):
            found.append(f"{field} has an unpaired brace in {uri}: braces mark placeholders")
        resolved.append(re.sub(r"\{([^{}]*)\}", value_of, uri))
        if field == "data_s3_uri":
            resolved[-1] = folder_of(resolved[-1])
        if len(found) == before:
            pattern = request_schema()["properties"][field]["pattern"]
            if not full_match(pattern, resolved[-1]):
                found.append(f"{field} resolves to {resolved[-1]}, which is not an S3 URI")
    return resolved, found


def _conflicts(request: WholeRequest) -> Iterator[str]:
    """Say which fields exclude each other: nothing that is written may ever be taken for something that is read."""
    features, kept = request["feature_columns"] or [], request["output_columns"]
    for field, columns in (("feature_columns", features if kept is None else []), ("output_columns", kept or [])):
        if request["prediction_column_name"] in columns:
            yield f"prediction_column_name {request['prediction_column_name']} is also one of {field}"
    yield from _conflicts_in(request["predictions"] or [], request["prediction_method"])
    known, written = set(features), _written_as(request)
    data_format = "csv" if request["input_format"] == "auto" else request["input_format"]
    is_converted = written.format not in (None, data_format)  # then each column of the output has a type
    if features and not is_converted and (unknown := [column for column in request["column_types"] or () if column not in known]):
        named = [f"{column!r}{_suggestion(column, features)}" for column in unknown[:SHOWN_MISSING]]
        rest = f" and {len(unknown) - SHOWN_MISSING} more" if len(unknown) > SHOWN_MISSING else ""
        yield f"column_types names columns that are not among feature_columns: {', '.join(named)}{rest}"
    if repeated := repeated_in(request["data_s3_uri"]):
        yield f"data_s3_uri names {repeated} more than once: its rows would be scored as often; name each object once"
    output = request["output_s3_uri"]
    if written.mistake:
        yield f"output_s3_uri {output} {written.mistake}"
    written_names = written_uris(output)
    work = f"{output}.work/"
    for uri in request["data_s3_uri"]:
        try:
            glob = glob_of(uri)
        except InvalidRequestError as error:
            yield f"data_s3_uri {error}"
            return
        if glob and any(glob.matches(own) for own in written_names):
            yield f"output_s3_uri {output} matches data_s3_uri {uri}, whose objects are all input: write it elsewhere"
    for field, uri in (("model_s3_uri", request["model_s3_uri"]), *(("data_s3_uri", uri) for uri in request["data_s3_uri"])):
        if uri in written_names or uri.startswith(work):
            yield f"output_s3_uri {output} would overwrite {field} {uri}: choose another output_s3_uri"
        elif is_prefix(uri) and output.startswith(uri) and field == "data_s3_uri":
            yield f"output_s3_uri {output} lies under data_s3_uri {uri}, whose objects are all input: write it elsewhere"


def _conflicts_in(predictions: list[object], method: str) -> Iterator[str]:
    if predictions and method != "predict":
        yield "predictions and prediction_method exclude each other, as both say what is written: give one of them"
    if (n_bytes := len(json.dumps(predictions))) > MAX_PREDICTIONS_BYTES:
        yield f"predictions has {n_bytes} bytes as JSON, more than {MAX_PREDICTIONS_BYTES}: name fewer classes, or ask for all"
    times = Counter(next(iter(item)) if isinstance(item, dict) else item for item in predictions)
    yield from (f"predictions names {kind} {number} times: name it once" for kind, number in times.items() if number > 1)


def _written_as(request: Request) -> Written:
    """Decide how the output is written, as far as the format of the data is known."""
    kind = None if request["input_format"] == "auto" else request["input_format"]
    named = request["output_format"], request["output_compression"], delimiter_of(request["csv"])
    return written_as(request["output_s3_uri"], kind, *named)


def require_own_region(client: S3Client, request: Request) -> None:
    """Raise if a bucket is in another region than the functions: botocore follows S3 there silently, and bytes are charged."""
    here = os.environ.get("AWS_REGION") or client.meta.region_name
    uris = [("model_s3_uri", request["model_s3_uri"]), *(("data_s3_uri", uri) for uri in request["data_s3_uri"])]
    named = dict.fromkeys((field, uri.split("/")[2]) for field, uri in [*uris, ("output_s3_uri", request["output_s3_uri"])])
    buckets = list(dict.fromkeys(bucket for _, bucket in named))
    regions = dict(zip(buckets, in_parallel(partial(bucket_region, client), buckets), strict=True))
    if found := [
        f"{field} names the bucket {bucket} in {regions[bucket]}" for field, bucket in named if regions[bucket] not in (None, here)
    ]:
        raise InvalidRequestError(
            bounded(f"{'; '.join(found)}; but the stack is in {here}"),
            f"use buckets in {here}, or deploy the stack where the buckets are: bytes between regions are slow, and charged",
        )


def require_data(client: S3Client, request: Request) -> None:
    """Raise InputNotFoundError that names every entry of `data_s3_uri` without data, or that is not there at all."""
    may_lack_rows = request["on_no_rows"] == "succeed"

    def missing(uri: str) -> str | None:
        try:
            if next(first_objects(client, uri, may_lack_rows=may_lack_rows), None) is None and not may_lack_rows:
                return no_data(uri)
        except InputNotFoundError as error:
            return str(error)
        return None

    if found := [problem for problem in in_parallel(missing, dict.fromkeys(request["data_s3_uri"])) if problem]:
        raise InputNotFoundError(bounded("; ".join(found)))


def object_to_probe(
    client: S3Client, source: Format, objects: Iterator[InputObject], request: Request
) -> tuple[InputObject, Header] | None:
    """Return the first object that has rows, for Probe Model, and its header; if none needs rows, the first that is not void."""
    first = None
    for found in objects:
        header = source.read_header(client, found)
        if header.has_rows:
            return found, header
        first = (found, header) if not first or (first[1].is_void and not header.is_void) else first
    if request["on_no_rows"] == "succeed":
        return first if first and not first[1].is_void else None
    assert first
    raise nothing_to_predict(first[0], has_header=bool(first[1].columns))


def require_columns(request: Request, stated: StatedColumns, first: InputObject, header: Header) -> None:
    """Raise if the columns of the data and of the request do not fit; those that only the model knows, the probe compares."""
    times, features, kept = Counter(header.columns), stated["feature_columns"] or [], stated["output_columns"]
    if repeated := [column for column in dict.fromkeys([*features, *(kept or ())]) if times[column] > 1]:
        raise InvalidDataError(bounded(f"{first.uri} has {repeated_columns(repeated)}"), REPEATED_ADVICE)
    dialect = dialect_of(request["csv"])
    found = [
        lacking_columns(columns, header.columns, field, dialect)
        for field, columns in (("feature_columns", features), ("output_columns", kept or []))
        if any(column not in times for column in columns)
    ]
    if (name := request["prediction_column_name"]) in (times if kept is None else kept):
        found.append(Mistake(f"has a column {name!r} already", "choose another prediction_column_name"))
    if found:
        what = f"{first.uri} {' and '.join(mistake.what for mistake in found)}"
        raise InvalidRequestError(bounded(what), "; ".join(mistake.advice for mistake in found))


def _suggestion(name: str, columns: list[str]) -> str:
    folded = {column.strip().casefold(): column for column in columns}
    close = close_name(name.strip().casefold(), list(folded))
    return f" (did you mean {folded[close]!r}?)" if close else ""
