"""One random request with its data, from a seed alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from soak.tables import Records, random_layout

if TYPE_CHECKING:
    from soak.estimators import Estimator

BOM = b"\xef\xbb\xbf"
COPIED_BYTES = 5 * 2**20
"""Parts of at least this size are copied by S3 itself."""


@dataclass(frozen=True)
class Plant:
    """A record that cannot be scored, or not even be read."""

    uri: str
    byte: int
    row: int
    """From 1, in its object."""
    column: str | None
    """Whose value is not a number; None where the record cannot be read."""


@dataclass
class Workload:
    """A request, what is in S3 before it, and what is planted to go wrong."""

    name: str
    estimator: Estimator
    model_uri: str
    request: dict[str, Any]
    objects: list[tuple[str, bytes]]
    """The inputs with rows, in the output's order: URI and content."""
    clean: list[tuple[str, bytes]]
    """The same without what was planted."""
    others: list[tuple[str, bytes]] = field(default_factory=list)
    """Decoys under the prefix, objects that are only a header, the manifest."""
    skipped: int = 0
    """Objects that the report must count as skipped."""
    plants: list[Plant] = field(default_factory=list)
    errors: set[str] = field(default_factory=set)
    """With which one of these the request must fail (or lose a chunk, where that is tolerated); empty if it must succeed."""
    foreign: bytes | None = None
    """What is at the output's key before."""
    rival: dict[str, Any] | None = None
    """Another request to the same output, started with this one."""
    twins: int = 1
    """Executions of this request at once."""
    repeats: int = 0
    """Executions of it after it succeeded."""
    faults: str = "none"

    @property
    def output_uri(self):
        return self.request["output_s3_uri"]

    @property
    def at_once(self):
        """The requests that are started together."""
        return [self.request] * self.twins + ([self.rival] if self.rival else [])


def random_workload(seed, bucket, estimators):
    """Make a workload; the same one for the same seed."""
    random = Random(seed)
    estimator = random.choice(estimators)
    name = f"run-{seed}"
    own_model = random.random() < 0.3
    quarantine = random.random() < 0.35
    layout = random_layout(random, estimator, refusable=quarantine)
    records = Records(random, layout)
    plan = [sizes_of(random), random.choice(["none", "all", "mixed"])]
    contents, plants = objects_of(random, records, plan, quarantine=quarantine)

    data_uri, uris, others, skipped = named(random, f"s3://{bucket}/data/{name}", contents, layout.header(random) + layout.line_end)
    objects = list(zip(uris, [content for content, _ in contents], strict=True))
    clean = list(zip(uris, [content for _, content in contents], strict=True))
    request = {
        "model_s3_uri": f"s3://{bucket}/models/{name if own_model else estimator.name}.joblib",
        "data_s3_uri": data_uri,
        "output_s3_uri": f"s3://{bucket}/output/{name}/out.csv",
        "prediction_column_name": random.choice(["prediction", "p, q", "größer"]),
        "feature_columns": layout.features,
        "chunk_size_mb": chunk_size_of(random, sum(len(content) for _, content in objects)),
    }
    workload = Workload(
        name,
        estimator,
        request["model_s3_uri"],
        request,
        objects,
        clean,
        others,
        skipped,
        [Plant(uris[index], byte, row, column) for index, byte, row, column in plants],
    )
    method = random.choice(estimator.methods)
    if method != "predict" or random.random() < 0.3:
        request["prediction_method"] = method
    if quarantine:
        request["on_bad_row"] = "quarantine"
    if any(plant.column is None for plant in workload.plants) or (workload.plants and not quarantine):
        workload.errors.add("InvalidDataError")
    add_options(random, workload, bucket)
    if len(objects) > 1 and isinstance(data_uri, list) and not workload.plants and random.random() < 0.2:
        again = random.randrange(len(objects))
        data_uri.append(uris[again])
        objects.append(objects[again])
        clean.append(clean[again])
    return workload


def add_options(random, workload, bucket):
    """Choose what the request asks for beside scoring, and what happens around it."""
    request = workload.request
    if random.random() < 0.15:
        request["model_sha256"] = workload.estimator.sha256
        if random.random() < 0.4:
            request["model_sha256"] = "0" * 64
            workload.errors.add("ModelError")
    if random.random() < (0.6 if workload.errors == {"InvalidDataError"} else 0.3):
        request["tolerated_failure_percentage"] = random.choice([1, 20, 50, 90])
    if random.random() < 0.1:
        workload.foreign = b"someone else's\n"
        if random.random() < 0.5:
            request["overwrite"] = True
        else:
            workload.errors.add("OutputExistsError")
    if random.random() < 0.1:
        request["max_concurrency"] = random.randint(1, 3)
    request["keep_work"] = random.random() < 0.15
    workload.faults = random.choices(["none", "some", "many", "burst", "storm"], [35, 33, 12, 19, 1])[0]
    if workload.errors or workload.foreign is not None:
        return
    workload.twins = random.choices([1, 2, 3], [80, 14, 6])[0]
    workload.repeats = random.choices([0, 1, 2], [75, 20, 5])[0]
    if workload.twins == 1 and workload.faults == "none" and random.random() < 0.15 and not request.get("on_bad_row"):
        workload.rival = {**request, "prediction_column_name": "rival"}


