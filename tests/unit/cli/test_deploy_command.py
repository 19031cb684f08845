"""`batch-predict eject` and `deploy`; tests/package builds with them, tests/wheel runs them as they are installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse
from typer.testing import CliRunner

from batch_predict.cli import deploy_command
from batch_predict.cli.app import app
from batch_predict.cli.deploy_command import aws_commands
from batch_predict.errors import BatchPredictError
from batch_predict.setup import package, stack_files
from batch_predict.setup.samconfig import configured, deploy_options, start_text

ROOT = Path(__file__).parents[3]
BUCKETS = {"ModelBucket": "our-models", "DataBucket": "our-data", "OutputBucket": "our-predictions"}
SET = configured(start_text(), BUCKETS)
BUCKET = "--s3-bucket BUCKET --region eu-central-1"
CAPABILITIES = "--capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND"
REST = (
    "--tags Project=batch-predict --parameter-overrides ModelBucket=our-models ModelPrefix=models/ DataBucket=our-data "
    "DataPrefix=data/ OutputBucket=our-predictions OutputPrefix=output/"
)
REQUEST = {
    "model_s3_uri": "s3://our-models/models/m.joblib",
    "data_s3_uri": "s3://our-data/data/",
    "output_s3_uri": "s3://our-predictions/output/it's.csv",
    "prediction_column_name": 'the "score"',
    "feature_columns": ["a, b"],
}
CLI = """\
#!/bin/sh
printf '%s\\n' "$(basename "$0") $(pwd)" "$@" >> "$LOG"
exit ${STATUS:-0}
"""


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """A folder with settings that can be deployed."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("samconfig.toml").write_text(SET)
    return tmp_path / "here"


