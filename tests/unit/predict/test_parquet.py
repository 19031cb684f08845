"""Parquet: the model gets what `pandas.read_parquet` gives, and the part has its predictions alone, row group by row group."""

import base64
import datetime as dt
import gc
import io
import json
import pickle
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import BUCKET, DATA, MODEL, OUTPUT, FirstColumn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow.parquet import encryption
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import prediction_handler as handler


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    monkeypatch.setattr(handler, "TIMED_SECONDS", 0.01)


class Recorder:
    """A model of somebody's own that keeps what it is given."""

    def __init__(self):
        self.seen = []

    def predict(self, features):
        self.seen.append(features)
        return np.zeros(len(features))


def score(folder, data, model, **fields):
    """Score Parquet, written or a table, into a part; returns the facts and the part."""
    paths = []
    for index, one in enumerate(data if isinstance(data, list) else [data]):
        paths.append(folder / f"in-{index}.parquet")
        pq.write_table(one, paths[-1], row_group_size=4) if isinstance(one, pa.Table) else paths[-1].write_bytes(one)
    fields = {"prediction_column_name": "p", **fields}
    facts = handler.score_file(paths if isinstance(data, list) else paths[0], folder / "part.parquet", model, **fields)
    return facts, pq.ParquetFile(folder / "part.parquet")


def row_group_rows(file):
    return [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]


# --- types ------------------------------------------------------------------------------------------------------------------------

DAY, INSTANT = dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, 4, 5, 678901)
ARROW_TYPES = {
    "bool": (pa.bool_(), [True, False]),
    **{str(kind): (kind, [1, 2]) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())},
    **{str(kind): (kind, [1, 2]) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    "large uint64": (pa.uint64(), [2**64 - 1, 2**53 + 1]),
    **{str(kind): (kind, [1.5, float("nan")]) for kind in (pa.float16(), pa.float32(), pa.float64())},
    **{str(kind): (kind, ["a", "NA"]) for kind in (pa.string(), pa.large_string(), pa.string_view())},
    "category": (pa.dictionary(pa.int32(), pa.string()), ["b", "a"]),
    "ordered category": (pa.dictionary(pa.int32(), pa.string(), ordered=True), ["b", "a"]),
    "binary": (pa.binary(), [b"a", b"\xff"]),
    "fixed binary": (pa.binary(3), [b"abc", b"\xff\xfe\xfd"]),
    "decimal": (pa.decimal128(9, 2), [Decimal("1.20"), Decimal(2)]),
    "date": (pa.date32(), [DAY, dt.date(1969, 12, 31)]),
    **{
        f"timestamp {unit}": (pa.timestamp(unit), [INSTANT.replace(microsecond=0), dt.datetime(1969, 12, 31)])
        for unit in ("s", "ms", "us", "ns")
    },
    "UTC": (pa.timestamp("us", "UTC"), [INSTANT, INSTANT]),
    "zone": (pa.timestamp("us", "Europe/Berlin"), [INSTANT, INSTANT]),
    "time ms": (pa.time32("ms"), [dt.time(1, 2, 3), dt.time(0)]),
    "time us": (pa.time64("us"), [dt.time(1, 2, 3, 4), dt.time(0)]),
    "duration": (pa.duration("us"), [dt.timedelta(1), dt.timedelta(0, 5)]),
    "null": (pa.null(), [None, None]),
}


def columns_of_types():
    """Each type without nulls, with a null in the last row group only, and with nothing but nulls."""
    for name, (kind, (one, other)) in ARROW_TYPES.items():
        yield f"{name}, whole", pa.array([one, other, other, one, other, one], kind)
        yield f"{name}, with a null", pa.array([one, other, other, one, other, None], kind)
        yield f"{name}, empty", pa.nulls(6, kind)


def assert_seen_as_pandas_reads(folder, data, names):
    model = Recorder()
    score(folder, data, model, feature_columns=names)
    files = [folder / f"in-{index}.parquet" for index in range(len(data) if isinstance(data, list) else 1)]
    whole = pd.read_parquet(files)[names]
    assert sum(map(len, model.seen)) == len(whole)
    for number, seen in enumerate(model.seen):
        start = sum(map(len, model.seen[:number]))
        expected = whole.iloc[start : start + len(seen)].reset_index(drop=True)
        for name in names:
            if isinstance(whole[name].dtype, pd.CategoricalDtype):
                assert isinstance(seen[name].dtype, pd.CategoricalDtype), name
                assert seen[name].cat.ordered == expected[name].cat.ordered
                pd.testing.assert_series_equal(seen[name].astype(object), expected[name].astype(object))
            else:
                assert seen[name].dtype == expected[name].dtype, name
                assert same(seen[name], expected[name]), name


def same(found, expected):
    """To the type of each value: of a missing one, too, which may be None, NaN, NaT or NA."""
    return [(type(value), repr(value)) for value in found] == [(type(value), repr(value)) for value in expected]


