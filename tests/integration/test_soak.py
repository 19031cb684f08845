"""The soak itself: a few of its runs, and that it sees what it is there to see."""

import json

import numpy as np
import pytest

from soak.__main__ import parsed, soak
from soak.estimators import fitted_estimators
from soak.leaks import Sample, growth
from soak.oracle import expected_output, output_problems, rejected_problems
from soak.scenarios import Run
from soak.stack import Stack
from soak.workloads import random_workload
from support.s3_proxy import s3_proxy

pytestmark = pytest.mark.emulator("the soak puts a proxy before its S3")

SEED = 43
PLAIN_SEED = "43-0"


@pytest.fixture(scope="module")
def estimators():
    return fitted_estimators()


@pytest.fixture(scope="module")
def functions_proxy(aws):
    """A proxy that no function is behind: nothing is injected here."""
    with s3_proxy(aws.endpoint_url) as proxy:
        yield proxy


@pytest.mark.thorough
def test_a_short_soak_finds_nothing():
    figures = soak(parsed(["--runs", "4", "--seed", str(SEED)]))
    assert (figures.mismatches, figures.leaks) == ([], [])
    assert figures.is_clean
    assert figures.counts["runs"] == 4 <= figures.counts["executions"]
    assert figures.counts["rows"] > 0 < figures.counts["faults"]
    assert "faults" in figures.table()


# --- what a run must see ----------------------------------------------------------------------------------------------------------


def one_byte_altered(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def one_row_more_reported(content):
    report = json.loads(content)
    report["rows"]["read"] += 1
    return json.dumps(report).encode()


class AlteringStack(Stack):
    """S3 that gives out one object altered."""

    def __init__(self, aws, suffix, alter):
        super().__init__(aws)
        self.suffix, self.alter = suffix, alter

    def get(self, uri):
        content = super().get(uri)
        return self.alter(content) if uri.endswith(self.suffix) and content else content


@pytest.fixture
def plain_workload(aws, estimators):
    """One run of the soak that neither faults nor plants disturb."""
    workload = random_workload(PLAIN_SEED, aws.bucket, estimators)
    assert (workload.faults, workload.errors, workload.foreign, workload.rival) == ("none", set(), None, None)
    assert (workload.twins, workload.repeats, workload.request["keep_work"]) == (1, 0, False)
    Stack(aws).put(workload.model_uri, workload.estimator.content)
    return workload


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("suffix", "alter", "says"),
    [
        (".nothing", None, None),
        ("/out.csv", one_byte_altered, "row|header|predict"),
        (".report.json", one_row_more_reported, "rows are"),
    ],
)
def test_one_altered_byte_or_count_is_a_mismatch(aws, functions_proxy, plain_workload, suffix, alter, says):
    outcome = Run(AlteringStack(aws, suffix, alter), functions_proxy, plain_workload)()
    assert bool(outcome.problems) == bool(says), outcome.problems
    if says:
        assert any(word in " ".join(outcome.problems) for word in says.split("|")), outcome.problems


@pytest.mark.thorough
def test_an_open_upload_and_left_work_are_counted(aws, functions_proxy, plain_workload):
    class LeavingStack(Stack):
        """Leaves an upload and a part behind each execution."""

        def execute(self, requests):
            executions = super().execute(requests)
            report = json.loads(self.get(f"{requests[0]['output_s3_uri']}.report.json"))
            key = requests[0]["output_s3_uri"].removeprefix(f"s3://{aws.bucket}/")
            self.upload_id = self.s3.create_multipart_upload(Bucket=aws.bucket, Key=key)["UploadId"]
            self.key = key
            self.put(f"s3://{aws.bucket}/{key}.work/{report['identity'][:32]}/x/chunk-00000.csv", b"left")
            return executions

    stack = LeavingStack(aws)
    outcome = Run(stack, functions_proxy, plain_workload)()
    stack.s3.abort_multipart_upload(Bucket=aws.bucket, Key=stack.key, UploadId=stack.upload_id)
    assert outcome.problems == []
    assert sorted(leak.split()[0] == "the" for leak in outcome.leaks) == [False, True]  # an object, and the upload


