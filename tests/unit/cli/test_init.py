"""`batch-predict init`: questions, answers, and the file that the SAM CLI reads."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse
from typer.testing import CliRunner

from batch_predict.cli import init_command
from batch_predict.cli.app import app
from batch_predict.deployed import template_parameters
from batch_predict.setup.samconfig import current_settings
from batch_predict.setup.stack_settings import (
    MAY_BE_EMPTY,
    PLACEHOLDERS,
    REGION,
    SETTINGS,
    STACK_NAME,
    default_of,
    overlaps,
    problem,
)

ROOT = Path(__file__).parents[3]
START = (ROOT / "samconfig.toml").read_text()
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]
YESTERDAY = json.loads((ROOT / "events/schedule_yesterday.json").read_text())
NAMES = [question.name for question in SETTINGS]
BUCKETS = "--model-bucket our-models --data-bucket our-data --output-bucket our-predictions"
REQUEST = {
    "model_s3_uri": "s3://our-models/models/m.joblib",
    "data_s3_uri": "s3://our-data/data/day={scheduled_time-1d:%Y-%m-%d}/",
    "output_s3_uri": "s3://our-predictions/output/{scheduled_time-1d:%Y-%m-%d}.csv",
    "prediction_column_name": 'the "score"',
    "feature_columns": ["it's", "a \\ b", "größe, cm"],
    "scheduled_time": "<aws.scheduler.scheduled-time>",
    "time_zone": "Europe/Berlin",
}


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """A folder with a request for schedules."""
    monkeypatch.chdir(tmp_path)
    Path("request.json").write_text(json.dumps(REQUEST))
    return tmp_path


def init(arguments, answers=None, *, exit_code=0):
    """Answer `batch-predict init`, and hold it to its exit code."""
    typed = None if answers is None else "".join(f"{answer}\n" for answer in answers)
    words = arguments if isinstance(arguments, list) else arguments.split()
    result = CliRunner().invoke(app, ["init", *words], input=typed, prog_name="batch-predict")
    assert result.exit_code == exit_code, result.output
    return result


def sam_reads(path="samconfig.toml"):
    """{parameter: value}, by the SAM CLI's own patterns: samcli/cli/types.py, CfnParameterOverridesType, of version 1.170."""
    value = r"""("(?:\\.|[^"\\]+)*"|'(?:\\.|[^'\\]+)*'|(?:\\.|[^ "\\]+)+)"""
    found = {}
    for entry in tomllib.loads(Path(path).read_text())["default"]["deploy"]["parameters"]["parameter_overrides"]:
        for name, text in re.findall(rf"""(?:(?: )([A-Za-z0-9"']+)={value})""", f" {entry.strip()}"):
            bare = text[1:-1] if text[0] == text[-1] and text[0] in "\"'" else text
            found[name] = bare.replace("\\ ", " ").replace('\\"', '"').replace("\\'", "'")
    return found


class TestSettings:
    def test_each_is_a_parameter_of_the_template_or_an_option_of_sam_deploy(self):
        assert template_parameters() == TEMPLATE
        assert set(NAMES) - {STACK_NAME, REGION} <= TEMPLATE.keys()
        assert all("Default" in rule for name, rule in TEMPLATE.items() if name not in NAMES)  # what is not asked

    def test_what_may_be_empty_is_empty_by_default_but_for_prefixes_which_must_not_overlap(self):
        defaults = {name: TEMPLATE[name]["Default"] for name in MAY_BE_EMPTY - {REGION}}
        prefixes = {"ModelPrefix": "models/", "DataPrefix": "data/", "OutputPrefix": "output/"}
        assert {name: default for name, default in defaults.items() if default} == prefixes

    def test_the_placeholders_are_the_projects_own(self):
        Path("samconfig.toml").write_text(START)
        assert {name: sam_reads()[name] for name in PLACEHOLDERS} == PLACEHOLDERS

    def test_every_setting_has_an_option_that_writes_it(self):
        said = {name: value for name, value in reversed(RIGHT) if value} | GIVEN
        words = [word for setting in SETTINGS for word in (setting.option, said[setting.name])]
        init(["--yes", *words])

        deploy = tomllib.loads(Path("samconfig.toml").read_text())["default"]["deploy"]["parameters"]
        written = {**sam_reads(), STACK_NAME: deploy[STACK_NAME], REGION: deploy[REGION]}
        assert json.loads(written.pop("ScheduleRequest")) == REQUEST
        assert written == {name: value for name, value in said.items() if name != "ScheduleRequest"}