def sizes_of(random):
    count = random.choices([1, random.randint(2, 6), random.randint(7, 30)], [45, 35, 20])[0]
    if random.random() < 0.04:
        total = random.randint(3, 5) * COPIED_BYTES  # parts that S3 copies
        count = min(count, 2)
    else:
        total = int(100 * 10 ** (random.random() * 4.4))  # 100 bytes to 2.5 MB
    weights = [random.random() ** 3 + 0.001 for _ in range(count)]
    return [max(1, int(total * weight / sum(weights))) for weight in weights]


def chunk_size_of(random, total):
    """Return megabytes, so that there are 1 to 20 chunks; parts that S3 copies of large data."""
    if total > 2 * COPIED_BYTES:
        return round(total / random.choice([1, 2, 3]) / 1e6, 6)
    return max(0.0001, round(total / random.choice([0.5, 1, random.randint(2, 20)]) / 1e6, 6))


def objects_of(random, records, plan, *, quarantine):
    """Return objects (content, and content without plants), and the plants: (object, byte, row, column)."""
    sizes, boms = plan
    layout = records.layout
    kind = random.choices(["none", "bad", "malformed"], [60, 30, 10] if quarantine else [82, 12, 6])[0]
    count = {"none": 0, "bad": random.choice([1, 3, 20]) if quarantine else 1, "malformed": 1}[kind]
    planted_in = [random.randrange(min(1, len(sizes) - 1), len(sizes)) for _ in range(count)]  # beyond the probe, if possible
    if layout.long_field == 0 and sum(sizes) > 2 * COPIED_BYTES:
        records.padding = "p" * 400  # large data of few rows: the oracle is not fast
    objects, plants = [], []
    for index, size in enumerate(sizes):
        bom = BOM if boms == "all" or (boms == "mixed" and random.random() < 0.5) else b""
        header = bom + layout.header(random) + layout.line_end
        lines = []
        left = size - len(header)
        while not lines or left > 0:
            lines.append(records.record() + layout.line_end)
            left -= len(lines[-1])
        dirty = [None] * len(lines)
        for place in sorted({random.randrange(len(lines)) for chosen in planted_in if chosen == index}):
            dirty[place] = records.bad() if kind == "bad" else (records.malformed(), None)
        content, byte = [header], len(header)
        row = 0
        for line, plant in zip(lines, dirty, strict=True):
            row += 1
            if plant:  # stands before a clean record, and so never last
                plants.append((index, byte, row, plant[1]))
                content.append(plant[0] + layout.line_end)
                byte += len(content[-1])
                row += 1
            content.append(line)
            byte += len(line)
        ends = [b"".join(content), header + b"".join(lines)]
        if random.random() < 0.3:
            ends = [end.removesuffix(layout.line_end) for end in ends]
        objects.append((ends[0], ends[1]))
    return objects, plants


def named(random, folder, contents, only_header):
    """Return `data_s3_uri`, the objects' URIs in the output's order, further objects, and how many of them are skipped."""
    count = len(contents)
    way = random.choice(["single", "prefix", "list"] if count == 1 else ["prefix", "glob", "list", "manifest"])
    uris = [f"{folder}/part-{number}.csv" for number in sorted(random.sample(range(200), count))]
    others = []
    if way in {"list", "manifest"}:
        random.shuffle(uris)
        listed = list(uris)
        if random.random() < 0.2:
            others.append((f"{folder}/only-header.csv", only_header))
            listed.insert(random.randint(0, count), others[0][0])
        if way == "list":
            return listed, uris, others, len(others)
        others.append((f"{folder}/all.manifest.json", json.dumps(listed).encode()))
        return others[-1][0], uris, others, len(others) - 1
    if way == "single":
        return uris[0], uris, [(f"{folder}/part-unrelated.csv", b"x\n")], 0
    if random.random() < 0.4:
        others = [(f"{folder}/part-999.csv", only_header), (f"{folder}/part-1000.csv", b"")]
    skipped = len(others)
    if random.random() < 0.4:
        others += [(f"{folder}/_SUCCESS", b""), (f"{folder}/.part-1.csv", b"hidden")]
        skipped = len(others) if way == "prefix" else skipped
    return f"{folder}/" if way == "prefix" else f"{folder}/part-*.csv", uris, others, skipped
