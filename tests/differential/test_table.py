"""The handler predicts what `model.predict(pandas.read_csv(file)[columns])` predicts, here and in the package."""

from collections import Counter

import pytest

from differential import models, table

SMALL_FAMILIES = {model.family for model in models.MODELS.values() if model.name in models.IN_SMALL_TABLE}


@pytest.mark.parametrize("family", list(dict.fromkeys(model.family for model in models.MODELS.values())))
def test_a_family_of_models(verdicts, is_whole, family):
    if not is_whole and family not in SMALL_FAMILIES:
        pytest.skip("only in the whole table: --whole-table")
    mine = [(cell, verdict) for cell, verdict in verdicts if cell.model.family == family]
    if not mine:
        pytest.skip("its library is not installed here")
    wrong = table.wrong(mine)
    assert not wrong, f"{len(wrong)} of {len(mine)} cells:\n" + "\n".join(wrong)


def test_the_table_is_as_large_as_it_should_be(verdicts, is_whole, say):
    """A table in which nothing is compared would be right, too."""
    say(table.summary(verdicts))
    kinds = Counter(verdict.kind for _, verdict in verdicts)
    assert len({cell.model.name for cell, _ in verdicts}) >= (250 if is_whole else 40)
    assert kinds[table.SAME] > len(verdicts) / 2
    assert kinds[table.REFUSED] + kinds[table.BATCH] < len(verdicts) / 40


def test_a_wrong_prediction_is_different(whole_or_small_table):
    """One number in its tenth digit; a row too few; another name; a row that is wrongly set apart."""
    held = whole_or_small_table
    cell = next(
        cell for cell in held.cells if cell.model.name == "Ridge" and cell.file.variant == "plain" and cell.method == "predict"
    )
    expected = held.expected(cell.model, cell.file.content, "predict")

    def verdict_of(values, name="P"):
        records = [record.decode().rstrip("\n") for record in cell.file.records]
        lines = [f"{record},{value}" for record, value in zip(records, [name, *values], strict=False)]
        return held.judge(cell, {"output": "\n".join([*lines, ""]).encode()}).kind

    right = [value for (value,) in expected.rows]
    assert verdict_of(map(repr, right)) == table.SAME
    assert verdict_of([repr(right[0] * (1 + 1e-8)), *map(repr, right[1:])]) == table.DIFFERENT
    assert verdict_of(map(repr, right[:-1])) == table.DIFFERENT
    assert verdict_of(map(repr, right), name="Q") == table.DIFFERENT
    assert held.judge(cell, {"error": "InvalidDataError", "message": "no", "cause": ""}).kind == table.DIFFERENT
    assert held.judge(cell, {"error": "InternalError", "message": "no", "cause": ""}).kind == table.DIFFERENT