GIVEN = {
    "ModelPrefix": "models/",
    "DataPrefix": "data/",
    "OutputPrefix": "output/",
    "ScheduleRequest": "request.json",
    "PredictMemorySize": "2048",
    "ScheduleTimezone": "Europe/Berlin",
    "Architecture": "x86_64",
    "DataBucket": "our-data",
    "OutputBucket": "our-predictions",
    "ModelBucket": "our-models",
}
RIGHT = [
    (STACK_NAME, "batch-predict"),
    (REGION, ""),
    (REGION, "us-gov-west-1"),
    ("ModelBucket", "a.b-3"),
    ("ModelPrefix", ""),
    ("DataPrefix", "a/b c/"),
    ("CreateOutputBucket", "true"),
    ("NotifyOfSuccess", "true"),
    ("PredictReservedConcurrency", "50"),
    ("PermissionsBoundary", "arn:aws:iam::123456789012:policy/boundary"),
    ("VpcSubnetIds", "subnet-0a,subnet-0b"),
    ("VpcSecurityGroupIds", "sg-01"),
    ("PredictMemorySize", "10240"),
    ("ScheduleExpression", ""),
    ("ScheduleExpression", "rate(15 minutes)"),
    ("ScheduleExpression", "cron(0/15 8-17 ? JAN,DEC MON-FRI 2026-2030)"),
    ("ScheduleExpression", "cron(0 2 L * ? *)"),
    ("ScheduleExpression", "cron(0 2 15W * ? *)"),
    ("ScheduleExpression", "cron(0 2 ? * fri#2 *)"),
    ("ScheduleExpression", "at(2030-01-31T00:30:00)"),
    ("ScheduleTimezone", "Europe/Berlin"),
    ("NotificationEmail", ""),
    ("NotificationEmail", "a.b+c@mail.example.com"),
    ("ScheduleRequest", json.dumps(REQUEST)),
]
WRONG = [
    ("NotifyOfSuccess", "sometimes", "must be"),
    ("PredictReservedConcurrency", "0", 'must be "" or a whole number from 1 on'),
    ("Architecture", "arm", "must be one of arm64, x86_64"),
    ("PermissionsBoundary", "boundary", 'must be "" or the ARN of a policy'),
    ("VpcSubnetIds", "subnet-1, subnet-2", "separated by commas, without spaces"),
    ("VpcSecurityGroupIds", "default", 'must be "" or security groups'),
    (STACK_NAME, "", "is too short (0 of at least 1 characters)"),
    (STACK_NAME, "1st", "begins with '1': a stack's name is letters"),
    (STACK_NAME, "a b.ü", "has a space, '.' and 'ü': a stack's name is letters"),
    (STACK_NAME, "a" * 81, "is too long (81 of at most 80 characters)"),
    (REGION, "Frankfurt", "must be a region"),
    (REGION, "EU_Central-1", "must be a region such as eu-central-1"),
    ("ModelBucket", "", "ModelBucket is missing"),
    ("ModelBucket", "my-models", "is only the example of samconfig.toml"),
    ("DataBucket", "s3://our-data/2026/", "bare name of a bucket, such as 'our-data'; a prefix is a setting of its own"),
    ("DataBucket", "S3://", "bare name of a bucket; a prefix"),
    ("OutputBucket", "a" * 64, "is too long (64 of at most 63 characters): a"),
    ("OutputBucket", "our-größe", "' has 'ß' and 'ö': a"),
    ("OutputBucket", "our-data-", "' ends with '-': a"),
    ("OutputBucket", ".our-data", "' begins with '.': a"),
    ("OutputBucket", "O_", "is too short (2 of at least 3 characters), has upper-case letters and has an underscore: a"),
    ("OutputBucket", "a..b", "' has two dots in a row: a"),
    ("OutputBucket", "192.168.0.1", "' is formed as an IP address: a"),
    ("ModelBucket", "xn--models", "begins with 'xn--', which S3 keeps for itself"),
    ("ModelBucket", "models--x-s3", "ends with '--x-s3', which S3 keeps for other kinds of buckets"),
    ("ModelPrefix", "models", "does not end in '/': permissions on 'models' would cover 'models-of-others/', too"),
    ("ModelPrefix", "s3://our-models/models/", "must be what follows the bucket, models/, without s3://"),
    ("DataPrefix", "/a//b", "begins with '/', and keys do not, has an empty part ('//') and does not end in '/'"),
    ("DataPrefix", "a/../b/", "has the part '..', and keys with it are refused"),
    ("OutputPrefix", "a*/", "has '*': permissions"),
    ("OutputPrefix", "a\tb/", "has a control character"),
    ("OutputPrefix", "a" * 1024 + "/", "is longer than a key may be"),
    ("CreateOutputBucket", "perhaps", "must be yes or no"),
    ("PredictMemorySize", "511", "from 512 to 10240"),
    ("PredictMemorySize", "10241", "from 512 to 10240"),
    ("ScheduleExpression", "every day", "must be rate(1 day)"),
    ("ScheduleExpression", "rate(0 days)", "must be rate(NUMBER UNIT)"),
    ("ScheduleExpression", "rate(1 week)", "must be rate(NUMBER UNIT)"),
    ("ScheduleExpression", "cron(30 0 * * *)", "must have six fields"),
    ("ScheduleExpression", "cron(60 0 * * ? *)", "has '60' for minutes"),
    ("ScheduleExpression", "cron(0 0 ? * 0 *)", "has '0' for day of week"),
    ("ScheduleExpression", "cron(0 0 1 * ? 1969)", "has '1969' for year"),
    ("ScheduleExpression", "cron(? 0 * * ? *)", "has '?' for minutes"),
    ("ScheduleExpression", "cron(0/0 0 * * ? *)", "has '0/0' for minutes"),
    ("ScheduleExpression", "cron(1-2-3 0 * * ? *)", "has '1-2-3' for minutes"),
    ("ScheduleExpression", "cron(0 0 * * * *)", "either the day of month or the day of week"),
    ("ScheduleExpression", "cron(0 0 ? * ? *)", "either the day of month or the day of week"),
    ("ScheduleExpression", "at(2030-02-30T00:00:00)", "must be at("),
    ("ScheduleExpression", "at(2030-01-01T00:00:00+01:00)", "must be at("),
    ("ScheduleTimezone", "Berlin", "Europe/Berlin"),
    ("NotificationEmail", "somebody", "one mail address"),
    ("NotificationEmail", "a@b.example, c@d.example", "one mail address"),
    ("ScheduleRequest", "{", "is not JSON"),
    ("ScheduleRequest", "[]", "is no request"),
    ("ScheduleRequest", json.dumps({**REQUEST, "modell": 1}), "modell"),
    ("ScheduleRequest", json.dumps({**REQUEST, "feature_columns": [f"column {i}" for i in range(400)]}), "takes 4096"),
]


