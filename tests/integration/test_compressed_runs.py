"""Compressed data and outputs, through the deployed state machine: the text is what plain data give."""

import gzip
import json
import zlib

import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from batch_predict.predictor import BatchPredictor
from support.command_line import invoke, succeed, write_files
from support.histories import child_histories
from support.s3_proxy import Rule

HEADER = b"id,x,y\n"


@pytest.fixture(scope="module")
def fields(put, places):
    """The request's fields for a model of x and y."""
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 0.0, 1.0]})
    return {
        "model_s3_uri": put(f"{places.models}compression.joblib", LinearRegression().fit(frame, frame.sum(axis=1))),
        "prediction_column_name": "total",
        "feature_columns": ["x", "y"],
    }


def rows(start, stop):
    return b"".join(b"%06d,%d,%d\n" % (number, number % 1000, number % 7) for number in range(start, stop))


def zstd(text):
    return pa.Codec("zstd").compress(text, asbytes=True)


def members(data):
    """How many gzip members there are."""
    count = 0
    while data:
        member = zlib.decompressobj(wbits=31)
        member.decompress(data)
        data, count = member.unused_data, count + 1
    return count


def unzstd(data):
    return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()


@pytest.fixture(scope="module")
def mixed(put, places):
    """A prefix of objects that are compressed in any way, or not; returns it and the text of all together."""
    objects = {
        "1.csv.gz": gzip.compress(HEADER + rows(0, 30)) + gzip.compress(rows(30, 50)),
        "2.csv": HEADER + rows(50, 80),
        "3.csv.zst": zstd(HEADER + rows(80, 90)) + zstd(rows(90, 100)),
        "4.csv.gz": gzip.compress(HEADER),
        "5.csv.gz": gzip.compress(b""),
        "6.csv.gz": gzip.compress(HEADER + rows(100, 30_000)),
        "7": gzip.compress(HEADER + rows(30_000, 30_010)),
    }
    for name, body in objects.items():
        put(f"{places.data}mixed/{name}", body)
    return f"{places.data}mixed/", HEADER + rows(0, 30_010)


@pytest.mark.thorough
def test_data_compressed_in_any_way_become_one_output(aws, scored, fields, mixed, put, places, read, report_of):
    prefix, text = mixed
    plain = scored("plain.csv", **fields, data_s3_uri=put(f"{places.data}plain.csv", text))["output"]
    request = {**fields, "data_s3_uri": prefix, "chunk_size_mb": 0.01}

    execution = scored("mixed.csv.gz", **request)

    output = execution["output"]
    assert (output["chunks"], output["rows"]) == (3, 30_010)  # the largest is never cut
    data = read(output["output_s3_uri"])
    assert gzip.decompress(data) == read(plain["output_s3_uri"])
    assert members(data) == 1 + 3, "the header, and a block of each chunk"
    report = report_of(execution)
    assert (report["plan"]["objects"], report["plan"]["skipped_objects"]) == (5, 2)
    assert report["plan"]["input_compression"] == ["gzip", "zstd"]
    assert report["request"]["output_compression"] == "gzip"
    assert scored("mixed.csv.gz", **request)["output"] == output

    assert read(scored("mixed.csv", **request)["output"]["output_s3_uri"]) == read(plain["output_s3_uri"])
    planned = scored("planned.csv", **request, dry_run=True)["output"]
    assert planned["chunks"] == 3
    assert planned["estimate"]["rows"] == pytest.approx(30_010, rel=0.5)


@pytest.mark.thorough
def test_an_output_in_frames_is_resumed_and_lacks_what_is_tolerated(
    aws, scored, failed, fields, put, places, proxy, read, report_of
):
    text = HEADER + rows(0, 60_000)
    request = {**fields, "data_s3_uri": put(f"{places.data}eight.csv", text), "chunk_size_mb": len(text) / 7.9e6}
    plan = scored("frames.csv.zst", **request, dry_run=True)["output"]
    items = json.loads(read(f"s3://{plan['bucket']}/{plan['plan_key']}"))
    start, stop = items[5]["byte_range"]
    proxy.add(Rule("403", operation="GetObject", range=f"^bytes={start}-", times=None))
    assert failed("frames.csv.zst", **request)[0] == "InputNotFoundError"

    tolerant = scored("frames.csv.zst", **request, tolerated_failure_percentage=20)["output"]
    assert (tolerant["complete"], tolerant["rows"]) == (False, 60_000 - text[start:stop].count(b"\n"))
    without = pd.read_csv(pa.BufferReader(unzstd(read(tolerant["output_s3_uri"]))))
    assert len(without) == tolerant["rows"]

    proxy.clear()
    whole = scored("frames.csv.zst", **request, overwrite=True)
    assert sorted(child_histories(aws, whole)) == [5]
    plain = scored("eight.csv", **request)["output"]
    assert unzstd(read(whole["output"]["output_s3_uri"])) == read(plain["output_s3_uri"])


