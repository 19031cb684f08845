import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from batch_predict.cli import app as cli
from batch_predict.cli import local_commands, model_command, request_options, scoring_commands
from batch_predict.deployed import request_schema
from batch_predict.local import kept_run
from batch_predict.runs.outcome import Published

PUBLISHED = Published(output="out.csv", report="out.csv.report.json", rows=1, chunks=1, output_bytes=1)
# Of the request, but for schedules, or without a meaning for local files: --request takes them.
FIELDS_WITHOUT_OPTION = {"scheduled_time", "time_zone", "model_version_id"}
RUN = "run --model model.joblib --data data.csv --features a,b --prediction p --output out.csv"


@pytest.fixture(autouse=True)
def no_local_aws(monkeypatch):
    """What is wrong with the arguments or the local files must be said before the local AWS is started."""
    for module in (local_commands, model_command, kept_run):
        monkeypatch.setattr(module, "local_aws", lambda *_, **__: pytest.fail("the local AWS was started"))


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.joblib").write_bytes(b"model")
    Path("data.csv").write_text("a,b\n1,2\n")
    Path("other.csv").write_text("a,b\n3,4\n")
    Path("exists.csv").write_text("kept")
    Path("empty").mkdir()
    return tmp_path


@pytest.fixture
def invoke():
    def invoke(arguments):
        return CliRunner().invoke(
            cli.app, arguments if isinstance(arguments, list) else arguments.split(), prog_name="batch-predict"
        )

    return invoke


@pytest.fixture
def prepared(monkeypatch):
    """The requests that would have run, as they were prepared."""
    seen = []
    monkeypatch.setattr(scoring_commands, "_run_at", lambda _place, run, _name, _shown: seen.append(run) or PUBLISHED)
    return seen


