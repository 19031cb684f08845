"""docs/batch_predictor.ipynb and the blocks of docs/python.md, run from top to bottom in directories of their own."""

import ast
import inspect
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from batch_predict import BatchPredictor, PredictionRun
from support.pages import READERS, SECONDS, blocks, run

pytestmark = pytest.mark.emulator("BatchPredictor runs on the embedded AWS")

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOK = DOCS / "batch_predictor.ipynb"
PAGE = DOCS / "python.md"
LAUNCHED = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
ROWS = 3000
REJECTED = 22  # flights without `dep_delay`


class ThisPython(AsyncKernelManager):
    """The kernel in the interpreter of the tests, whatever kernels are installed."""

    @property
    def kernel_spec(self):
        return KernelSpec(argv=LAUNCHED, display_name="this Python", language="python")


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What each code cell shows, by the heading above it."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    directory = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        # The kernel's files and its temporary directory, where the notebook works, are the test's.
        for name in ("TMPDIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(directory))
        patch.delenv("BATCH_PREDICT_HOME", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(DOCS.parent), os.environ.get("PYTHONPATH")])))
        # By its class, so that the client owns the kernel and ends it.
        resources = {"metadata": {"path": str(directory)}}
        NotebookClient(notebook, kernel_manager_class=ThisPython, timeout=SECONDS, resources=resources).execute()
    assert not [path for path in directory.iterdir() if path.name.startswith("tmp") or path.suffix == ".csv"]
    shown, heading = {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = cell.source.splitlines()[0].lstrip("# ")
        else:
            assert cell.execution_count
            shown[heading] = "".join(
                output.text if output.output_type == "stream" else output.data["text/plain"] for output in cell.outputs
            )
    return shown


@pytest.mark.thorough
def test_the_notebook_shows_what_its_text_says(printed):
    assert printed["Data and model"] == ""
    assert re.fullmatch(r"[\d,]+ bytes, 1 chunk, about \$0\.00\d+ on AWS\n", printed["Plan"])
    assert "predicted_arr_delay" in printed["Run"].splitlines()[0]


@pytest.mark.thorough
def test_the_report_and_the_list_count_the_rejected_rows(printed):
    text = printed["Report and rejected rows"]

    assert f"{{'read': {ROWS}, 'predicted': {ROWS - REJECTED}, 'rejected': {REJECTED}}}\n" in text
    assert f"{ROWS - REJECTED:,} predictions, 0 missing, mean " in text
    assert "dep_delay" in text.partition(" minutes\n")[2]


@pytest.mark.thorough
def test_the_submitted_run_fails_and_names_the_row(printed):
    status, error, cause = printed["Submit and wait; a run that fails"].splitlines()

    assert (status, error) == ("FAILED", "InvalidDataError")
    assert re.match(r".*/flights-3000\.csv row 839 \(byte \d+\), ", cause)
    assert "no value in 'dep_delay'" in cause


def test_the_notebook_is_short_stored_without_outputs_and_ends_in_text():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert len(notebook.cells) <= 15
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}
    assert notebook.cells[-1].cell_type == "markdown"
    ((_, block),) = blocks(notebook.cells[-1].source, "python")
    call = ast.parse(block).body[0].value
    assert {keyword.arg for keyword in call.keywords} >= {"stack", "on_bad_row"}
    inspect.signature(BatchPredictor).bind(*call.args, **{keyword.arg: keyword.value for keyword in call.keywords})


@pytest.mark.thorough
def test_the_block_of_the_python_page_runs(tmp_path):
    (block,) = blocks(PAGE.read_text(), "python")
    done = run(*block, tmp_path, READERS | {"PYTHONPATH": str(DOCS.parent), "BATCH_PREDICT_HOME": ""})

    said, *_, last_row = done.stdout.splitlines()
    assert said == "1000 rows in predictions.csv"
    assert last_row.split()[:3] == ["999", "999", "5"]
    assert float(last_row.split()[3]) == pytest.approx(2 * 999 - 5)


def test_the_python_page_has_all_that_is_public():
    page = PAGE.read_text()
    for kind in (BatchPredictor, PredictionRun):
        members = [name for name in vars(kind) if not name.startswith("_")]
        assert [name for name in members if not re.search(rf"`{name}(\(|`)", page)] == []
    arguments = [name for name in inspect.signature(BatchPredictor).parameters if f"`{name}`" not in page]
    assert arguments == []