@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize("block_rows", [1, 2**16])
def test_a_model_gets_each_type_as_pandas_reads_the_whole_table(tmp_path, monkeypatch, store_schema, block_rows):
    """Nulls in one row group make a column's type what it is in all of them."""
    monkeypatch.setattr(handler, "MIN_BLOCK_ROWS", 1)
    monkeypatch.setattr(handler, "MAX_BLOCK_ROWS", block_rows)
    table = pa.table(dict(columns_of_types()))
    pq.write_table(table, tmp_path / "written.parquet", row_group_size=2, store_schema=store_schema)
    assert_seen_as_pandas_reads(tmp_path, (tmp_path / "written.parquet").read_bytes(), table.column_names)


def test_a_model_gets_what_pandas_has_written_as_pandas_reads_it(tmp_path):
    frame = pd.DataFrame(
        {
            "Int64": pd.array([1, None, 3], "Int64"),
            "boolean": pd.array([True, None, False], "boolean"),
            "Float64": pd.array([1.5, None, 2], "Float64"),
            "string": pd.array(["a", None, "b"], "string"),
            "str": pd.Series(["a", None, "b"]),
            "ordered": pd.Categorical(["a", None, "z"], categories=["z", "a"], ordered=True),
            "period": pd.period_range("2026", periods=3, freq="Y"),
            "numbers": pd.Categorical([3, 4, 3]),
            "zone": pd.to_datetime(["2026-01-01", None, "2026-07-01"]).tz_localize("Europe/Berlin"),
            "int": [1, 2, 3],
        },
        index=pd.Index([5, 6, 7], name="id"),
    )
    frame.to_parquet(tmp_path / "written.parquet", row_group_size=2)
    names = [name for name in frame.columns if name != "period"]
    assert_seen_as_pandas_reads(tmp_path, (tmp_path / "written.parquet").read_bytes(), names)
    assert_seen_as_pandas_reads(tmp_path, (tmp_path / "written.parquet").read_bytes(), ["period"])


def test_nulls_that_no_writer_has_counted_decide_as_well(tmp_path):
    table = pa.table({"n": pa.array([1, 2, 3, 4, None]), "b": [True, False, True, False, None], "k": [1, 2, 3, 4, 5]})
    pq.write_table(table, tmp_path / "written.parquet", row_group_size=2, write_statistics=False)
    assert_seen_as_pandas_reads(tmp_path, (tmp_path / "written.parquet").read_bytes(), ["n", "b", "k"])


def test_nulls_of_another_object_decide_as_well(tmp_path):
    tables = [pa.table({"n": [1, 2]}), pa.table({"n": pa.array([None], pa.int64())})]
    assert_seen_as_pandas_reads(tmp_path, tables, ["n"])


# --- models -----------------------------------------------------------------------------------------------------------------------


def numbers_of(kind, rows=300, columns=("a", "b", "c"), nulls=False):
    random = np.random.default_rng(0)
    values = {name: random.normal(size=rows) * 100 for name in columns}
    missing = random.random(rows) < 0.1 if nulls else np.zeros(rows, bool)
    return pa.table({name: pa.array(column, pa.float64(), mask=missing).cast(kind, safe=False) for name, column in values.items()})


def assert_predicts_as_pandas(folder, table, model, **fields):
    facts, part = score(folder, table, model, **fields)
    names = list(handler.fitted_columns(model))
    expected = model.predict(pd.read_parquet(folder / "in-0.parquet")[names])
    found = part.read()["p"].to_numpy()
    assert facts.rows == table.num_rows
    assert found.tolist() == expected.tolist()
    assert row_group_rows(part) == row_group_rows(pq.ParquetFile(folder / "in-0.parquet"))


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16(), pa.int8(), pa.int64(), pa.decimal128(9, 2)], ids=str)
@pytest.mark.parametrize("nulls", [False, True])
def test_models_predict_what_they_predict_of_pandas_frame(tmp_path, kind, nulls):
    """To the bit, although most of them get an array: of floats of 32 bits, scikit-learn makes other sums."""
    table = numbers_of(kind, nulls=nulls)
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(300, 3)), columns=list("abc"))
    steps = [SimpleImputer(), StandardScaler()] if nulls else [StandardScaler()]
    for final in (Ridge(), RandomForestRegressor(5, random_state=0)):
        assert_predicts_as_pandas(tmp_path, table, make_pipeline(*steps, final).fit(frame, frame["a"]))


def test_narrow_and_wide_numbers_side_by_side_are_added_up_as_in_a_frame(tmp_path):
    table = (
        numbers_of(pa.float32()).append_column("d", numbers_of(pa.float64())["a"]).append_column("n", numbers_of(pa.int8())["b"])
    )
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(300, 5)), columns=list("abcdn"))
    parts = ColumnTransformer([("narrow", StandardScaler(), ["a", "b"]), ("wide", StandardScaler(), ["c", "d", "n"])])
    assert_predicts_as_pandas(tmp_path, table, make_pipeline(parts, Ridge()).fit(frame, frame["a"]))
    assert_predicts_as_pandas(tmp_path, table, make_pipeline(StandardScaler(), Ridge()).fit(frame, frame["a"]))