class TestHelp:
    """That it fits 80 columns, and ends in an example: tests/contract/test_docs.py."""

    def test_every_field_of_the_request_has_an_option(self, invoke):
        text = invoke("run --help").output

        assert {field.name for field in request_options._FIELDS} == request_schema()["properties"].keys() - FIELDS_WITHOUT_OPTION
        assert all(f"  {field.flag} " in text or f"  {field.flag}\n" in text for field in request_options._FIELDS)

    def test_without_a_command_the_commands_are_listed(self, invoke):
        listed = invoke([]).output
        assert all(f"  {command} " in listed for command in typer.main.get_command(cli.app).commands)

    def test_version(self, invoke):
        result = invoke("--version")

        assert (result.exit_code, result.stdout) == (0, "batch-predict 0.1.0\n")


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (RUN.replace("data.csv", "no.csv"), "data file no.csv does not exist"),
            (RUN.replace("data.csv", "model.joblib"), "data file model.joblib is also the model: name a table"),
            (RUN.replace("model.joblib", "no.joblib"), "model file no.joblib does not exist"),
            (RUN.replace("model.joblib", "empty"), "model file empty is a directory"),
            (RUN.replace("data.csv", "empty"), "data directory empty holds no CSV, JSON Lines or Parquet files"),
            (RUN.replace("out.csv", "exists.csv"), "exists.csv exists already: choose another output, or set overwrite"),
            (RUN.replace("out.csv", "no/out.csv"), "output directory no does not exist: create it first"),
            (RUN.replace("out.csv", "empty"), "output empty is a directory: name a file"),
            (f"{RUN.replace('out.csv', 'data.csv')} --overwrite", "output data.csv is also an input: choose another output"),
            (RUN.replace("a,b", "a,,b"), "--features 'a,,b' has an empty name: separate names by single commas"),
            (f"{RUN} --csv delimiter", "--csv delimiter must be a part and its value, such as 'delimiter=;'"),
            (f"{RUN} --csv decimal=, --csv decimal=.", "--csv gives decimal twice: leave one out"),
            (f"{RUN} --csv column_names=a,,b", "--csv column_names 'a,,b' has an empty name: separate names by single commas"),
            (f"{RUN} --column-type a", "--column-type a must be a column and its type, such as zip=text"),
            (
                f"{RUN} --column-type a=text --column-type a=number",
                "--column-type gives a two types, text and number: leave one out",
            ),
            (
                RUN.replace("model.joblib", "s3://b/m"),
                "model s3://b/m is not on this machine, and the local AWS starts empty: give a local path",
            ),
            (f"{RUN} --chunk-size-mb 0", "chunk_size_mb must be above 0, not 0.0"),
            (RUN.replace("--prediction p", ""), "missing --prediction"),
            ("run --request no.json", "request no.json cannot be read: No such file or directory"),
            ("run --request data.csv --overwrite --model m", "--request is the whole request: leave out --model, --overwrite"),
            ("check-model no.joblib", "model file no.joblib does not exist"),
            ("check-model model.joblib --features a,,b", "--features 'a,,b' has an empty name: separate names by single commas"),
            (
                "check-model model.joblib --prediction-method guess",
                "--prediction-method must be one of predict, predict_proba, decision_function, not 'guess'",
            ),
            (f"{RUN} --predictions label,top_k=x", "--predictions has top_k=x, in which 'x' is not a number"),
            (
                [*RUN.split(), "--predictions", '[{}, {"top_k": 0}]'],
                "predictions[0] must have one field, not 0; top_k must be at least 1, not 0",
            ),
            ("check-model model.joblib --predictions top_k=0", "top_k must be at least 1, not 0"),
            (
                "check-model model.joblib --predictions label --prediction-method predict_proba",
                "--predictions and --prediction-method exclude each other: give one of them",
            ),
            (f"{RUN} --region eu-central-1", "--profile and --region go with --stack"),
            (RUN.replace("run", "plan", 1).replace("data.csv", "no.csv"), "data file no.csv does not exist"),
            *(
                (command, "there are no runs in .batch-predict/: name the stack with --stack, or begin with `batch-predict run`")
                for command in ("status", "watch", "logs", "report", "explain")
            ),
            *(
                (command, "there is no run x in .batch-predict/: see `batch-predict list`, or name the stack with --stack")
                for command in ("status x", "watch x", "cancel x", "logs x", "report x", "chunk x 1", "explain x")
            ),
            ("run --request data.csv", "request data.csv is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ],
    )
    def test_one_sentence_and_exit_code_1(self, invoke, files, arguments, sentence):
        before = sorted(files.rglob("*"))

        result = invoke(arguments)

        assert (result.exit_code, result.stderr, result.stdout) == (1, f"Error: {sentence}\n", "")
        assert sorted(files.rglob("*")) == before
        assert Path("exists.csv").read_text() == "kept"

    def test_all_mistakes_are_listed(self, invoke):
        result = invoke("run --model no --data no.csv --data empty --features a,a --prediction p --output no/o --max-concurrency 0")

        for part in (
            "model file no ",
            "data file no.csv ",
            "directory empty ",
            "directory no ",
            "feature_columns ",
            "max_concurrency ",
        ):
            assert part in result.stderr

    @pytest.mark.parametrize(
        ("request_json", "sentence"),
        [
            ('{"a": }', "is not JSON"),
            ("[1]", "must be one JSON object"),
            ('{"modle_s3_uri": "m"}', '"modle_s3_uri" is not a field of the request (did you mean model_s3_uri?)'),
            ('{"data_s3_uri": "no.csv", "model_s3_uri": 5}', "data file no.csv does not exist"),
            ('{"data_s3_uri": "no.csv", "model_s3_uri": 5}', "model_s3_uri must be a string, not 5"),
            ('{"data_s3_uri": ["data.csv", 7]}', "data_s3_uri[1] must be a string, not 7"),
        ],
    )
    def test_requests(self, invoke, request_json, sentence):
        Path("request.json").write_text(request_json)

        result = invoke("run --request request.json")

        assert result.exit_code == 1
        assert sentence in result.stderr

    def test_json_is_one_object_also_then(self, invoke):
        result = invoke(f"{RUN.replace('data.csv', 'no.csv')} --json")

        answer = json.loads(result.stdout)
        assert result.stdout.count("\n") == 1
        assert (answer["status"], answer["error"], answer["output"]) == ("FAILED", "InvalidRequestError", None)
        assert answer["cause"] == "data file no.csv does not exist"

    @pytest.mark.parametrize(
        "command", ["run --nope", "nope", "--nope", "chunk", "list --limit none", "serve --port 0", "run --model"]
    )
    def test_a_command_that_is_wrong_by_itself_exits_as_any_other_bad_input(self, invoke, command):
        result = invoke(command)

        assert (result.exit_code, result.stdout) == (1, "")
        assert "Error: " in result.stderr