@pytest.mark.thorough
def test_bad_rows_are_kept_aside_and_a_damaged_object_fails(scored, failed, fields, put, places, read):
    body = gzip.compress(HEADER + rows(0, 5) + b"000005,bad,1\n" + rows(6, 9))
    request = {**fields, "data_s3_uri": put(f"{places.data}bad.csv.gz", body), "on_bad_row": "quarantine"}
    output = scored("bad.csv.gz", **request)["output"]
    assert (output["rows"], output["rejected_rows"]) == (9, 1)
    assert b"\n000005,bad,1,\n" in gzip.decompress(read(output["output_s3_uri"]))
    byte = len(HEADER + rows(0, 5))
    assert read(output["rejected_s3_uri"]).splitlines()[1].startswith(f"{request['data_s3_uri']},6,{byte},".encode())

    for data, said in ((gzip.compress(HEADER + rows(0, 9999))[:-5], "gzip"), (zstd(HEADER + rows(0, 9999))[:-5], "Zstandard")):
        request["data_s3_uri"] = put(f"{places.data}cut.csv.gz", data)
        error, cause = failed("cut.csv", **request)
        assert error == "InvalidDataError"
        assert f"{request['data_s3_uri']} is not whole: it ends in the middle of its {said}" in cause


@pytest.mark.thorough
def test_lines_of_json_are_compressed_as_well(scored, fields, put, places, read):
    lines = [b'{"id":"%06d","x":%d,"y":%d}\n' % (number, number % 1000, number % 7) for number in range(3000)]
    put(f"{places.data}lines/1.jsonl.gz", gzip.compress(b"".join(lines[:1000])))
    put(f"{places.data}lines/2.jsonl", b"".join(lines[1000:2000]))
    put(f"{places.data}lines/3.jsonl.zst", zstd(b"".join(lines[2000:])))
    request = {**fields, "data_s3_uri": f"{places.data}lines/", "chunk_size_mb": 0.012}

    output = scored("lines.jsonl.gz", **request)["output"]
    assert (output["rows"], output["chunks"] > 2) == (3000, True)
    found = gzip.decompress(read(output["output_s3_uri"])).splitlines()
    assert [json.loads(line).keys() for line in found] == [{"id", "x", "y", "total"}] * 3000
    assert [line.split(b',"total"')[0] + b"}\n" for line in found] == lines
    plain = scored("lines.jsonl", **request)["output"]
    assert read(plain["output_s3_uri"]).splitlines() == found


@pytest.mark.thorough
@pytest.mark.parametrize(("ending", "decompress"), [("gz", gzip.decompress), ("zst", unzstd)])
def test_an_output_of_nothing_is_compressed_too(scored, fields, places, read, put, ending, decompress):
    request = fields | {"data_s3_uri": f"{places.data}nothing-{ending}/", "on_no_rows": "succeed"}
    output = scored(f"nothing.csv.{ending}", **request)["output"]
    data = read(output["output_s3_uri"])
    assert data
    assert (decompress(data), output["bytes"]) == (b"", len(data))
    assert scored(f"nothing.csv.{ending}", **request)["output"] == output

    put(f"{places.data}nothing-{ending}/1.csv.{ending}", gzip.compress(HEADER) if ending == "gz" else zstd(HEADER))
    output = scored(f"header.csv.{ending}", **request)["output"]
    assert decompress(read(output["output_s3_uri"])) == b"id,x,y,total\n"


@pytest.mark.thorough
@pytest.mark.emulator("the command line runs on the embedded AWS")
def test_compressed_files_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(300, 200)
    for name in ("data", "bad"):
        text = (tmp_path / f"{name}.csv").read_bytes()
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.csv.gz").write_bytes(gzip.compress(text))
    succeed("run --model model.joblib --features a,b --prediction p --data data.csv --output plain.csv")
    succeed("run --model model.joblib --features a,b --prediction p --data data --output out.csv.gz")
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()) == (tmp_path / "plain.csv").read_bytes()

    refused = invoke("run --model model.joblib --features a,b --prediction p --data bad --output bad-out.csv")
    assert "row 200 of the file (line 201), column 'a': 'late'" in refused.output
    frame = BatchPredictor("model.joblib", ["a", "b"], "p").run("data/data.csv.gz", "again.csv.zst").to_pandas()
    assert frame.equals(pd.read_csv("plain.csv"))