def test_an_array_is_given_to_a_model_that_cannot_tell_it_from_a_frame(tmp_path, monkeypatch):
    """And no DataFrame is made, nor pandas imported."""
    monkeypatch.setattr(handler, "_to_frame", None)
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(300, 3)), columns=list("abc"))
    for kind in (pa.float64(), pa.float32(), pa.int16(), pa.bool_()):
        assert_predicts_as_pandas(tmp_path, numbers_of(kind), make_pipeline(StandardScaler(), Ridge()).fit(frame, frame["a"]))


def test_encoders_get_texts_numbers_booleans_and_categories_as_pandas_reads_them(tmp_path):
    cities, random = np.array(["Zürich", "08", "NA", ""]), np.random.default_rng(0)
    frame = pd.DataFrame(
        {"city": cities[random.integers(0, 4, 300)], "n": random.integers(0, 5, 300), "flag": random.random(300) < 0.5}
    )
    frame["kind"] = pd.Categorical(frame["city"])
    encoder = ColumnTransformer([("one", OneHotEncoder(handle_unknown="ignore"), list(frame.columns))])
    model = make_pipeline(encoder, Ridge()).fit(frame, random.normal(size=300))
    assert_predicts_as_pandas(tmp_path, pa.Table.from_pandas(frame), model)
    frame = frame.astype({"n": object, "flag": object})
    frame.loc[::7, ["city", "kind", "n", "flag"]] = None
    assert_predicts_as_pandas(tmp_path, pa.Table.from_pandas(frame, preserve_index=False), model)


@pytest.mark.thorough
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_boosters_with_categories_know_them_by_their_values(tmp_path, library):
    """Row groups list categories in other orders, and some lack some."""
    module = pytest.importorskip(library)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"kind": pd.Categorical(random.choice(list("dcba"), 400)), "x": random.normal(size=400)})
    target = frame["kind"].cat.codes + frame["x"]
    if library == "lightgbm":
        model = module.LGBMRegressor(n_estimators=20, verbose=-1).fit(frame, target)
    else:
        model = module.XGBRegressor(n_estimators=20, enable_categorical=True).fit(frame, target)
    pieces = [frame[start : start + 50].assign(kind=frame["kind"][start : start + 50].astype(str)) for start in range(0, 400, 50)]
    types = pa.schema([("kind", pa.dictionary(pa.int32(), pa.string())), ("x", pa.float64())])
    with pq.ParquetWriter(tmp_path / "written.parquet", types) as writer:
        for piece in pieces:
            writer.write_table(pa.Table.from_pandas(piece, preserve_index=False).cast(types))
    _, part = score(tmp_path, (tmp_path / "written.parquet").read_bytes(), model, prediction_column_name="p")
    np.testing.assert_array_equal(part.read()["p"].to_numpy(), model.predict(frame).astype(float))


# --- row groups and parts ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=4),
    block_rows=st.integers(1, 7),
    quarantined=st.sets(st.integers(0, 40), max_size=5),
)
@example(groups=[[], [0, 0], [2, 0], [0], [0, 3, 0]], block_rows=2, quarantined={1})
@pytest.mark.thorough
def test_each_row_keeps_its_place_whatever_the_objects_row_groups_and_blocks(tmp_path_factory, groups, block_rows, quarantined):
    folder = tmp_path_factory.mktemp("groups")
    row, tables = 0, []
    for sizes in groups:
        rows = list(range(row, row := row + sum(sizes)))
        path = folder / "written.parquet"
        with pq.ParquetWriter(path, pa.schema([("x", pa.string())])) as writer:
            edges = np.cumsum([0, *sizes]).tolist()
            for start, stop in pairwise(edges):
                texts = ["bad" if number in quarantined else str(number) for number in rows[start:stop]]
                writer.write_table(pa.table({"x": pa.array(texts, pa.string())}), row_group_size=max(1, stop - start))
        tables.append(path.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "MIN_BLOCK_ROWS", 1)
        patch.setattr(handler, "MAX_BLOCK_ROWS", block_rows)
        patch.setattr(handler, "BLOCK_BYTES", 60)
        patch.setattr(handler, "MAX_WAITING_ROWS", 3)
        model = Ridge().fit(pd.DataFrame({"x": [0.0, 1.0]}), [0.0, 1.0])
        model.coef_, model.intercept_ = np.array([1.0]), 0.0
        bad = {number for number in quarantined if number < row}
        if row and len(bad) == row:
            with pytest.raises(handler.InvalidDataError, match="none of"):
                score(folder, tables, model, on_bad_row="quarantine")
            return
        facts, part = score(folder, tables, model, on_bad_row="quarantine")
    assert part.read()["p"].to_pylist() == [None if number in bad else float(number) for number in range(row)]
    assert row_group_rows(part) == [size for sizes in groups for size in sizes]
    assert (facts.rows, facts.rejected_rows, facts.read.rows) == (row, len(bad), row)
    lines = (folder / "part.parquet.rejected.csv").read_text().splitlines()
    assert lines[0] == "data_s3_uri,row,row_group,reason"
    ends = np.cumsum([0, *(sum(sizes) for sizes in groups)]).tolist()
    for line, number in zip(lines[1:], sorted(bad), strict=True):
        index = max(place for place, start in enumerate(ends) if start <= number and groups[min(place, len(groups) - 1)])
        within = number - ends[index]
        group = max(place for place in range(len(groups[index])) if sum(groups[index][:place]) <= within and groups[index][place])
        assert line.startswith(f"in-{index}.parquet,{within + 1},{group},"), line


