"""The handler predicts what `model.predict(pandas.read_csv(file)[columns])` predicts, here and in the package."""

import io
from collections import Counter

import pandas as pd

from differential import table


def test_models_predict_what_they_predict_of_what_pandas_reads(verdicts):
    wrong = [f"{cell}: {verdict.words}" for cell, verdict in verdicts if verdict.kind == table.DIFFERENT]
    assert not wrong, f"{len(wrong)} of {len(verdicts)} cells:\n" + "\n".join(wrong)


def test_the_table_is_as_large_as_it_should_be(verdicts, is_whole, place, say):
    """A table in which nothing is compared would be right, too."""
    say(table.summary(verdicts))
    kinds = Counter(verdict.kind for _, verdict in verdicts)
    assert len({cell.model.name for cell, _ in verdicts}) >= (280 if is_whole or place.name == "package" else 18)
    assert kinds[table.SAME] > len(verdicts) / 3
    assert kinds[table.REFUSED] < len(verdicts) / 25


def test_a_wrong_prediction_is_different(held_table):
    """One number in its tenth digit; a row too few; another name; a row that is wrongly set apart."""
    cell = next(cell for cell in held_table.cells if cell.model.name == "Ridge" and cell.file.variant == "plain")

    def verdict_of(values, name="P"):
        records = [record.decode().rstrip("\n") for record in cell.file.records]
        lines = [f"{record},{value}" for record, value in zip(records, [name, *values], strict=False)]
        return held_table.judge(cell, {"output": "\n".join([*lines, ""]).encode()}).kind

    features = pd.read_csv(io.BytesIO(cell.file.content))[cell.model.features]
    right = held_table.estimators["Ridge"].predict(features).tolist()
    assert verdict_of(map(repr, right)) == table.SAME
    assert verdict_of([repr(right[0] * (1 + 1e-8)), *map(repr, right[1:])]) == table.DIFFERENT
    assert verdict_of(map(repr, right[:-1])) == table.DIFFERENT
    assert verdict_of(map(repr, right), name="Q") == table.DIFFERENT
    assert held_table.judge(cell, {"error": "InvalidDataError", "message": "no", "cause": ""}).kind == table.DIFFERENT
    assert held_table.judge(cell, {"error": "InternalError", "message": "no", "cause": ""}).kind == table.DIFFERENT