# --- the oracle, without AWS ------------------------------------------------------------------------------------------------------


@pytest.fixture
def right(estimators):
    """A request's expectation, and an output that meets it."""
    estimator = next(estimator for estimator in estimators if estimator.name == "forest")
    header = '"dose, mg",id,age,größe,rank\r\n'
    rows = ['1.5,"a\r\nb",3,170,4', "2,007,NA,170,4", '3,"x,""y""",5,171.25,6', "four,z,5,171,6"]
    objects = [("s3://b/in.csv", ("\ufeff" + header + "\r\n".join(rows)).encode())]
    request = {"feature_columns": estimator.features, "prediction_column_name": "p", "on_bad_row": "quarantine"}
    expected = expected_output(objects, request, estimator)
    assert [record.row for record in expected.records] == [1, 2, 3, 4]
    assert expected.rejected[3]
    lines = [
        record.raw + b"," + (b"" if rejected else repr(value[0]).encode())
        for record, value, rejected in zip(expected.records, expected.predictions.tolist(), expected.rejected, strict=True)
    ]
    return expected, b"\r\n".join([("\ufeff" + header.strip() + ",p").encode(), *lines, b""])


def test_the_oracle_takes_the_right_output(right):
    expected, output = right
    assert output_problems(output, expected) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xef\xbb\xbf", b""),
        (b",p\r\n", b",q\r\n"),
        (b"007", b"7"),
        (b'"a\r\nb"', b'"a\nb"'),
        (b'3,"x,""y"""', b'3,"x,"y"'),
        (b"four,z,5,171,6,", b"four,z,5,171,6,0.0"),
        (b"four,z,5,171,6,\r\n", b""),
        (b"\r\n3,", b"\r\n3,4,5,6,7,8\r\n3,"),
        (b"\r\n3,", b"\n3,"),
    ],
)
def test_the_oracle_sees_any_other_byte(right, before, after):
    expected, output = right
    assert output.count(before) == 1
    assert output_problems(output.replace(before, after), expected)


def test_the_oracle_sees_the_last_bit_of_a_prediction(right):
    expected, output = right
    value = float(expected.predictions[0, 0])
    other = repr(float(np.nextafter(value, 1e9)))
    assert output_problems(output.replace(repr(value).encode(), other.encode(), 1), expected)


def test_the_oracle_sees_a_wrong_list_of_rejected_rows(right):
    expected, _ = right
    byte = expected.records[3].byte
    columns = {("s3://b/in.csv", byte): "dose, mg"}
    listed = "data_s3_uri,row,byte,reason\n"
    good = listed + f"s3://b/in.csv,4,{byte},\"column 'dose, mg': 'four' is not a number\"\n"
    assert rejected_problems(good.encode(), expected, columns, complete=True) == []
    for bad in (listed, good.replace(",4,", ",3,"), good.replace(f",{byte},", f",{byte + 1},"), good.replace("dose, mg", "age")):
        assert rejected_problems(bad.encode(), expected, columns, complete=True)


# --- leaks ------------------------------------------------------------------------------------------------------------------------


def samples(megabytes, descriptors=20):
    return [Sample(second, "merge_outputs", 1, megabytes(second), descriptors, 100.0) for second in range(400)]


def test_steady_memory_is_no_leak():
    assert list(growth(samples(lambda second: 200 + second % 40), 1)) == []


def test_growing_memory_descriptors_and_processes_are_leaks():
    grown = samples(lambda second: 100 + second)
    grown += [sample._replace(pid=2, descriptors=300) for sample in grown if sample.seconds >= 200]
    processes, memory, descriptors = growth(grown, 1)
    assert "2 processes" in processes
    assert "grew from" in memory
    assert "descriptors" in descriptors