def test_a_large_row_group_waits_in_a_file(tmp_path, monkeypatch):
    """Memory does not grow with it."""
    monkeypatch.setattr(handler, "MAX_WAITING_ROWS", 4)
    monkeypatch.setattr(handler, "MIN_BLOCK_ROWS", 1)
    monkeypatch.setattr(handler, "MAX_BLOCK_ROWS", 3)
    most, write = [], handler._ParquetWriter._add

    def add(writer, joined):
        write(writer, joined)
        most.append(sum(table.num_rows for table in writer._waiting))

    monkeypatch.setattr(handler._ParquetWriter, "_add", add)
    path = tmp_path / "written.parquet"
    pq.write_table(pa.table({"x": np.arange(100.0)}), path, row_group_size=70)
    _, part = score(tmp_path, path.read_bytes(), FirstColumn(), feature_columns=["x"])
    assert part.read()["p"].to_pylist() == list(range(100))
    assert row_group_rows(part) == [70, 30]
    assert max(most) <= 3


def test_a_part_that_is_given_up_writes_nothing_more(tmp_path):
    """Another attempt may have the output by then."""
    pq.write_table(pa.table({"x": [1.0, 2.0]}), tmp_path / "in.parquet")
    segment = handler._Segment(handler._Source("in.parquet", 0), None, None, tmp_path / "in.parquet")
    output, source = io.BytesIO(), handler._Parquet()
    writer = source.writer(source.header(segment, may_be_all=False), None)
    writer.begin(output, ["p"])
    writer.write(handler._Typed(2, [pa.array([1.0, 2.0])], (2,)))
    size = output.tell()
    del writer
    gc.collect()
    assert output.tell() == size > 4


def test_labels_probabilities_and_instants_have_their_types(tmp_path):
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
    table = pa.table({"x": [0.0, 1.0, 2.0, 3.0]})
    for classes, kind in [(["no", "yes"], "string"), ([0, 1], "int64"), ([False, True], "bool"), ([0.5, 1.5], "double")]:
        model = LogisticRegression()
        model.fit(frame, [0, 0, 1, 1])
        model.classes_ = np.array(classes)
        facts, part = score(tmp_path, table, model)
        assert facts.prediction_types == [kind] == [str(part.schema_arrow.field("p").type)]
        assert part.read()["p"].to_pylist() == [classes[0]] * 2 + [classes[1]] * 2
        facts, part = score(tmp_path, table, model, prediction_method="predict_proba")
        assert part.schema_arrow.names == [f"p_{name}" for name in classes]
        assert facts.prediction_types == ["double", "double"]


class Answer:
    def __init__(self, answer):
        self.answer = answer

    def predict(self, features):
        return self.answer[: len(features)]


@pytest.mark.parametrize(
    ("answer", "kind", "values"),
    [
        (np.array(["2026-01-01", "2026-01-02"], "datetime64[D]"), "date32[day]", [dt.date(2026, 1, 1), dt.date(2026, 1, 2)]),
        (np.array([INSTANT, INSTANT], "datetime64[us]"), "timestamp[us]", [INSTANT, INSTANT]),
        (np.array([1, 2], np.uint64), "uint64", [1, 2]),
        (np.array([1, 2], np.uint8), "int64", [1, 2]),
        (np.array([1.5, 2], np.float32), "double", [1.5, 2.0]),
        (np.array(["a", None], object), "string", ["a", None]),
        (np.array([1, None], object), "int64", [1, None]),
        (np.array([True, 2], object), "string", ["True", "2"]),
        (np.array([1, 2], "timedelta64[s]"), "string", None),
    ],
)
def test_predictions_of_other_types(tmp_path, answer, kind, values):
    facts, part = score(tmp_path, pa.table({"x": [1.0, 2.0]}), Answer(answer), feature_columns=["x"])
    assert facts.prediction_types == [kind]
    assert values is None or part.read()["p"].to_pylist() == values