@pytest.mark.parametrize(("name", "value", "sentence"), [*((*right, None) for right in RIGHT), *WRONG])
def test_an_answer_is_right_or_said_to_be_wrong(name, value, sentence):
    said = problem(name, value)
    assert said is None if sentence is None else sentence in said


def test_each_setting_has_wrong_answers_in_the_table():
    assert {name for name, _, _ in WRONG} == set(NAMES)


class TestQuestions:
    def test_a_schedule_is_asked_for_its_zone_and_its_request(self):
        wrong_first = ["cron(30 0 * * *)", "cron(30 0 * * ? *)", "Berlin", "Europe/Berlin", "no.json", "request.json"]
        result = init(
            f"{BUCKETS} --stack-name a --region none --create-output-bucket false --memory 1769",
            [*[""] * 3, *wrong_first, *[""] * 2, "y"],
        )

        for sentence in ("six fields", "must be the name of a time zone", "request no.json cannot be read: No such file"):
            assert sentence in result.output
        assert (sam_reads()["ScheduleExpression"], sam_reads()["ScheduleTimezone"]) == ("cron(30 0 * * ? *)", "Europe/Berlin")
        assert json.loads(sam_reads()["ScheduleRequest"]) == REQUEST


class TestRevising:
    @pytest.mark.parametrize(
        ("answer", "setting"),
        [("YES", "true"), (" n", "false")],
    )
    def test_yes_and_no_are_said_in_any_way(self, answer, setting):
        said = init(f"{BUCKETS} --stack-name a", [*[""] * 4, answer, *[""] * 4, "y"])

        assert "(y, n) [n]:" in said.output
        assert sam_reads().get("CreateOutputBucket", "false") == setting
        init(["--yes", "--overwrite", "--create-output-bucket", answer])
        assert sam_reads().get("CreateOutputBucket", "false") == setting

    def test_each_answer_can_be_changed_before_anything_is_written(self):
        changes = ["3", "Our_Models", "their-models", "createoutputbucket", "no", "x", "0", "15"]
        said = init(f"{BUCKETS} --stack-name a", [*[""] * 4, "y", *[""] * 3, *changes, "", "y"])

        lists = [
            [line.split()[1:] for line in part.splitlines() if re.match(" +[0-9]", line)]
            for part in said.output.split("The answers:")[1:]
        ]
        assert [dict(shown)["ModelBucket"] for shown in lists] == ["our-models", *["their-models"] * 5]
        assert [dict(shown)["CreateOutputBucket"] for shown in lists] == ["yes", "yes", *["no"] * 4]
        assert "ModelBucket 'Our_Models' has upper-case letters and has an underscore" in said.output
        for wrong in ("'x'", "'0'", "'15'"):
            assert f"  {wrong} is none of the numbers 1 to 12\n" in said.output
        assert (sam_reads()["ModelBucket"], sam_reads().get("CreateOutputBucket")) == ("their-models", None)

    def test_what_is_wrong_together_is_said_and_can_be_changed(self):
        """Here prefixes of one bucket that overlap: the list comes again until all is right."""
        buckets = "--model-bucket ours --data-bucket ours --output-bucket ours"
        said = init(f"{buckets} --stack-name a --output-prefix data/", [*[""] * 8, "8", "out/", "", "y"])

        assert "  DataPrefix and OutputPrefix overlap" in said.output
        assert said.output.count("The answers:") == 3
        assert sam_reads()["OutputPrefix"] == "out/"

    def test_a_schedule_that_is_added_or_taken_back_brings_or_takes_its_own_questions(self):
        added = ["11", "rate(1 day)", "Europe/Berlin", "request.json", ""]
        said = init(f"{BUCKETS} --stack-name a", [*[""] * 8, *added, "y"])
        assert json.loads(sam_reads()["ScheduleRequest"]) == REQUEST
        assert "14  NotificationEmail" in said.output

        said = init("--overwrite", [*[""] * 14, "11", "none", ""])
        assert "12  NotificationEmail" in said.output
        assert "ScheduleExpression" not in sam_reads()

    def test_what_is_given_wrongly_is_said_and_asked(self):
        said = init(
            "--model-bucket Models --data-bucket our-data --output-bucket our-predictions --stack-name a",
            ["", "our-models", "", "", "", "", "", "", "", "", "y"],
        )

        assert said.output.startswith("  ModelBucket 'Models' has upper-case letters")
        assert sam_reads()["ModelBucket"] == "our-models"

    def test_nothing_is_written_where_the_answers_end(self, directory):
        init(f"{BUCKETS} --stack-name a", [*[""] * 8, "3"], exit_code=1)
        assert [path.name for path in directory.iterdir()] == ["request.json"]

    def test_the_questions_and_the_list_fit_60_columns(self):
        said = init([*BUCKETS.split(), "--schedule", "rate(1 day)", "--schedule-request", "request.json"], [""] * 12)
        shown = said.output.partition("The answers:\n")[2].partition("Number")[0].splitlines()
        assert len(shown) == 14
        assert max(map(len, shown)) <= 60
        for question in SETTINGS:
            default = default_of(question.name) or ("none" if question.name in MAY_BE_EMPTY else "")
            assert len(f"{question.question} [{default}]: ") <= 60