class TestOptions:
    @pytest.mark.parametrize(
        ("features", "options", "fields"),
        [
            ("a,b", "", {}),
            ("a,b", "--chunk-size-mb 1.5 --max-concurrency 3", {"chunk_size_mb": 1.5, "max_concurrency": 3}),
            ("a,b", "--tolerated-failure-percentage 5", {"tolerated_failure_percentage": 5}),
            ("a,b", "--prediction-method predict_proba", {"prediction_method": "predict_proba"}),
            ("a,b", "--predictions label,probability", {"predictions": ["label", "probability"]}),
            (
                "a,b",
                "--predictions probabilities=yes;no,top_k=3,threshold=0.3",
                {"predictions": [{"probabilities": {"classes": ["yes", "no"]}}, {"top_k": 3}, {"threshold": 0.3}]},
            ),
            ("a,b", "--predictions threshold=a:b:0.5;c:1", {"predictions": [{"threshold": {"a:b": 0.5, "c": 1}}]}),
            ("a,b", '--predictions [{"threshold":{";":0.5}}]', {"predictions": [{"threshold": {";": 0.5}}]}),
            ("a,b", f"--model-sha256 {'0' * 64}", {"model_sha256": "0" * 64}),
            ("a,b", "--on-bad-row quarantine", {"on_bad_row": "quarantine"}),
            ("a,b", "--strict --overwrite --dry-run", {"strict": True, "overwrite": True, "dry_run": True}),
            ("a,b", "--column-type a=text --column-type b=integer", {"column_types": {"a": "text", "b": "integer"}}),
            ("a,b", "--csv delimiter=\\t --csv decimal=,", {"csv": {"delimiter": "\t", "decimal": ","}}),
            (
                "a,b",
                "--csv delimiter=\\x01 --csv header=false --csv column_names=a,b",
                {"csv": {"delimiter": "\x01", "header": False, "column_names": ["a", "b"]}},
            ),
            ("a=b,b", "--column-type a=b=text", {"feature_columns": ["a=b", "b"], "column_types": {"a=b": "text"}}),
            ("a,b", "--output-columns id,score", {"output_columns": ["id", "score"]}),
            ("a,b", "--output-columns=", {"output_columns": []}),
            ('a , b, "c,d"', "", {"feature_columns": ["a", "b", "c,d"]}),  # one record of CSV
        ],
    )
    def test_only_what_is_given_goes_into_the_request(self, invoke, prepared, features, options, fields):
        invoke([features if word == "a,b" else word for word in [*RUN.split(), *options.split()]])

        assert prepared[0].request == {
            "model_s3_uri": "s3://batch-predict/models/model.joblib",
            "data_s3_uri": ["s3://batch-predict/data/data.csv"],
            "output_s3_uri": "s3://batch-predict/output/out.csv",
            "prediction_column_name": "p",
            "feature_columns": ["a", "b"],
            **fields,
        }

    @pytest.mark.parametrize("data", ["--data other.csv data.csv", "--data other.csv --data data.csv", "--data=other.csv data.csv"])
    def test_data_takes_several_files_in_the_order_given(self, invoke, prepared, data):
        invoke(RUN.replace("--data data.csv", data))

        assert [uri.rpartition("/")[2] for uri in prepared[0].request["data_s3_uri"]] == ["other.csv", "data.csv"]

    def test_a_request_names_local_paths(self, invoke, prepared):
        fields = {"model_s3_uri": "model.joblib", "data_s3_uri": ["data.csv"], "output_s3_uri": "out-{execution_name}.csv"}
        Path("request.json").write_text(json.dumps({**fields, "prediction_column_name": "p", "feature_columns": ["a"]}))
        invoke("run --request request.json")

        assert prepared[0].request["model_s3_uri"] == "s3://batch-predict/models/model.joblib"
        assert prepared[0].request["output_s3_uri"] == "s3://batch-predict/output/out-{execution_name}.csv"


def test_a_plan_may_say_whatever_decides_whether_its_run_could_start():
    """Data without rows, a first row that the model refuses, a model of another version: a plan of these is the run's."""
    run, plan = ({option.name for option in typer.main.get_command(cli.app).commands[name].params} for name in ("run", "plan"))
    assert run - plan == {"tolerated_failure_percentage", "keep_work", "dry_run", "name", "detach"}