def test_a_model_of_two_types_is_refused(tmp_path, monkeypatch):
    class Fickle:
        def __init__(self):
            self.calls = 0

        def predict(self, features):
            self.calls += 1
            return np.array(["a"] * len(features)) if self.calls == 2 else np.zeros(len(features))

    monkeypatch.setattr(handler, "MIN_BLOCK_ROWS", 1)
    monkeypatch.setattr(handler, "MAX_BLOCK_ROWS", 2)
    with pytest.raises(handler.ModelError, match="predictions of type string for some rows, and of type double for others"):
        score(tmp_path, pa.table({"x": [1.0, 2.0, 3.0, 4.0]}), Fickle(), feature_columns=["x"])


def test_parts_of_wide_and_of_empty_tables(tmp_path):
    wide = pa.table({f"column {number}": [float(number)] * 5 for number in range(1000)})
    names = ["column 999", "column 0", "column 500"]
    model = Ridge().fit(pd.DataFrame(np.eye(3), columns=names), [1.0, 2.0, 3.0])
    assert_predicts_as_pandas(tmp_path, wide, model)
    facts, part = score(tmp_path, wide.slice(0, 0), model, on_no_rows="succeed")
    assert (facts.rows, part.metadata.num_rows, part.schema_arrow.names) == (0, 0, ["p"])
    with pytest.raises(handler.InvalidDataError, match=r"in-0.parquet has no rows"):
        score(tmp_path, wide.slice(0, 0), model)


# --- refusals ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda _: b"", handler.InvalidDataError, "in-0.parquet is not Parquet, or not whole"),
        (lambda _: b"x,y\n1,2\n" * 100, handler.InvalidDataError, "in-0.parquet is not Parquet, or not whole"),
        (lambda data: data[:-1], handler.InvalidDataError, "in-0.parquet is not Parquet, or not whole"),
        (lambda data: data[:-4] + b"PARE", handler.InvalidDataError, "in-0.parquet is encrypted"),
        (lambda data: data[:-60] + b"\xff" * 52 + data[-8:], handler.InvalidDataError, "footer of in-0.parquet cannot be read"),
        (
            lambda data: data[:4] + b"\xff" * 60 + data[64:],
            handler.InvalidDataError,
            "pages of the feature columns of in-0.parquet",
        ),
    ],
)
def test_what_is_not_whole_parquet_is_refused(tmp_path, change, error, message):
    model = Ridge().fit(pd.DataFrame({"x": [0.0, 1.0]}), [0.0, 1.0])
    pq.write_table(pa.table({"x": [0.5, 1.0] * 50}), tmp_path / "good.parquet")
    with pytest.raises(error, match=message):
        score(tmp_path, change((tmp_path / "good.parquet").read_bytes()), model)


class PlainKeys(encryption.KmsClient):
    """Keeps keys as they are."""

    def __init__(self, _):
        encryption.KmsClient.__init__(self)

    def wrap_key(self, key_bytes, _):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, _):
        return base64.b64decode(wrapped_key)


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_encrypted_files_are_refused(tmp_path, plaintext_footer):
    """Also if their footers are plain: where pyarrow looks at an encrypted column, it ends the process."""
    keys = encryption.KmsConnectionConfig(custom_kms_conf={"f": "0123456789012345", "c": "1234567890123450"})
    how = encryption.EncryptionConfiguration(footer_key="f", column_keys={"c": ["x"]}, plaintext_footer=plaintext_footer)
    table, path = pa.table({"x": [1.0, 2.0], "y": [3.0, 4.0]}), tmp_path / "written.parquet"
    properties = encryption.CryptoFactory(PlainKeys).file_encryption_properties(keys, how)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    for name in ("x", "y"):
        with pytest.raises(handler.InvalidDataError, match=r"in-0.parquet is encrypted"):
            score(tmp_path, path.read_bytes(), FirstColumn(), feature_columns=[name])


def test_columns_that_cannot_be_features_are_refused(tmp_path):
    table = pa.table({"x": [1.0], "list": [[1.0]], "group": [{"x": 1}], "p": [1]})
    for name in ("list", "group"):
        with pytest.raises(handler.InvalidRequestError, match=f"in-0.parquet has lists, maps or groups in column '{name}'"):
            score(tmp_path, table, Recorder(), feature_columns=[name], prediction_column_name="q")
    with pytest.raises(handler.InvalidRequestError, match=r"in-0.parquet has a column 'p' already"):
        score(tmp_path, table, Recorder(), feature_columns=["x"])
    with pytest.raises(handler.InvalidRequestError, match="column_types is for text"):
        score(tmp_path, table, Recorder(), feature_columns=["x"], column_types={"x": "number"}, prediction_column_name="q")
    with pytest.raises(
        handler.InvalidRequestError, match=r"has no column 'y'; it has 'x', .*: correct feature_columns, or the names in the f"
    ):
        score(tmp_path, table, Recorder(), feature_columns=["y"], prediction_column_name="q")
    model = Ridge().fit(pd.DataFrame({"0": [0.0, 1.0]}), [0.0, 1.0])
    with pytest.raises(handler.InvalidRequestError, match="'0'; it has '1', '2': the model was fitted on columns of these names"):
        score(tmp_path, pa.table({"1": [1.0], "2": [1.0]}), model)