@pytest.fixture
def built(monkeypatch):
    """Building takes a minute the first time: tests/package and tests/wheel do it."""
    folders = []

    def build(folder, say, settings):
        assert settings.parent == folder  # the processor is that of the settings
        folders.append(folder)
        say("built")

    monkeypatch.setattr(deploy_command, "build", build)
    return folders


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put command lines on PATH that only note how they were called; returns how they were."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    (tmp_path / "bin").mkdir()

    def install(*names):
        for name in names:
            (tmp_path / "bin" / name).write_text(CLI)
            (tmp_path / "bin" / name).chmod(0o755)

    install.calls = lambda: (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
    return install


def invoke(*arguments, answer=None, exit_code=0):
    result = CliRunner().invoke(app, list(arguments), prog_name="batch-predict", input=answer)
    assert result.exit_code == exit_code, result.output
    return result


class TestEject:
    def test_what_is_written_is_what_a_checkout_has(self):
        invoke("eject", "there")

        files = [path.relative_to("there") for path in sorted(Path("there").rglob("*")) if path.is_file()]
        own = {str(path) for path in files if not (ROOT / path).is_file()}
        assert own == {f"builder/{name}" for name in ("__init__.py", *package.SOURCES)}
        for path in files:
            there = Path("batch_predict/setup") / path.name if str(path) in own else path
            if path != Path("Makefile"):
                assert (Path("there") / path).read_bytes() == (ROOT / there).read_bytes(), path
        folders = [ROOT / name for name in ("functions", "statemachine", "events")]
        inside = {
            str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*.*") if "__pycache__" not in path.parts
        }
        locks = {"requirements.lock", "requirements-kernel.lock"}
        beside = locks | {"template.yaml", "samconfig.toml", "Makefile", "functions/predict/Dockerfile"}
        assert inside | beside | own == set(map(str, files))

    def test_all_that_the_template_names_is_there_and_each_function_has_its_target_as_in_a_checkout(self):
        stack_files.eject(Path("there"))

        template = yaml_parse(Path("there/template.yaml").read_text())
        for name, resource in template["Resources"].items():
            properties = resource.get("Properties", {})
            for path in (properties.get("CodeUri"), properties.get("DefinitionUri")):
                assert path is None or (Path("there") / path).exists(), name
            if resource["Type"] == "AWS::Serverless::Function":
                for folder, builder in (("there", "builder.package"), (ROOT, "batch_predict.setup.package")):
                    command = ["make", "--dry-run", "-C", folder, f"build-{name}", "ARTIFACTS_DIR=made"]
                    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                    assert f'-m {builder} --artifact {name} "made"' in said

    def test_its_builder_needs_nothing_else_and_builds_what_lies_beside_it(self):
        """Also under a folder with a template of its own, and in a Python that has another batch-predict."""
        stack_files.eject(Path("there"))
        Path("template.yaml").write_text("Resources: {}")
        path = Path("there/functions/workflow/errors.py")
        path.write_text(f"{path.read_text()}\n# of ours\n")
        command = [sys.executable, "-S", "-m", "builder.package", "--artifact", "PlanChunksFunction", "made"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(Path("cache").absolute())}

        done = subprocess.run(command, check=False, cwd="there", env=environment, capture_output=True, text=True)

        assert done.returncode == 0, done.stderr
        assert Path("there/made/workflow/errors.py").read_text().endswith("# of ours\n")
        assert Path("there/made/workflow/plan_chunks.py").is_file()
        assert not Path("cache").exists()

    def test_settings_that_are_there_stay_and_nothing_else_is_replaced_unless_told(self):
        invoke("eject", ".")
        assert Path("samconfig.toml").read_text() == SET
        invoke("eject", ".")  # what is as it would be written is not in the way

        for name in ("template.yaml", "Makefile"):
            Path(name).write_text("of ours")
        Path("events/start_execution.json").unlink()
        refused = invoke("eject", ".", exit_code=1)
        assert refused.stderr == (
            "Error: template.yaml, Makefile would be replaced, and nothing was written: name another folder, or use --overwrite\n"
        )
        assert not Path("events/start_execution.json").exists()
        assert Path("Makefile").read_text() == "of ours"

        invoke("eject", ".", "--overwrite")
        assert Path("template.yaml").read_text() == (ROOT / "template.yaml").read_text()
        assert Path("samconfig.toml").read_text() == SET

    def test_a_folder_that_cannot_be_written_is_a_sentence(self):
        Path("file").touch()
        refused = invoke("eject", "file/there", exit_code=1)
        assert refused.stderr == "Error: file/there cannot be written: Not a directory\n"

    def test_says_what_comes_next(self):
        assert invoke("eject", "our folder").output.endswith(
            "deploy it:\n  cd 'our folder'\n  batch-predict init\n  sam build\n  sam deploy\n"
        )
        assert invoke("eject", ".").output.endswith("deploy it:\n  batch-predict init\n  sam build\n  sam deploy\n")


class TestDeploy:
    def test_says_both_ways_and_sends_nothing(self, built, install):
        install("sam", "aws")
        Path("samconfig.toml").write_text(configured(SET, {"region": "eu-central-1"}))
        result = invoke("deploy")

        assert built == [Path()]
        template, packaged = ".aws-sam/build/template.yaml", ".aws-sam/build/packaged.yaml"
        assert result.stdout.splitlines() == [
            "",
            "Deploy with the SAM CLI:",
            "  sam deploy",
            "or with the AWS CLI, and a bucket for the code:",
            f"  aws cloudformation package --template-file {template} --output-template-file {packaged} {BUCKET}",
            f"  aws cloudformation deploy --template-file {packaged} --stack-name batch-predict {CAPABILITIES} {BUCKET} {REST}",
        ]
        assert result.stderr.startswith("Building the functions …\nbuilt\n")
        assert install.calls() == []

    def test_yes_runs_the_sam_cli_where_the_settings_are(self, built, install, directory):
        install("sam", "aws")
        Path("ours").mkdir()
        Path("ours/nightly.toml").write_text(SET)
        result = invoke("deploy", "--config", "ours/nightly.toml", "--yes", "--profile", "team", "--code-bucket", "our-code")

        assert built == [Path("ours")]
        assert "Deploy with the SAM CLI, in ours:\n" in result.stdout
        words = ["deploy", "--config-file", "nightly.toml", "--profile", "team", "--no-confirm-changeset"]
        assert install.calls() == [f"sam {directory / 'ours'}", *words]

    def test_yes_runs_the_aws_cli_where_there_is_no_other(self, built, install, directory):
        install("aws")
        text = configured(SET, {"ScheduleExpression": "cron(30 0 * * ? *)", "ScheduleRequest": json.dumps(REQUEST)})
        Path("samconfig.toml").write_text(text)
        invoke("deploy", "--yes", "--code-bucket", "our-code")

        first, second = aws_commands(deploy_options(text), "our-code", None)
        assert install.calls() == [f"aws {directory}", *first[1:], f"aws {directory}", *second[1:]]
        assert "ScheduleExpression=cron(30 0 * * ? *)" in second
        (request,) = (word.removeprefix("ScheduleRequest=") for word in second if word.startswith("ScheduleRequest="))
        assert json.loads(request) == REQUEST
        assert built

    @pytest.mark.parametrize(
        ("names", "arguments", "answer", "asked", "runs"),
        [
            (["sam", "aws"], [], "y", "Run `sam deploy` now? [y/N]:", ["sam"]),
            (["sam"], [], "", "Run `sam deploy` now? [y/N]:", []),
            (
                ["aws"],
                ["--code-bucket", "our-code"],
                "YES",
                "Run `aws cloudformation package` and `aws cloudformation deploy` now?",
                ["aws", "aws"],
            ),
            (["aws"], [], "y", None, []),
            ([], ["--code-bucket", "our-code"], "y", None, []),
        ],
    )
    def test_in_a_terminal_it_asks_before_it_runs_anything(
        self, built, install, monkeypatch, names, arguments, answer, asked, runs
    ):
        install(*names)
        monkeypatch.setattr(deploy_command, "is_terminal", lambda: True)
        result = invoke("deploy", *arguments, answer=f"{answer}\n")

        assert len(built) == 1
        assert (asked in result.stdout) if asked else ("now?" not in result.stdout)
        assert [line.split()[0] for line in install.calls() if " /" in line] == runs
        assert "--no-confirm-changeset" not in install.calls()  # somebody is there whom SAM can ask

    def test_a_machine_without_the_functions_python_is_warned_at_the_end(self, built, install, monkeypatch):
        """Where the builder's own word stands amid thirty lines."""
        install("sam")
        for found, warned in ((None, True), (deploy_command.target.Interpreter("python", "3.13.1"), False)):
            monkeypatch.setattr(deploy_command.target, "find_interpreter", lambda _, found=found: found)
            result = invoke("deploy")
            assert built
            assert ("\nWarning: there is no Python 3.13 on this machine" in result.stderr) == warned

    def test_what_fails_is_said_and_ends_it(self, built, install, monkeypatch):
        install("aws")
        monkeypatch.setenv("STATUS", "255")
        result = invoke("deploy", "--yes", "--code-bucket", "our-code", exit_code=1)

        assert len(built) == 1
        assert result.stderr.endswith("Error: `aws cloudformation package` ended with 255, and said why above\n")
        assert "deploy" not in install.calls()

    @pytest.mark.parametrize("arguments", [["--yes"], ["--yes", "--code-bucket", "our-code"]])
    def test_yes_without_anything_to_run_is_an_error(self, built, install, arguments):
        if len(arguments) == 1:
            install("aws")
        result = invoke("deploy", *arguments, exit_code=1)

        assert len(built) == 1
        assert "Error: nothing was deployed: --yes needs the SAM CLI" in result.stderr
        assert install.calls() == []

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            (None, "there is no samconfig.toml: write it with `batch-predict init`"),
            (start_text(), "samconfig.toml: ModelBucket is missing: name a bucket of yours"),
            (SET.replace("ModelPrefix=models/", "ModelPrefix=models"), "ModelPrefix 'models'"),
            ("[", "samconfig.toml cannot be read as TOML"),
        ],
    )
    def test_settings_that_are_not_right_are_said_before_anything_is_built(self, built, text, sentence):
        Path("samconfig.toml").unlink()
        if text is not None:
            Path("samconfig.toml").write_text(text)
        result = invoke("deploy", exit_code=1)

        assert built == []
        assert result.stderr.startswith("Error: ")
        assert sentence in result.stderr

    def test_a_template_of_the_users_own_is_never_passed_over(self, built):
        Path("template.yaml").touch()
        result = invoke("deploy", exit_code=1)

        assert built == []
        assert "deploy your own with `sam build` and `sam deploy`" in result.stderr


@pytest.mark.parametrize(
    ("tags", "words"),
    [('"A=b C=d"', ["A=b", "C=d"]), ('["A=b", "C=d e"]', ["A=b", "C=d e"]), ('"A=\\"d e\\""', ["A=d e"]), ("[]", [])],
)
def test_tags_are_read_in_each_way_that_sam_knows(tags, words):
    assert deploy_options(f"[default.deploy.parameters]\ntags = {tags}\n").tags == words


@pytest.mark.parametrize(
    "line", ["tags = ['--endpoint-url=https://there.example']", "tags = 'Owner'", "parameter_overrides = ['--profile=b']"]
)
def test_no_word_of_a_folder_of_others_is_an_option_of_the_aws_cli(line):
    with pytest.raises(BatchPredictError, match="is no tag and no parameter"):
        deploy_options(f"[default.deploy.parameters]\n{line}\n")
