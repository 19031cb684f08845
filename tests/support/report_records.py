"""Records of runs for the report's page: the flights of a year, made up but of the shapes that real runs have."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zlib import crc32

import numpy as np

from batch_predict.report.input import ReportInput
from batch_predict.runs.history import StateVisit
from support.chunk_statistics import number_statistics

STARTED = datetime(2026, 11, 24, 2, 0, 0, 123000, tzinfo=UTC)
ARN = "arn:aws:states:eu-central-1:123456789012:execution:batch-predict:nightly-2026-11-24"
DATA = "s3://flights-data/flights/2013"
OUTPUT = "s3://flights-output/2026-11-24/predictions.csv"
DEFINITION = json.loads((Path(__file__).parents[2] / "statemachine" / "batch_prediction.asl.json").read_text())
MESSAGE = "the model raised MemoryError on 41,250 rows: give the function more memory, or ask for smaller chunks"


def number_values(values, missing=0):
    return number_statistics([*values, *[np.nan] * missing])


def text_values(texts):
    hashed = np.bincount([crc32(text.encode()) % 64 for text in texts], minlength=64)
    return {"kind": "text", "rows": len(texts), "missing": 0, "hashed": hashed.tolist()}


def class_values(classes, other=0):
    return {"kind": "class", "rows": sum(classes.values()) + other, "missing": 0, "classes": classes, "other_classes": other}


def flights_features(seed=1, delay=0.0, carriers="UA B6 EV DL AA MQ US"):
    """Return statistics of 20,000 rows; later flights and other carriers make drift."""
    random_values = np.random.default_rng(seed)
    rows = 20_000
    hours = random_values.normal(1350, 420, rows).clip(1, 2400).round()
    names = carriers.split()
    weights = np.arange(len(names), 0, -1) / sum(range(len(names) + 1))
    return {
        "month": number_values(random_values.integers(1, 13, rows)),
        "dep_time": number_values(hours + delay * 8, missing=int(312 * (1 + delay))),
        "dep_delay": number_values((random_values.gamma(0.5, 40, rows) - 6 + delay).round(), missing=498),
        "distance": number_values(random_values.choice([187, 502, 760, 1028, 1400, 2475], rows)),
        "carrier": text_values(random_values.choice(names, rows, p=weights)),
        "origin": text_values(random_values.choice(["EWR", "LGA", "JFK"], rows)),
        "dest": text_values(random_values.choice([f"D{number}" for number in range(90)], rows)),
    }


def timeline(chunks, seed=2, concurrency=12):
    """Return the columns of `chunks` chunks, so many at once."""
    draw = random.Random(seed)
    free = [3.2] * min(concurrency, chunks)
    columns = {name: [] for name in ("started", "milliseconds", "rows", "rejected_rows", "cold_start", "data_s3_uri", "byte_range")}
    for index in range(chunks):
        worker = min(range(len(free)), key=free.__getitem__)
        cold = index < concurrency
        seconds = draw.uniform(1.6, 3.4) + (1.4 if cold else 0)
        columns["started"].append(int(1000 * (STARTED.timestamp() + free[worker])))
        columns["milliseconds"].append(round(1000 * seconds, 3))
        columns["rows"].append(draw.randint(7000, 9000))
        columns["rejected_rows"].append(draw.choice([0, 0, 0, 12]))
        columns["cold_start"].append(cold)
        columns["data_s3_uri"].append(f"{DATA}/{index % 12 + 1:02}.csv")
        columns["byte_range"].append([index * 800_000, (index + 1) * 800_000])
        free[worker] += seconds + 0.12
    return {"chunk_index": list(range(chunks)), **columns}


def report(number=44, **fields):
    """Return the report of a run of so many chunks."""
    columns = timeline(number)
    rows = sum(columns["rows"])
    rejected = sum(columns["rejected_rows"])
    return {
        "schema_version": 2,
        "fingerprint": "5f" * 32,
        "identity": "c1" * 32,
        "execution": {"arn": ARN, "name": "nightly-2026-11-24", "start_time": "2026-11-24T02:00:00.123Z"},
        "started": "2026-11-24T02:00:00.123Z",
        "finished": "2026-11-24T02:00:19.845Z",
        "request": request(),
        "plan": {
            "boundaries": "guessed",
            "chunk_size_mb": 0.8,
            "chunk_size_reason": "Chunks of 0.8 MB, 1.2 s each at 0.8 MB/s: max_concurrency lets 100 run at once.",
            "chunks": number,
            "objects": 12,
            "input_bytes": number * 800_000,
            "skipped_objects": 0,
        },
        "output": {
            "output_s3_uri": OUTPUT,
            "report_s3_uri": f"{OUTPUT}.report.json",
            "etag": '"0123-1"',
            "bytes": number * 930_000,
            "rows": rows,
            "rejected_rows": rejected,
            "rejected_s3_uri": f"{OUTPUT}.rejected.csv",
            "chunks": number,
            "failed_chunks": 0,
            "complete": True,
        },
        "rows": {"read": rows, "predicted": rows - rejected, "rejected": rejected},
        "bytes": {"read": number * 800_000, "written": number * 930_000},
        "chunks": {"planned": number, "predicted": number, "reused": 0, "failed": 0},
        "failed_chunks": [],
        "model": {
            "s3_uri": "s3://flights-models/arrival_delay.joblib",
            "etag": '"model"',
            "version_id": "3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY",
            "sha256": "9b" * 32,
            "bytes": 48_213,
            "estimator": "Pipeline(ColumnTransformer, Ridge)",
            "sklearn_version": "1.8.2",
            "versions": {"python": "3.13.9", "numpy": "2.4.6", "pyarrow": "26.1.0", "scikit-learn": "1.9.0"},
            "steps": ["columntransformer: ColumnTransformer", "columntransformer > num: StandardScaler, 4 columns", "ridge: Ridge"],
            "deployment": "d3" * 32,
            "bundle": None,
            "warnings": [
                "The model was fitted with scikit-learn 1.8.2, and scored with 1.9.0: compare its predictions on a sample."
            ],
        },
        "rounded_integers": 0,
        "column_types": {"tailnum": "text", "sched_dep_time": "integer"},
        "warnings": [],
        "milliseconds": {
            "total": sum(columns["milliseconds"]),
            "load_model": 5210.5,
            "read": 18_400.1,
            "parse": 21_900.7,
            "predict": 44_310.2,
            "write": 9_120.4,
        },
        "estimated_cost": {
            "lambda_gb_seconds": 198.4,
            "dollars": {"lambda": 0.002655, "step_functions": 0.00325, "s3": 0.000812, "total": 0.006717},
        },
        "statistics": {
            "predictions": {"predicted_arr_delay": number_values(np.random.default_rng(4).gamma(2, 18, 20_000) - 22, missing=3)},
            "features": flights_features(seed=5, delay=14, carriers="B6 UA WN EV DL"),
            "features_left_out": 0,
            "rejected_reasons": {
                "column 'dep_time': not a number": 101,
                "column 'distance': missing, and the model takes no missing values": 19,
                "the row has 18 fields, the header 19": 4,
            },
        },
        "timeline": columns,
        **fields,
    }


def request():
    return {
        "model_s3_uri": "s3://flights-models/arrival_delay.joblib",
        "data_s3_uri": f"{DATA}/*.csv",
        "output_s3_uri": OUTPUT,
        "prediction_column": "predicted_arr_delay",
        "max_concurrency": 12,
        "on_bad_row": "quarantine",
        "tolerated_failed_chunks": 0,
    }


def states(*visits):
    """Return visits to states one after the other: (name, kind, seconds) with error and attempts where they matter."""
    runs, now = [], STARTED
    for name, kind, seconds, *rest in visits:
        runs.append(StateVisit(name, kind, now, seconds, *rest))
        now += timedelta(seconds=seconds or 0)
    return runs


BEFORE_CHUNKS = (
    ("Validate Request", "Task", 0.412),
    ("Probe Model", "Task", 1.934),
    ("Plan Chunks", "Task", 0.771, None, 2),
    ("Decide What To Run", "Choice", 0.0),
)


def flights_run(chunks=44, **fields):
    """Return a run that succeeded, with everything that there is to show."""
    given = {
        "name": "nightly-2026-11-24",
        "execution_arn": ARN,
        "status": "SUCCEEDED",
        "started": STARTED,
        "stopped": STARTED + timedelta(seconds=19.722),
        "seconds": 19.722,
        "request": request(),
        "states": states(
            *BEFORE_CHUNKS,
            ("Predict Chunks", "Map", 15.2),
            ("Merge Outputs", "Task", 1.38),
            ("Is Merged", "Choice", 0.0),
            ("Published", "Succeed", 0.0),
        ),
        "definition": DEFINITION,
        "report": report(chunks),
        "attempts": {3: 2, 21: 3} if chunks > 21 else {},
        "reference": flights_features(seed=9),
        "reference_predictions": {"predicted_arr_delay": number_values(np.random.default_rng(7).gamma(2, 15, 20_000) - 22)},
        "prediction_drift": {"predicted_arr_delay": 0.182},
        "reference_name": "training/flights-2012.csv",
        "drift": {
            "month": 0.004,
            "dep_time": 0.131,
            "dep_delay": 0.482,
            "distance": 0.002,
            "carrier": 0.913,
            "origin": 0.001,
            "dest": 0.013,
        },
    }
    return ReportInput(**{**given, **fields})


def failed_run(**fields):
    """Return a run that failed in its chunks, so that it has no report."""
    failures = [
        {
            "chunk_index": index,
            "data_s3_uri": f"{DATA}/0{index % 9 + 1}.csv",
            "byte_range": [index * 800_000, (index + 1) * 800_000],
            "error": "ModelError" if index % 4 else "Lambda.Unknown",
            "message": MESSAGE,
            "advice": "correct the value" if index == 17 else None,
        }
        for index in (3, 17, 20, 22)
    ]
    failures.append(
        {
            "chunk_index": 30,
            "segments_s3_uri": "s3://flights-output/work/30.json",
            "error": "TransientS3Error",
            "message": "SlowDown",
        }
    )
    given = {
        "status": "FAILED",
        "report": None,
        "states": states(
            *BEFORE_CHUNKS,
            ("Predict Chunks", "Map", 9.4, "States.ExceedToleratedFailureThreshold"),
            ("Explain Failure", "Task", 0.6),
            ("Can It Go On", "Choice", 0.0),
            ("Prediction Failed", "Fail", 0.0),
        ),
        "failures": failures,
        "error": "ModelError",
        "cause": f"5 of 44 chunks failed, 0 are tolerated. The first is chunk 3: {MESSAGE}",
        "advice": "Try the chunk alone: batch-predict chunk nightly-2026-11-24 3 --here",
    }
    return flights_run(**{**given, **fields})