def test_what_no_rewriting_helps_is_not_called_damaged(tmp_path):
    """Pandas' intervals are groups by another name; and polars writes integers of 128 bits, which Arrow does not read."""
    frame = pd.DataFrame({"x": pd.arrays.IntervalArray.from_breaks([0, 1, 2]), "y": [1.0, 2.0]})
    frame.to_parquet(tmp_path / "intervals.parquet")
    with pytest.raises(handler.InvalidRequestError, match="has lists, maps or groups in column 'x': choose"):
        score(tmp_path, (tmp_path / "intervals.parquet").read_bytes(), FirstColumn(), feature_columns=["x"])
    pl.DataFrame({"i": pl.Series([1], dtype=pl.Int128), "x": [1.0]}).write_parquet(tmp_path / "wide.parquet")
    with pytest.raises(handler.InvalidDataError, match=r"has a column of a type that is not read here: .*: write that column as"):
        score(tmp_path, (tmp_path / "wide.parquet").read_bytes(), FirstColumn(), feature_columns=["x"])


def test_objects_of_other_schemas_are_refused(tmp_path):
    with pytest.raises(
        handler.InvalidDataError, match=r"in-1.parquet has the column 'x' .*INT64.* where in-0.parquet has .*DOUBLE"
    ):
        score(tmp_path, [pa.table({"x": [1.0]}), pa.table({"x": [1]})], Recorder(), feature_columns=["x"])
    with pytest.raises(handler.InvalidDataError, match=r"in-1.parquet has no column where"):
        score(tmp_path, [pa.table({"x": [1.0], "y": [1]}), pa.table({"x": [1.0]})], Recorder(), feature_columns=["x"])


def test_a_bad_row_has_its_place(tmp_path):
    model = Ridge().fit(pd.DataFrame({"x": [0.0, 1.0]}), [0.0, 1.0])
    with pytest.raises(
        handler.InvalidDataError, match=r"in-0.parquet row group 1, row 6, column 'x': a text of 4 character\(s\) is not a"
    ):
        score(tmp_path, pa.table({"x": ["1", "2", "3", "4", "5", "six!", "7"]}), model)
    with pytest.raises(
        handler.InvalidDataError, match=r"in-0.parquet row group 1, row 5, no value in 'x': the model refuses this row"
    ):
        score(tmp_path, pa.table({"x": [1.0, 2.0, 3.0, 4.0, None, 6.0]}), model)
    with pytest.raises(handler.InvalidDataError, match=r"row group 0, row 2, no value in 'x'"):
        score(tmp_path, pa.table({"x": [1.0, float("nan")]}), model)


def test_integers_that_float64_rounds_are_counted(tmp_path):
    model = Ridge().fit(pd.DataFrame({"x": [0.0, 1.0]}), [0.0, 1.0])
    facts, _ = score(tmp_path, pa.table({"x": [1, 2**53 + 1, 2**53, 2**62]}), model)
    assert facts.rounded_integers == 1
    with pytest.raises(handler.InvalidDataError, match="row 2, column 'x': an integer of 16 characters is too large to be exact"):
        score(tmp_path, pa.table({"x": [1, 2**53 + 1]}), model, strict=True)


# --- S3 ---------------------------------------------------------------------------------------------------------------------------

PARQUET, PART = f"s3://{BUCKET}/data/in.parquet", f"s3://{BUCKET}/out/part.parquet"


@pytest.fixture
def requests(s3):
    """Each request for bytes of the data: their numbers."""
    made = []

    def note(http_response, parsed, model, **_):
        if model.name == "GetObject" and "ContentRange" in parsed:
            made.append(parsed["ContentLength"])

    s3.meta.events.register("after-call.s3.GetObject", note)
    return made