class TestTutorial:
    """What docs/tutorial.md does with `init`; tests/integration/test_tutorial.py runs the rest of the page."""

    def test_its_commands_deploy_and_then_schedule_its_request(self):
        page = (ROOT / "docs/tutorial.md").read_text()
        (request,) = re.findall(r"^cat > nightly\.json <<'END'\n(.*?)^END$", page, re.DOTALL | re.MULTILINE)
        Path("nightly.json").write_text(request)
        commands = re.findall(r"^batch-predict init (.*)$", page.replace("\\\n", " "), re.MULTILINE)
        assert len(commands) == 2

        for command in commands:
            init(shlex.split(command))
        assert json.loads(sam_reads().pop("ScheduleRequest")) == json.loads(request)
        assert (sam_reads()["CreateOutputBucket"], sam_reads()["ScheduleTimezone"]) == ("true", "Europe/Berlin")


class TestCommand:
    def test_the_example_of_its_help_runs_and_says_how_to_deploy(self, directory):
        words = init_command.INIT_EXAMPLE.rpartition("\b\n")[2].replace("\\\n", " ").split()
        result = init(words[2:])

        assert result.output.endswith("Build and deploy with:\n  batch-predict deploy\n")
        assert '+    "ModelBucket=our-models",' in result.output
        assert sam_reads() == {
            "ModelBucket": "our-models",
            "ModelPrefix": "models/",
            "DataBucket": "our-data",
            "DataPrefix": "data/",
            "OutputBucket": "our-predictions",
            "OutputPrefix": "output/",
            "CreateOutputBucket": "true",
        }
        assert {path.name for path in directory.iterdir()} == {"samconfig.toml", "request.json"}

    def test_only_what_is_asked_for_changes(self):
        mine = START.replace("confirm_changeset = true", "confirm_changeset = false # of ours").replace(
            '    # "CreateOutputBucket', '    "LogRetentionDays=7", # of ours\n    # "CreateOutputBucket'
        )
        Path("samconfig.toml").write_text(mine)
        init(f"--yes {BUCKETS}")

        for name, bucket in (("Model", "our-models"), ("Data", "our-data"), ("Output", "our-predictions")):
            mine = mine.replace(f"{name}Bucket={PLACEHOLDERS[f'{name}Bucket']}", f"{name}Bucket={bucket}")
        assert Path("samconfig.toml").read_text() == mine

    def test_what_somebody_has_set_is_overwritten_only_when_told(self):
        init(f"--yes {BUCKETS}")
        before = Path("samconfig.toml").read_text()

        refused = init("--yes --memory 2048", exit_code=1)
        assert refused.stderr == "Error: samconfig.toml has settings already, and was left as it is: --overwrite changes it\n"
        init("--memory 2048", [""] * 14, exit_code=1)
        assert Path("samconfig.toml").read_text() == before

        init("--yes --memory 2048 --overwrite")
        assert sam_reads()["PredictMemorySize"] == "2048"
        assert sam_reads()["ModelBucket"] == "our-models"

    def test_the_same_again_changes_nothing(self):
        command = ["--yes", *BUCKETS.split(), "--schedule", "rate(1 day)", "--schedule-request", "request.json"]
        init(command)
        before = Path("samconfig.toml").read_text()

        again = init(command)
        assert Path("samconfig.toml").read_text() == before
        assert again.output.startswith("samconfig.toml holds these settings already.")

    def test_a_setting_can_be_taken_back(self):
        schedule = ["--schedule", "rate(1 day)", "--schedule-request", "request.json", "--region", "eu-central-1"]
        init(["--yes", *BUCKETS.split(), *schedule])
        assert current_settings(Path("samconfig.toml").read_text())[REGION] == "eu-central-1"
        init(["--yes", "--overwrite", "--schedule", "none", "--region", "none"])

        assert current_settings(Path("samconfig.toml").read_text()).keys().isdisjoint({REGION, "ScheduleExpression"})

    def test_what_sam_deploy_guided_has_written_is_read(self):
        guided = 'version = 0.1\n[default.deploy.parameters]\nstack_name = "s"\nparameter_overrides = '
        value = r'"ModelBucket=\"m-1\" DataBucket=\"d-1\" OutputBucket=\"o-1\" ScheduleTimezone=\"UTC\" LogRetentionDays=\"7\""'
        Path("samconfig.toml").write_text(f"{guided}{value}\n")
        assert current_settings(f"{guided}{value}")["DataBucket"] == "d-1"

        init("--yes --overwrite --memory 2048")
        assert sam_reads() == {
            "ModelBucket": "m-1",
            "DataBucket": "d-1",
            "OutputBucket": "o-1",
            "ScheduleTimezone": "UTC",
            "LogRetentionDays": "7",
            "PredictMemorySize": "2048",
        }

    @pytest.mark.parametrize(
        ("config", "with_template", "commands"),
        [
            ("other.toml", False, ["batch-predict deploy --config other.toml"]),
            ("of ours/samconfig.toml", False, ["batch-predict deploy --config 'of ours/samconfig.toml'"]),
            ("samconfig.toml", True, ["sam build", "sam deploy"]),
            (
                "of ours/other.toml",
                True,
                ["cd 'of ours'", "sam build --config-file other.toml", "sam deploy --config-file other.toml"],
            ),
        ],
    )
    def test_a_file_elsewhere_is_named_to_what_deploys(self, config, with_template, commands):
        """SAM, where a template lies beside it, which was ejected or is a checkout's; else the installed package."""
        Path("of ours").mkdir()
        if with_template:
            (Path(config).parent / "template.yaml").touch()
        result = init(["--yes", *BUCKETS.split(), "--config", config])

        assert result.output.rpartition("eploy with:\n")[2] == "".join(f"  {command}\n" for command in commands)

    @pytest.mark.parametrize(
        ("arguments", "sentences"),
        [
            ("", ["ModelBucket is missing", "DataBucket is missing", "OutputBucket is missing"]),
            (f"{BUCKETS} --subnets subnet-1", ["VpcSubnetIds and VpcSecurityGroupIds go together"]),
            (
                "--model-bucket ours --data-bucket ours --output-bucket ours --output-prefix models/new/",
                ["ModelPrefix and OutputPrefix overlap (s3://ours/models/ and s3://ours/models/new/): an output could be"],
            ),
            (f"{BUCKETS} --memory much --model-prefix models", ["PredictMemorySize 'much'", "ModelPrefix 'models'"]),
            (f"{BUCKETS} --schedule rate(1day)", ["ScheduleExpression 'rate(1day)'", "needs the request"]),
            (f"{BUCKETS} --schedule-request no.json", ["request no.json cannot be read: No such file or directory"]),
            (f"{BUCKETS} --schedule-request broken.json", ["request broken.json is not JSON"]),
            (
                f"{BUCKETS} --model-prefix models/ --schedule-request elsewhere.json",
                ["model_s3_uri s3://batch-predict/models/arrival_delay.joblib is not under s3://our-models/models/"],
            ),
            (f"{BUCKETS} --config .", [". cannot be read: Is a directory"]),
            (f"{BUCKETS} --config no/samconfig.toml", ["no/samconfig.toml cannot be written: No such file"]),
            (f"{BUCKETS} --config broken.json", ["cannot be read as TOML"]),
            (f"{BUCKETS} --config table.toml", ["parameter_overrides must be a list"]),
            (f"{BUCKETS} --config two.toml", ["ModelBucket, DataBucket in one entry"]),
            (f"{BUCKETS} --config latin.toml", ["latin.toml is not UTF-8"]),
            (f"{BUCKETS} --config odd.toml", ["deploy of [default.deploy.parameters] is no table"]),
        ],
    )
    def test_bad_input_is_a_sentence_and_writes_nothing(self, directory, arguments, sentences):
        Path("broken.json").write_text("{")
        Path("elsewhere.json").write_text(json.dumps(YESTERDAY))
        Path("table.toml").write_text("[default.deploy.parameters.parameter_overrides]\nModelBucket = 'a'\n")
        Path("two.toml").write_text("[default.deploy.parameters]\nparameter_overrides = ['ModelBucket=a DataBucket=b']\n")
        Path("latin.toml").write_bytes(b"# gr\xf6\xdfe")
        Path("odd.toml").write_text("[default]\ndeploy = 1\n")
        before = {path: path.read_bytes() for path in directory.iterdir()}

        result = init(f"--yes {arguments}", exit_code=1)

        assert result.stderr.startswith("Error: ")
        for sentence in sentences:
            assert sentence in result.stderr
        assert {path: path.read_bytes() for path in directory.iterdir()} == before


OVERLAPS = [
    (("b", "", "d", "", "b", ""), [("Model", "Output")]),
    (("b", "a/", "d", "", "b", "a/output/"), [("Model", "Output")]),
    (("b", "a/models/", "d", "", "b", "a/"), [("Model", "Output")]),
    (("m", "", "b", "data/", "b", "data/"), [("Data", "Output")]),
    (("b", "x/", "b", "x/", "b", "x/"), [("Model", "Data"), ("Model", "Output"), ("Data", "Output")]),
    (("b", "a/", "b", "ab/", "b", "b/a/"), []),
    (("m", "", "d", "", "o", ""), []),
    (("b", "", "b-2", "", "b-2.x", ""), []),
]


def settings_of(places):
    names = [f"{kind}{part}" for kind in ("Model", "Data", "Output") for part in ("Bucket", "Prefix")]
    return dict(zip(names, places, strict=True))


@pytest.mark.parametrize(("places", "pairs"), OVERLAPS)
def test_places_that_overlap_are_refused(places, pairs):
    said = list(overlaps(settings_of(places)))
    assert [sentence.partition(" overlap")[0] for sentence in said] == [f"{one}Prefix and {other}Prefix" for one, other in pairs]
