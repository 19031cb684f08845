"""`batch-predict bundle` for real: libraries from PyPI, a trial on the embedded AWS, and a local run equal to the model.

Nothing but the model is named: what it needs, the command finds out.
"""

import json
import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from batch_predict.bundle.platforms import HERE, stack_platform
from batch_predict.deployed import stack_directory
from support.pages import READERS

pytestmark = [
    pytest.mark.emulator("the command line runs on the embedded AWS"),
    pytest.mark.thorough,
    pytest.mark.timeout(600),  # the first one may have to download
]

TABLE = """\
import joblib, numpy as np, pandas as pd
chosen = np.random.default_rng(3)
numbers = {"a": chosen.normal(size=400).round(4), "b": chosen.integers(0, 90, 400)}
frame = pd.DataFrame({**numbers, "c": chosen.choice(["x", "y", "z"], 400)})
label = (frame["a"] * 20 + frame["b"] + (frame["c"] == "x") * 30 > 50).astype(int)
"""
MODELS = {
    "xgboost": """\
        import xgboost
        features = ["a", "b"]
        model = xgboost.XGBClassifier(n_estimators=10).fit(frame[features], label)
        """,
    "lightgbm": """\
        import lightgbm
        frame["c"] = frame["c"].astype("category")
        features = ["c", "a", "b"]
        model = lightgbm.LGBMClassifier(n_estimators=10, verbose=-1).fit(frame[features], label)
        """,
    "imbalanced": """\
        from imblearn.over_sampling import RandomOverSampler
        from imblearn.pipeline import make_pipeline
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.preprocessing import StandardScaler
        features = ["b", "a"]
        steps = RandomOverSampler(random_state=0), StandardScaler(), RandomForestClassifier(10, random_state=0)
        model = make_pipeline(*steps).fit(frame[features], label)
        """,
    "own_module": """\
        from ratios import Ratio
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        features = ["a", "b"]
        model = make_pipeline(Ratio(), LogisticRegression()).fit(frame[features], label)
        """,
    "notebook": """\
        import cloudpickle
        from sklearn.base import BaseEstimator, ClassifierMixin

        class Rule(ClassifierMixin, BaseEstimator):
            def fit(self, frame, label):
                self.feature_names_in_, self.n_features_in_ = frame.columns.to_numpy(), frame.shape[1]
                self.classes_, self.edge_ = np.unique(label), frame["b"].mean()
                return self

            def predict(self, frame):
                return (frame["b"] * 1.5 + frame["a"] > self.edge_).to_numpy().astype(int)

        features = ["a", "b"]
        model = Rule().fit(frame[features], label)
        """,
    "texts": """\
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        words = np.array(["good", "bad", "film", "plot", "dull", "new", "the", "of"])
        frame = pd.DataFrame({"text": [" ".join(chosen.choice(words, 6)) for _ in range(400)]})
        label = np.where(frame["text"].str.count("good") > frame["text"].str.count("bad"), "likes", "dislikes")
        features = ["text"]
        model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(frame["text"], label)
        """,
}
WRITE = """\
dump = cloudpickle.dump if "cloudpickle" in globals() else joblib.dump
with open("model.joblib", "wb") as file:
    dump(model, file)
given = frame["text"] if "text" in frame else frame[features]
frame["expected"] = model.predict(given)
frame.to_parquet("data.parquet")
frame.to_csv("data.csv", index=False)
"""
RATIOS = """\
from sklearn.base import BaseEstimator, TransformerMixin


class Ratio(TransformerMixin, BaseEstimator):
    def fit(self, frame, label=None):
        self.feature_names_in_, self.n_features_in_ = frame.columns.to_numpy(), frame.shape[1]
        return self

    def transform(self, frame):
        return frame.assign(ratio=frame["a"] / (frame["b"] + 1))
"""


@pytest.fixture(scope="session")
def imbalanced_learn(tmp_path_factory):
    """A folder with imbalanced-learn, which the tests' environment lacks."""
    folder = tmp_path_factory.mktemp("imbalanced")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder]
    subprocess.run([*command, "imbalanced-learn", "sklearn-compat"], check=True)
    return folder


def run(command, folder, *, status=0, **variables):
    """Run a command line in a folder; return what it has printed."""
    words = ["bash", "-c", command] if isinstance(command, str) else command
    environment = {**READERS, **variables}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("name", MODELS)
def test_a_bundle_predicts_as_the_model_does(name, tmp_path, request):
    path = f"{tmp_path}"
    if name == "imbalanced":
        path = f"{request.getfixturevalue('imbalanced_learn')}:{path}"
    search = f"{path}:{READERS.get('PYTHONPATH', '')}"
    if name == "own_module":
        (tmp_path / "ratios.py").write_text(RATIOS)
    run([sys.executable, "-c", TABLE + textwrap.dedent(MODELS[name]) + WRITE], tmp_path, PYTHONPATH=search)

    command = "batch-predict bundle model.joblib -o model.bundle.zip --json"
    if name == "notebook" and HERE.rpartition("-")[2] != stack_platform(stack_directory()).rpartition("-")[2]:
        refused = run(command, tmp_path, status=1, PYTHONPATH=search)
        assert "the model holds functions or classes as Python 3." in refused.stderr
        assert not (tmp_path / "model.bundle.zip").exists()
        command += f" --platform {HERE}"  # no stack could run it; this machine can
    bundle = json.loads(run(command, tmp_path, PYTHONPATH=search).stdout)
    trial = bundle["trial"]
    assert (trial["rows"], trial["are_made_up"], trial["not_compared"]) == (64, True, None)
    assert "predict" in trial["compared"]
    assert trial["largest_difference"] == 0  # the same libraries, and the same machine

    data = "data.parquet" if name == "lightgbm" else "data.csv"  # CSV has no categories
    output = f"scored.{data.partition('.')[2]}"
    # The run knows nothing of the folders where the model's modules are: the bundle has them.
    columns = "--features text" if name == "texts" else ""  # a vectorizer knows no name of its column
    run(f"batch-predict run --model model.bundle.zip --data {data} {columns} --prediction label --output {output}", tmp_path)
    scored = (pd.read_parquet if name == "lightgbm" else pd.read_csv)(tmp_path / output)
    assert len(scored) == 400
    assert (scored["label"] == scored["expected"]).all()
    assert scored["label"].nunique() == 2

    if name == "own_module":
        shown = run("batch-predict check-model model.bundle.zip --data data.csv", tmp_path).stdout
        assert bundle["digest"] in shown
        assert "Estimator  Pipeline" in shown
        assert "400 rows" in shown
