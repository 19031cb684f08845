"""From `pip install` to an output, and to what is deployed, without a clone and without a tool of developers."""

import json
import re
import shlex
import tomllib
import zipfile
from pathlib import Path

import pytest

from batch_predict.setup import package, target

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.emulator("the embedded AWS of an installed batch-predict"),
    pytest.mark.timeout(900),  # the first test waits for the installation
]
FIT = """\
import joblib, pandas as pd
from sklearn.linear_model import LogisticRegression
data = pd.DataFrame({"age": range(20, 60), "income": [x * 37 % 90 for x in range(40)]})
model = LogisticRegression().fit(data, data.age > 40)
joblib.dump(model, "model.joblib")
data["id"] = [f"{n:03}" for n in range(40)]
data[["id", "income", "age"]].to_csv("customers.csv", index=False)
data[["id"]].assign(churn=model.predict(data[["age", "income"]])).to_csv("expected.csv", index=False)
"""


@pytest.fixture(scope="module")
def project(installed, tmp_path_factory):
    """A folder with a user's model and data, made in the user's environment."""
    directory = tmp_path_factory.mktemp("project")
    (directory / "fit.py").write_text(FIT)
    done = installed.run("python fit.py", directory)
    assert done.returncode == 0, done.stderr
    return directory


def readme_commands():
    """The commands of README's first part, which begins with the installation."""
    part = (ROOT / "README.md").read_text().partition("\n## Try it")[2].partition("\n## ")[0]
    blocks = "\n".join(re.findall(r"```\n(.*?)```", part, re.DOTALL)).replace("\\\n", " ")
    return [line for line in blocks.splitlines() if line.startswith(("pip ", "batch-predict "))]


def test_what_is_installed_is_what_runs_need(installed, project, required):
    """No developer's tool, no notebook, nothing that draws; and all requirements hold together."""
    listed = installed.run("pip list --format json", project)
    names = {re.sub(r"[-_.]+", "-", entry["name"]).lower() for entry in json.loads(listed.stdout)}
    assert required | {"batch-predict"} <= names
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"].values()
    developers = {re.match(r"[a-z0-9-]+", line)[0] for group in groups for line in group}
    assert names & developers == {"jsonschema"}  # the emulator's SAM transform needs it
    assert names.isdisjoint({"matplotlib", "pillow", "fonttools", "moto", "ipython"})
    assert installed.run("pip check", project).returncode == 0
    where = installed.run("python -c 'import batch_predict; print(batch_predict.__file__)'", project).stdout
    assert Path(where.strip()).is_relative_to(installed.bin.parent)


def test_the_readmes_run_scores_a_users_own_file(installed, project):
    install, run = readme_commands()[:2]
    assert install.startswith("pip install ")
    assert run.startswith("batch-predict run --model model.joblib --data customers.csv ")
    done = installed.run(run, project)

    assert done.returncode == 0, done.stderr
    given, expected = ((project / name).read_text().splitlines() for name in ("customers.csv", "expected.csv"))
    output = (project / "scored.csv").read_text().splitlines()
    assert output == [f"{row},{prediction.split(',')[1]}" for row, prediction in zip(given, expected, strict=True)]
    assert json.loads((project / "scored.csv.report.json").read_text())["output"]["rows"] == 40


def test_a_page_of_it_says_what_draws_it(installed, project):
    """The one command that needs more than is installed: 100 MB for charts."""
    done = installed.run("batch-predict report", project)

    assert (done.returncode, done.stdout) == (1, "")
    assert "matplotlib, which is not installed here: pip install matplotlib, or install batch-predict with its extra" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(project.glob("*.html")) == []


IMPORT_ALL = """\
import importlib, pkgutil, batch_predict
for module in pkgutil.walk_packages(batch_predict.__path__, "batch_predict."):
    if module.name.startswith("batch_predict.bundle.loaders."):
        continue  # it goes into bundles that bring its library
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        print(module.name, error.name)
"""


def test_no_module_imports_what_is_not_installed_but_to_draw(installed, project):
    (project / "import_all.py").write_text(IMPORT_ALL)
    done = installed.run("python import_all.py", project)

    assert (done.returncode, done.stderr) == (0, "")
    lacking = dict(line.split() for line in done.stdout.splitlines())
    assert set(lacking.values()) == {"matplotlib"}
    assert "batch_predict.report.page" in lacking
    assert all(re.search("chart|graph|report|page", name) for name in lacking), lacking


def test_init_and_deploy_build_the_checkouts_package(installed, tmp_path, project):
    """Its name holds a hash of the builder, the interpreter and the lock's lines: if all agree, it is taken from `build/`."""
    package.build_predict(target.template_target(), say=lambda _: None)
    interpreter = target.find_interpreter(target.template_target().python)
    path = f"{installed.bin}:/usr/bin:/bin{f':{Path(interpreter.path).parent}' if interpreter else ''}"
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/batch-predict").symlink_to(package.BUILD)
    kept = sorted(path.name for path in package.BUILD.glob("package/*-*") if path.is_dir())
    buckets = "--model-bucket our-models --data-bucket our-data --output-bucket our-predictions"

    command = f"batch-predict init --yes {buckets} && batch-predict deploy"
    done = installed.run(command, tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"), PATH=path)

    assert done.returncode == 0, done.stderr
    assert "\n  sam deploy\n" in done.stdout
    built = tmp_path / ".aws-sam/build"
    names = set(re.findall(r"CodeUri: (\S+)", (built / "template.yaml").read_text()))
    assert len(names) == 2
    assert all(zipfile.is_zipfile(built / name) for name in names)
    assert sorted(path.name for path in package.BUILD.glob("package/*-*") if path.is_dir()) == kept
    assert {path.name for path in tmp_path.iterdir()} == {"cache", ".aws-sam", "samconfig.toml"}


def test_an_ejected_folder_is_built_by_a_plain_python(installed, tmp_path):
    """One that has no batch-predict and no library: pip alone, and that is for the prediction function."""
    assert installed.run("batch-predict eject there", tmp_path).returncode == 0
    assert {path.name for path in (tmp_path / "there").iterdir()} == {
        *(
            "template.yaml",
            "samconfig.toml",
            "requirements.lock",
            "requirements-kernel.lock",
            "Makefile",
            "builder",
            "functions",
            "statemachine",
            "events",
        )
    }
    python = shlex.quote(f"{(installed.bin / 'python').resolve()} -S")
    done = installed.run(f"make -C there PYTHON={python} ARTIFACTS_DIR=made build-MergeOutputsFunction", tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "there/made/workflow/merge_outputs.py").read_bytes() == (
        ROOT / "functions/workflow/merge_outputs.py"
    ).read_bytes()
