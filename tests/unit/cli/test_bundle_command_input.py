"""What `batch-predict bundle` refuses before it looks at the model, and what it leaves: nothing."""

from pathlib import Path

import pytest

from support.command_line import invoke, write_files


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(3, 1)
    Path("there.bundle.zip").write_text("mine")
    Path("folder.bundle.zip").mkdir()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("nothing.joblib -o a.bundle.zip", "model nothing.joblib does not exist"),
        ("there.bundle.zip -o a.bundle.zip", "model there.bundle.zip is a bundle already: give the model that it was made of"),
        ("model.joblib -o a.zip", "output a.zip must end in .bundle.zip, by which the prediction function knows a bundle"),
        ("model.joblib -o .bundle.zip", "output .bundle.zip must end in .bundle.zip, and begin with a name"),
        ("model.joblib -o nowhere/a.bundle.zip", "output directory nowhere does not exist: create it first"),
        ("model.joblib -o folder.bundle.zip", "output folder.bundle.zip is a directory: name a file"),
        ("model.joblib -o there.bundle.zip", "there.bundle.zip exists already: choose another output, or set --overwrite"),
        ("model.joblib -o a.bundle.zip --check none.csv", "--check none.csv does not exist"),
        (
            "data.csv -o a.bundle.zip",
            "data.csv is text, perhaps CSV, and no model: give the model; perhaps model and data are swapped",
        ),
        (
            "model.joblib -o a.bundle.zip --code none.py",
            "--code none.py does not exist: give a file.py, or the folder of a package",
        ),
        ("model.joblib -o a.bundle.zip --python data.csv", "--python data.csv is no interpreter of Python: give the Python of"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(arguments, says):
    before = sorted(Path().iterdir())
    result = invoke(f"bundle {arguments}")
    assert result.exit_code == 1
    assert f"Error: {says}" in result.stderr
    assert sorted(Path().iterdir()) == before
    assert Path("there.bundle.zip").read_text() == "mine"
