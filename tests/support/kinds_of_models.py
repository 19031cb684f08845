"""Programs that fit one model of each kind that people bundle, and write it with data and with what it predicts of these."""

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