def put(s3, uri, content):
    bucket, key = handler.parse_s3_uri(uri)
    if not isinstance(content, bytes):
        sink = pa.BufferOutputStream()
        pq.write_table(content, sink, row_group_size=len(content) // 4 or 1)
        content = sink.getvalue().to_pybytes()
    return s3.put_object(Bucket=bucket, Key=key, Body=content)["ETag"], len(content)


def put_model(s3, model):
    bucket, key = handler.parse_s3_uri(MODEL)
    s3.put_object(Bucket=bucket, Key=key, Body=pickle.dumps(model))


def get(s3, uri):
    bucket, key = handler.parse_s3_uri(uri)
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def fields(**more):
    event = {"model_s3_uri": MODEL, "data_s3_uri": PARQUET, "output_s3_uri": PART, "prediction_column_name": "p"}
    return {**event, "raise_errors": True, **more}


def test_a_chunk_reads_the_pages_of_its_features_and_row_groups_alone(s3, requests, monkeypatch):
    monkeypatch.setattr(handler, "PAGES_READ_BYTES", 5000)  # several requests for a column
    random = np.random.default_rng(0)
    table = pa.table({f"c{number}": random.normal(size=8000) for number in range(100)})
    _, size = put(s3, PARQUET, table)
    names = ["c7", "c70", "c33"]
    model = Ridge().fit(table.select(names).to_pandas(), random.normal(size=8000))
    put_model(s3, model)
    receipt_uri = f"s3://{BUCKET}/out/receipt.json"
    receipt = handler.lambda_handler(fields(row_groups=[1, 3], receipt_s3_uri=receipt_uri, chunk_index=0), None)
    part = pq.ParquetFile(pa.BufferReader(get(s3, PART)))
    assert row_group_rows(part) == [2000, 2000]
    np.testing.assert_array_equal(part.read()["p"].to_numpy(), model.predict(table.select(names).to_pandas()[2000:6000]))
    metadata = pq.read_metadata(pa.BufferReader(get(s3, PARQUET)))
    columns = [metadata.row_group(group).column(int(name[1:])) for group in (1, 2) for name in names]
    pages = sum(column.total_compressed_size for column in columns)
    assert receipt["row_groups"] == [1, 3]
    assert "byte_range" not in receipt
    assert (receipt["input_bytes"], receipt["rows_read"], receipt["header_bytes"]) == (pages, 4000, 4)
    footer, *read = requests[:1] if metadata.serialized_size < 2**16 else requests[:2]
    read = requests[1 if metadata.serialized_size < 2**16 else 2 :]
    assert pages <= sum(read) <= pages + len(columns) * handler.PAGES_PADDING_BYTES
    assert max(read) <= 5000
    assert footer <= 2**16 < size


def test_pages_of_old_writers_are_read_with_what_stands_behind_them(s3):
    """Arrow reads more of a column than the footer says (PARQUET-816)."""
    written = io.BytesIO()
    pq.write_table(pa.table({"x": [1.0, 2.0], "y": ["a" * 500, "b" * 500]}), written, compression="none")
    own = pq.read_metadata(written).created_by.encode()
    put(s3, PARQUET, written.getvalue().replace(own, b"parquet-mr version 1.2.8 (build)"[: len(own)].ljust(len(own))))
    put_model(s3, FirstColumn())
    handler.lambda_handler(fields(feature_columns=["x"]), None)
    assert pq.read_table(pa.BufferReader(get(s3, PART)))["p"].to_pylist() == [1.0, 2.0]


def test_a_probe_reads_the_beginnings_of_pages(s3, requests):
    """Even if all rows are one row group."""
    random = np.random.default_rng(0)
    written = io.BytesIO()
    pq.write_table(pa.table({name: random.normal(size=400_000) for name in "abcd"}), written, row_group_size=400_000)
    put(s3, PARQUET, written.getvalue())
    put_model(s3, FirstColumn())
    found = handler.lambda_handler(fields(feature_columns=["b", "c"], probe_rows=100), None)
    assert found["rows"] == 100
    assert found["row_bytes"] == pytest.approx(16, rel=0.1)
    assert sum(requests) < 5_000_000 < len(written.getvalue()) / 2.5


def test_a_group_of_objects_is_one_part(s3):
    tables = [pa.table({"x": np.arange(start, start + 10.0), "s": ["a"] * 10}) for start in (0, 10, 20)]
    segments = []
    for number, table in enumerate(tables):
        uri = f"s3://{BUCKET}/data/{number}.parquet"
        etag, _ = put(s3, uri, table)
        segments.append({"data_s3_uri": uri, "data_etag": etag, "row_groups": [0, 5 if number else 2]})
    put_model(s3, FirstColumn())
    event = fields(segments=segments, feature_columns=["x"], input_format="parquet")
    del event["data_s3_uri"]
    receipt = handler.lambda_handler(event, None)
    part = pq.ParquetFile(pa.BufferReader(get(s3, PART)))
    assert part.read()["p"].to_pylist() == [0, 1, 2, 3, *range(10, 30)]
    assert row_group_rows(part) == [2] * 12
    assert (receipt["objects"], receipt["rows_read"]) == (3, 24)


def test_an_object_that_changes_meanwhile_is_noticed(s3):
    put(s3, PARQUET, pa.table({"x": [1.0]}))
    put_model(s3, FirstColumn())
    with pytest.raises(handler.InputChangedError):
        handler.lambda_handler(fields(feature_columns=["x"], data_etag='"other"'), None)


def test_a_model_that_cannot_be_read_does_not_leave_the_download_waiting(s3):
    put(s3, PARQUET, pa.table({"x": [1.0]}))
    with pytest.raises(handler.InputNotFoundError):
        handler.lambda_handler(fields(feature_columns=["x"]), None)


def test_a_run_decides_types_that_row_groups_alone_would_not_show(s3):
    """The probe sees integers; a chunk with a null refutes that, and says what the column holds."""
    put(s3, PARQUET, pa.table({"n": pa.array([1, 2, 3, None])}))
    put_model(s3, FirstColumn())
    columns_uri, decision_uri = f"s3://{BUCKET}/out/columns.json", f"s3://{BUCKET}/out/decision.json"
    event = fields(feature_columns=["n"], probe_rows=2, receipt_s3_uri=columns_uri)
    found = handler.lambda_handler(event, None)
    columns = json.loads(get(s3, columns_uri))
    assert found["rows"] == 1
    assert columns["column_types"] == {"n": "number"}  # by the whole object
    assert columns["prediction_types"] == ["double"]
    s3.put_object(Bucket=BUCKET, Key="out/decision.json", Body=json.dumps({**columns, "column_types": {"n": "integer"}}))
    receipt_uri = f"s3://{BUCKET}/out/receipt.json"
    event = fields(decision_s3_uri=decision_uri, receipt_s3_uri=receipt_uri, chunk_index=0)
    with pytest.raises(handler.ColumnTypeError, match="column 'n' has nulls, and the run has seen integers without so far"):
        handler.lambda_handler(event, None)
    assert json.loads(get(s3, f"s3://{BUCKET}/out/receipt.types.json")) == {"n": "number"}


def test_a_part_without_predictions_has_the_types_of_the_run(s3):
    put(s3, PARQUET, pa.table({"x": pa.array([None, None], pa.float64())}))
    model = LogisticRegression().fit(pd.DataFrame({"x": [0.0, 1.0]}), ["no", "yes"])
    put_model(s3, model)
    columns = {"column_types": {}, "prediction_columns": ["p"], "prediction_types": ["string"]}
    s3.put_object(Bucket=BUCKET, Key="out/decision.json", Body=json.dumps(columns))
    more = {"decision_s3_uri": f"s3://{BUCKET}/out/decision.json", "chunk_index": 0, "on_bad_row": "quarantine"}
    receipt = handler.lambda_handler(fields(**more), None)
    part = pq.ParquetFile(pa.BufferReader(get(s3, PART)))
    assert (str(part.schema_arrow.field("p").type), part.read()["p"].to_pylist()) == ("string", [None, None])
    assert receipt["rejected_rows"] == 2


def test_a_stored_model_scores_parquet(s3):
    random = np.random.default_rng(0)
    table = pa.table({"x": random.normal(size=400), "kind": random.choice(list("abc"), 400), "n": random.integers(0, 9, 400)})
    frame = table.to_pandas()
    encoder = ColumnTransformer([("one", OneHotEncoder(), ["kind"]), ("x", StandardScaler(), ["x", "n"])])
    model = make_pipeline(encoder, Ridge()).fit(frame, random.normal(size=400))
    put(s3, PARQUET, table)
    put_model(s3, model)
    found = handler.lambda_handler(fields(probe_rows=100, receipt_s3_uri=f"s3://{BUCKET}/out/columns.json"), None)
    assert found["stored_model_s3_uri"]
    handler._model_cache.clear()
    s3.delete_object(Bucket=BUCKET, Key=MODEL.removeprefix(f"s3://{BUCKET}/"))
    columns = json.loads(get(s3, f"s3://{BUCKET}/out/columns.json"))
    s3.put_object(Bucket=BUCKET, Key="out/decision.json", Body=json.dumps(columns))
    stored = {name: found[name] for name in ("stored_model_s3_uri", "stored_model_sha256")}
    handler.lambda_handler(fields(decision_s3_uri=f"s3://{BUCKET}/out/decision.json", chunk_index=0, **stored), None)
    part = pq.ParquetFile(pa.BufferReader(get(s3, PART)))
    assert part.read()["p"].to_pylist() == model.predict(frame).tolist()


def test_fields_of_the_other_format_are_refused_by_name(s3):
    with pytest.raises(handler.InvalidRequestError, match="byte_range is not for Parquet: give row_groups"):
        handler.lambda_handler(fields(byte_range=[0, 5]), None)
    with pytest.raises(handler.InvalidRequestError, match="row_groups is not for CSV: give byte_range"):
        handler.lambda_handler(fields(row_groups=[0, 5], data_s3_uri=DATA, output_s3_uri=OUTPUT), None)
    with pytest.raises(handler.InvalidRequestError, match="column_types is for text"):
        handler.lambda_handler(fields(column_types={"x": "number"}), None)
    with pytest.raises(handler.InvalidRequestError, match=r"ends in .csv, and output_format is parquet: choose .* .parquet"):
        handler.lambda_handler(fields(output_s3_uri=OUTPUT, output_format="parquet"), None)
    put(s3, PARQUET, pa.table({"x": [1.0]}))
    put_model(s3, FirstColumn())
    with pytest.raises(handler.InvalidRequestError, match=r"has 1 row group\(s\), and row_groups names \[0, 2\]"):
        handler.lambda_handler(fields(row_groups=[0, 2], feature_columns=["x"]), None)
