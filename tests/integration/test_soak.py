"""The soak itself: a few of its runs, and that it sees what it is there to see."""

import json
import re

import pytest

from soak.__main__ import parsed, soak
from soak.estimators import fitted_estimators
from soak.leaks import Sample, growth
from soak.scenarios import Run
from soak.stack import Stack
from soak.workloads import random_workload
from support.s3_proxy import flipped, s3_proxy

pytestmark = pytest.mark.emulator("the soak puts a proxy before its S3")

SEED = 43
QUARANTINE_SEED = "43-234"


@pytest.mark.thorough
def test_a_short_soak_finds_nothing():
    figures = soak(parsed(["--runs", "4", "--seed", str(SEED)]))
    assert (figures.mismatches, figures.leaks) == ([], [])
    assert figures.is_clean
    assert figures.counts["runs"] == 4 <= figures.counts["executions"]
    assert figures.counts["rows"] > 0 < figures.counts["faults"]
    assert "faults" in figures.table()


@pytest.fixture
def outcome_of(aws):
    """Run a workload that has rejected rows and is disturbed by nothing, on a stack of the soak's; return its outcome."""
    workload = random_workload(QUARANTINE_SEED, aws.bucket, fitted_estimators())
    assert (workload.faults, workload.errors, workload.foreign, workload.rival) == ("none", set(), None, None)
    assert (workload.twins, workload.repeats, workload.request["keep_work"]) == (1, 0, False)
    assert workload.plants
    Stack(aws).put(workload.model_uri, workload.estimator.content)
    with s3_proxy(aws.endpoint_url) as proxy:
        yield lambda stack: Run(stack, proxy, workload)()


def one_row_more(content):
    report = json.loads(content)
    report["rows"]["read"] += 1
    return json.dumps(report).encode()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("suffix", "alter", "says"),
    [
        (".nothing", None, None),
        ("/out.csv", flipped, "in the place of|predicted"),
        ("/out.csv", lambda content: re.sub(rb"(\d)(\r?\n)\Z", rb"\g<1>1\2", content), "predicted '.*', not"),
        (".report.json", one_row_more, "rows are"),
        (".rejected.csv", lambda content: content.replace(b".csv,", b".csv,9"), "listed as"),
    ],
)
def test_what_is_not_as_the_oracle_says_is_a_mismatch(aws, outcome_of, suffix, alter, says):
    class AlteringStack(Stack):
        """Gives out one object altered."""

        def get(self, uri):
            content = super().get(uri)
            return alter(content) if uri.endswith(suffix) and content else content

    problems = " ".join(outcome_of(AlteringStack(aws)).problems)
    assert re.search(says, problems) if says else problems == ""


@pytest.mark.thorough
def test_an_open_upload_and_left_work_are_counted(aws, outcome_of):
    class LeavingStack(Stack):
        """Says that there is an upload more, and a part."""

        def uploads(self, prefix=""):
            return super().uploads(prefix) | {"another": f"{prefix}out.csv"}

        def keys(self, prefix):
            return super().keys(prefix) + ([f"{prefix}chunk-00000.csv"] if ".work/" in prefix else [])

    outcome = outcome_of(LeavingStack(aws))
    assert outcome.problems == []
    assert [leak.split()[0] == "the" for leak in outcome.leaks] == [True, False]  # the upload, and an object


def test_growing_memory_descriptors_and_processes_are_leaks_and_steady_ones_are_none():
    def samples(megabytes, **changed):
        sample = Sample(0.0, "merge_outputs", 1, 0.0, 20, 100.0)._replace(**changed)
        return [sample._replace(seconds=second, megabytes=megabytes(second)) for second in range(400)]

    assert list(growth(samples(lambda second: 200 + second % 40), 1)) == []
    grown = samples(lambda second: 100 + second)
    processes, memory, descriptors = growth(grown + samples(lambda second: 100 + second, pid=2, descriptors=300)[200:], 1)
    assert "2 processes" in processes
    assert "grew from" in memory
    assert "descriptors" in descriptors
