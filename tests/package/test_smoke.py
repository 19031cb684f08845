"""The package runs: unpacked, in an interpreter without site-packages, by AWS's own runtime client, on the local S3."""

import pytest

from batch_predict.local.aws import local_aws
from tools import smoke
from tools.smoke import SmokeError

RECORDS = ["id,x", '1,"a\nb"', "2,3.50"]
OUTPUT = 'id,x,prediction\n1,"a\nb",0.5\n2,3.50,-1e-07\n'


@pytest.fixture(scope="module")
def aws():
    with local_aws() as running:
        yield running


@pytest.fixture(scope="module")
def models(unpacked, tmp_path_factory):
    """The folder of the models, fitted with the package's own libraries, and what they predict."""
    directory = tmp_path_factory.mktemp("models")
    return directory, smoke.fit_models(unpacked, directory)


QUICK = ("columns", "lightgbm")  # one that needs nothing unpacked but pandas, and one that brings its own library


@pytest.mark.parametrize(
    "family", [name if name in QUICK else pytest.param(name, marks=pytest.mark.thorough) for name in smoke.MODELS]
)
def test_a_chunk_is_scored_as_the_model_itself_scores_it(unpacked, aws, models, family):
    directory, facts = models
    assert list(facts["models"]) == list(smoke.MODELS)
    carried, cold_start, first, second, processor = smoke.run_family(unpacked, aws, facts, family, directory)
    print(f"{family}: {carried or 'nothing'} unpacked, cold start {cold_start:.0f} ms, then {first:.0f} ms and {second:.0f} ms")
    assert cold_start > 0 < second
    assert processor > 0
    if family in {"ridge", "histgb", "forest"}:
        assert carried == ""  # a run that needs none pays nothing
    if family in {"lightgbm", "xgboost"}:
        assert family in carried


@pytest.mark.parametrize(
    "family", ["columns", pytest.param("forest", marks=pytest.mark.thorough), pytest.param("histgb", marks=pytest.mark.thorough)]
)
def test_a_chunk_is_scored_the_same_by_what_a_probe_has_stored(unpacked, aws, models, family):
    cold_start = smoke.run_stored(unpacked, aws, models[1], family, models[0])
    assert cold_start.probe > 0 < cold_start.stored
    assert cold_start.pickled > 0


def test_errors_have_the_handlers_names(unpacked, aws, tmp_path):
    with pytest.raises(SmokeError, match=r"^chunk 0: InvalidRequestError: "):
        smoke.invoked(unpacked, aws, tmp_path, {"raise_errors": True})


def test_a_package_without_a_library_does_not_start(unpacked, aws, tmp_path):
    hidden = (unpacked.task_root / "orjson").rename(tmp_path / "orjson")
    try:
        with pytest.raises(SmokeError, match=r"did not start: (?s:.*)No module named 'orjson'"):
            smoke.invoked(unpacked, aws, tmp_path, {})
    finally:
        hidden.rename(unpacked.task_root / "orjson")


@pytest.mark.parametrize(
    ("output", "predictions", "problem"),
    [
        (OUTPUT, [0.5, -2e-07], "record 2 .* ends in '-1e-07'"),
        (OUTPUT.replace("3.50", "3.5"), [0.5, -1e-07], "not the input's records"),
        (OUTPUT + "2,3.50,-1e-07\n", [0.5, -1e-07], "not the input's records"),
        (OUTPUT[: OUTPUT.index("2,3")], [0.5, -1e-07], "not the input's records"),
    ],
)
def test_an_output_that_differs_is_seen(output, predictions, problem):
    with pytest.raises(SmokeError, match=problem):
        smoke.check_output(output, RECORDS, predictions, 1e-12)
