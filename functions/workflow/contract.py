"""The documents that pass between the states. Ranges of bytes and of row groups are half-open, `[start, stop)`, and count from 0.

The execution's document grows by name: `request`, `execution`, `prediction`, `probe` (Validate Request), `model` (Probe Model),
`plan` (Plan Chunks), `output` (Merge Outputs), or `failure` and `explanation`. A state replaces nothing but its own. It stays far
below Step Functions' 256 KiB: lists of objects and chunks live in S3.
"""

from typing import Annotated, Any, Literal, NotRequired, TypedDict, get_args

from .column_types import Kind  # conforms.py resolves the fields' types
from .conforms import Natural
from .estimate import Estimate

Count = Annotated[int, lambda count: 0 <= count <= 2**53]
"""A number of rows, bytes or milliseconds."""
Counts = Annotated[list[Natural], lambda counts: sum(counts) <= 2**50]
"""Counts of a histogram: those of 10,000 chunks, added up, still fit into 64 bits each."""
ByteRange = Annotated[list[Count], lambda edges: len(edges) == 2]
"""[start, stop), in bytes, or in row groups."""
Extent = Literal["byte_range", "row_groups"]
"""The field that says which share of an object a chunk has; a run's objects all have the same, that of their format."""
EXTENTS: tuple[Extent, ...] = get_args(Extent)
InputFormat = Literal["csv", "jsonl", "parquet"]
"""What a format is called once it is known."""
Milliseconds = Annotated[float, lambda spent: 0 <= spent <= 10**8]
HeaderValue = Annotated[str, lambda text: text != "" and text.isascii() and text.isprintable()]
"""A text that HTTP can send as the value of a header, as ETags and ids of uploads are."""
Name = Annotated[str, lambda name: len(name) <= 10_000]
"""A column, a label or a reason."""


class Request(TypedDict):
    """The normalised request: placeholders in URIs are resolved, and every other field is present.

    But for its columns, which may be thousands: they are in the probe's event, and from then on in S3 (`Columns`, `Decision`).
    """

    model_s3_uri: str
    data_s3_uri: list[str]
    """Always a list, in the caller's order."""
    output_s3_uri: str
    prediction_column_name: str
    input_format: str
    """What the data are, also if the caller says `auto`."""
    output_format: str | None
    """Not None once the data are known."""
    output_compression: str
    """`none`, `gzip` or `zstd`, also if the output's name alone says it."""
    chunk_size_mb: float | None
    """Target bytes of input a chunk, in MB (10^6 bytes); None if the planner chooses."""
    max_concurrency: int
    tolerated_failure_percentage: float
    """0 to 100."""
    prediction_method: str
    predictions: list[object] | None
    """As the request schema describes them; None if what `prediction_method` gives is written."""
    on_bad_row: str
    on_no_rows: str
    model_sha256: str | None
    model_version_id: str | None
    csv: dict[str, Any] | None
    """How CSV is written, as far as it is not the usual way; None if it is, or if the data is not CSV."""
    strict: bool
    overwrite: bool
    dry_run: bool
    keep_work: bool
    scheduled_time: str
    """ISO 8601, UTC."""
    time_zone: str
    """IANA name; placeholders are written in it."""


class StatedColumns(TypedDict):
    """What a request says of its columns."""

    feature_columns: list[str] | None
    """None if the model knows them."""
    column_types: dict[str, Kind] | None
    """The kinds of feature columns."""
    output_columns: list[str] | None
    """What the output has of the data's columns; None if it has all."""


class WholeRequest(Request, StatedColumns):
    """The normalised request: every field of `request.schema.json`."""


class Execution(TypedDict):
    """What the Step Functions context object says of this execution."""

    arn: str
    name: str
    start_time: str
    """ISO 8601, UTC."""


class PredictionFields(TypedDict):
    """The request's share of a prediction event: equal for the probe and every chunk."""

    model_s3_uri: str
    model_etag: str
    model_sha256: str | None
    model_version_id: str | None
    prediction_column_name: str
    input_format: InputFormat
    output_format: InputFormat
    output_compression: str
    prediction_method: str
    predictions: list[object] | None
    on_bad_row: str
    on_no_rows: str
    csv: dict[str, Any] | None
    strict: bool
    raise_errors: bool
    execution_name: str
    """For the function's log lines."""


class Segment(TypedDict):
    """One object of a grouped chunk, or a range of it."""

    data_s3_uri: str
    byte_range: NotRequired[ByteRange]
    row_groups: NotRequired[ByteRange]
    """[start, stop), from 0; either this or the one above."""
    data_etag: str


class Chunk(TypedDict):
    """One item of the plan, with `PredictionFields` a whole prediction event: a range of an object, or whole small objects."""

    chunk_index: Count
    """From 0, in the order of the output."""
    data_s3_uri: NotRequired[str]
    byte_range: NotRequired[ByteRange]
    """On record boundaries; 0 includes the header."""
    row_groups: NotRequired[ByteRange]
    """[start, stop), from 0, in place of it."""
    data_etag: NotRequired[str]
    segments_s3_uri: NotRequired[str]
    """A JSON array of `Segment`s: thousands of them would pass the 256 KiB that an item of the Map may have."""
    decision_s3_uri: str
    decision_sha256: str
    """The digest of that object's bytes: the chunk refuses any other."""
    output_s3_uri: str
    """The part."""
    receipt_s3_uri: str


class ChunkEvent(PredictionFields, Chunk):
    """The prediction event of Predict Chunk."""


class Agreed(TypedDict):
    """What every chunk of a plan must keep to: it is in the document, and so wins over the plan's items in S3."""

    decision_s3_uri: str
    decision_sha256: str
    work_s3_uri: str
    """Ends in `/`; what a chunk writes, and what it reads of the run, lies under it, except the stored model."""
    stored_model_s3_uri: str | None
    """As `Probe` has it, of this execution; the decision does not name it, so that resumed runs find their work."""
    stored_model_sha256: str | None


class Columns(TypedDict):
    """What Probe Model has found of the columns, in an object of its own: no document has room for thousands of names."""

    feature_columns: list[str]
    """What the model gets, in this order: as the request lists them, or as the model knows them."""
    prediction_columns: list[str]
    """What every part has after the input's own columns."""
    prediction_types: NotRequired[list[str]]
    """Their types, if the output has types: the prediction function alone knows these names."""
    column_types: dict[str, Kind]
    """The kinds of the open columns, those that neither the fitted model determines nor the request states; by the
    probed rows."""
    stated_types: dict[str, Kind]
    """The kinds of the columns of which the request says it."""
    numeric_columns: list[str]
    """The open columns that the model takes for numbers: integer or number, and other values are bad rows."""
    output_columns: list[str] | None
    """As the request lists them."""


class Decision(Columns):
    """What all chunks of a run agree on (`decision.json` in the work prefix); its `column_types` are those of the whole data."""

    deployment: str
    """The deployment of the prediction function that answered the probe."""
    model_sha256: str


class ProbedObject(TypedDict):
    """An object in which the probe looks for rows."""

    data_s3_uri: str
    data_etag: str


class ProbeEvent(PredictionFields, StatedColumns):
    """The prediction event of Probe Model: no output, the first rows of one object."""

    data_s3_uri: str | None
    """None if the data has no object and needs none: then the model alone is probed."""
    data_etag: str | None
    further_data: list[ProbedObject]
    """Where to look on if the model refuses all rows of the first object; empty unless bad rows are quarantined."""
    probe_rows: int
    receipt_s3_uri: str
    """Where `Columns` go."""


class Validated(TypedDict):
    """What Validate Request returns: the document's first state."""

    request: Request
    execution: Execution
    prediction: PredictionFields
    probe: ProbeEvent


class Model(TypedDict):
    """What the prediction handler reports of the model (in its receipt and the probe's result)."""

    s3_uri: str
    etag: str
    version_id: str | None
    """As S3 answered it; None if the bucket keeps no versions."""
    sha256: str
    bytes: Count
    estimator: str
    """Class name of the unpickled object."""
    sklearn_version: str | None
    """The version that fitted the model, if it says so."""
    versions: dict[str, str]
    """Versions of Python and of the libraries that scored, including those that the model is made of; for people."""
    steps: list[str]
    """A pipeline's steps, a line each with the way to it, `prepare > num: StandardScaler, 3 columns`: names and classes, no values.

    There are at most 40, of 160 characters; an estimator alone has none.
    """
    deployment: str
    """SHA-256 of all that the prediction function is made of: every distribution, Python, processor, its own code, the bundle."""
    bundle: str | None
    """The digest of a bundle: of its `bundle.json`, which has the digest of each file in it. None of a model that is none."""
    warnings: list[str]
    """What may make predictions differ, such as another version of scikit-learn."""
    unpacked_bytes: NotRequired[Count]
    """What is unpacked of a bundle in /tmp while it scores."""
    file_bytes: NotRequired[Count]
    """The model file in a bundle, as it is loaded; `bytes` are those of the whole bundle."""


class Probe(TypedDict):
    """What Probe Model returns."""

    rows: int
    """0 if the data has none and needs none."""
    row_bytes: float
    """The mean length of a row of input with its line end; 0 without rows, like the next field."""
    rows_per_second: float
    """Of one worker on a whole vCPU, whatever share of one the function has."""
    one_worker: bool
    """Whether one worker scores all blocks, which more than one vCPU does not help."""
    columns_s3_uri: str
    """The place of `Columns`."""
    columns_sha256: str
    """The digest of that object's bytes."""
    stored_model_s3_uri: str | None
    """The model as numbers, without code: chunks read it in place of the model, and need no scikit-learn. None if it has steps or
    trees for which scikit-learn is needed."""
    stored_model_sha256: str | None
    """The digest of that object's bytes: a chunk that finds others reads the model itself."""
    warnings: list[str]
    """What may make predictions differ, such as that they depend on the rows that are predicted together."""
    model: Model


class HistogramSide(TypedDict):
    """Buckets of numbers of one sign."""

    offset: int
    """The first bucket holds magnitudes above base^offset and up to base^(offset + 1)."""
    counts: Counts
    """The first and the last are not 0; the list is empty if there are no such numbers."""


class Histogram(TypedDict):
    """An exponential histogram, whose base is 2^(2^-scale); edges are rounded by up to 0.2 %.

    All buckets of both signs lie within 80 of each other: the scale is the finest, up to 5, at which they do.
    """

    scale: int
    zero: Count
    """Zeros, and magnitudes of up to 2^-60."""
    positive: HistogramSide
    negative: HistogramSide
    infinite: Count
    """Infinite ones, and magnitudes from about 2^64 on."""


class NumberValues(TypedDict):
    """Statistics of a column of numbers."""

    kind: Literal["number"]
    rows: Count
    """Rows that were scored."""
    missing: Count
    """Rows whose value is missing."""
    sum: float | None
    """The sum of the finite values; None if a float cannot hold it."""
    sum_of_squares: float | None
    min: float | None
    """The smallest finite value, None if there is none."""
    max: float | None
    whole: bool
    """Whether all finite values are whole numbers."""
    whole_numbers: dict[str, Count] | None
    """Rows by number, if all are whole, none is infinite or beyond 128, and at most 64 are different; else None."""
    histogram: Histogram
    """Probabilities are rounded to a 65,000th for it."""
    percents: NotRequired[Counts]
    """Only for probabilities: 101 counts, of those that round to 0 %, 1 %, … 100 %; a half rounds to the even one."""


class TextValues(TypedDict):
    """Statistics of a column of texts."""

    kind: Literal["text"]
    rows: Count
    missing: Count
    hashed: Counts
    """64 counts, by the CRC-32 of the UTF-8 text modulo 64: they show drift, and no text."""


class ClassValues(TypedDict):
    """Statistics of predictions that are labels: a classifier's, or texts."""

    kind: Literal["class"]
    rows: Count
    missing: Count
    classes: dict[Name, Count]
    """Rows by label as it is printed, for the first 100 labels."""
    other_classes: Count
    """Rows with a label beyond these."""


Values = NumberValues | TextValues | ClassValues


class Statistics(TypedDict):
    """What the scored rows hold, by column; rejected rows are not counted."""

    predictions: dict[Name, NumberValues | ClassValues]
    predictions_left_out: Count
    features: dict[Name, NumberValues | TextValues]
    """The first 200."""
    features_left_out: Count
    rejected_reasons: dict[Name, Count]
    """Rows by reason, without row numbers or values; at most 50, the rest under `other`."""


class ReportStatistics(Statistics):
    """The statistics of all chunks of an output."""

    chunks: int
    """Chunks that are counted; those with malformed statistics are left out."""


class Receipt(TypedDict):
    """What one chunk did, written beside its part after it (`chunk-00042.json`)."""

    chunk_index: Count
    data_s3_uri: NotRequired[str]
    byte_range: NotRequired[ByteRange]
    row_groups: NotRequired[ByteRange]
    segments_s3_uri: NotRequired[str]
    """As in the chunk: either this, or the object and its share."""
    objects: Count
    """Objects that were read: 1, or the number of segments."""
    layout_sha256: str
    """The digest of the written header (input columns, prediction columns, line end): parts under one header have the same."""
    decision_sha256: str
    """As in the chunk."""
    rows_read: Count
    """Records that the splitter found."""
    rows_written: Count
    """Records with a prediction or, if it was rejected, an empty one."""
    rejected_rows: Count
    """Listed in `<part>.rejected.csv`, which exists if bad rows are quarantined."""
    rounded_integers: Count
    """Beyond 2^53, which the model got as the nearest float64."""
    input_bytes: Count
    """Bytes that were consumed, headers included."""
    data_sha256: str
    """The digest of what was read: each segment's object, bytes and ETag (`fingerprint.data_sha256_of`)."""
    output_s3_uri: str
    output_bytes: Count
    header_bytes: Count
    """The length of the part's header, its line end included."""
    output_etag: HeaderValue
    rejected_etag: str | None
    """The ETag of the list of rejected rows."""
    quote_parity: int
    """Number of quote characters that were read, modulo 2; 0 in every whole chunk."""
    started: Count
    """When the invocation began, in milliseconds since 1970, UTC."""
    milliseconds: dict[str, Milliseconds]
    """Time by stage; the stages overlap, `total` is the invocation's."""
    memory_mb: Annotated[int, lambda memory_mb: 0 < memory_mb <= 10**6] | None
    """The function's memory; None if it does not say."""
    model: Model
    statistics: NotRequired[object]
    """`Statistics`, only in S3 and not in what the function returns. Whatever stands there, it holds no output back."""


class KeptChunkSize(TypedDict):
    """The size of chunks that the planner has chosen for a request (`chunk-size.json`).

    The probe of the next execution may be faster or slower, but its chunks must be the same.
    """

    chunk_bytes: Annotated[int, lambda chunk_bytes: 0 < chunk_bytes <= 10**13]
    reason: Name


class OutputFound(TypedDict):
    """What was at the output's key while the run was planned."""

    etag: str
    is_result: bool
    """Whether it is this result, perhaps without its report; otherwise the request says that it may be overwritten."""


class Plan(TypedDict):
    """What Plan Chunks returns: pointers to the plan in S3, and its size."""

    bucket: str
    """The output's: the plan, parts and receipts live beside the output."""
    plan_key: str
    """All chunks."""
    pending_key: str
    """The chunks that this execution has to run, which the Distributed Map reads."""
    work_prefix: str
    """Ends in `/`."""
    map_run_prefix: str
    """Where the Distributed Map's ResultWriter writes; under the work prefix."""
    identity: str
    """SHA-256 of what decides the output: model, inputs, options, deployment. A published output carries it."""
    fingerprint: str
    """SHA-256 of the identity, the cuts and the decision: executions of one fingerprint share their work."""
    decision_sha256: str
    """The digest of `decision.json` in the work prefix."""
    agreed: Agreed
    boundaries: str
    """`guessed` from windows and proven by the chunks, or `exact`: found by counting every quote, or none was needed."""
    chunk_size_mb: float
    """Target bytes of input a chunk, in MB (10^6 bytes)."""
    chunk_size_reason: str
    """A sentence for people: the size, what a chunk takes, and why it is so."""
    chunks: int
    pending_chunks: int
    """Chunks without a valid receipt and part of an earlier execution of the same request."""
    tolerated_failure_percentage: float
    """A share of the pending chunks, which are all that the Map sees; the request's is of all chunks. 0 to 100."""
    input_format: InputFormat
    input_compression: list[str]
    """How objects are compressed, of those that were looked at: `gzip`, `zstd`."""
    objects: int
    input_bytes: int
    skipped_objects: int
    """Objects without rows: empty ones, folder markers and hidden files under a prefix, and those found to be only a header."""
    output_found: OutputFound | None
    """Publishing replaces this and nothing else; None if there was nothing."""
    estimate: NotRequired[Estimate]
    """Only a dry run has it."""


class Continuation(TypedDict):
    """What a function returns whose time ran out in good order: its state is entered again, and goes on from what is in S3."""

    done: int
    total: int


class Unfinished(TypedDict):
    """A result that is not there yet."""

    continuation: Continuation


class UploadRecord(TypedDict):
    """What a merge notes of its multipart upload (`upload.json` in the work prefix)."""

    parts_sha256: str
    """The digest of the parts that it is made of."""
    others: list[str]
    """Ids of the uploads of the same key that were there before it."""
    upload_id: NotRequired[HeaderValue]
    """Not there until S3 has answered with it."""


class Output(TypedDict):
    """What Merge Outputs returns, and the result of the execution."""

    output_s3_uri: str
    report_s3_uri: str
    etag: str
    bytes: Count
    rows: Count
    rejected_rows: Count
    rejected_s3_uri: str | None
    """The list of rejected rows; None unless bad rows are quarantined."""
    chunks: Count
    failed_chunks: Count
    complete: bool
    """False if tolerated chunks are missing from the output."""


class Failure(TypedDict):
    """What a Catch puts at `$.failure`."""

    Error: str
    Cause: str
    """A Lambda function's error is JSON with errorMessage, errorType and stackTrace; the engine's own is text."""


class ErrorRecord(TypedDict):
    """A chunk that was lost for good, as Record Failure writes it (`chunk-00042.error.json`)."""

    chunk_index: Count
    data_s3_uri: NotRequired[str]
    byte_range: NotRequired[ByteRange]
    row_groups: NotRequired[ByteRange]
    segments_s3_uri: NotRequired[str]
    """As in the chunk: either this, or the object and its share."""
    error: str
    message: str
    """What happened, and where."""
    advice: str | None
    """What to do about it."""
    execution_arn: str
    """Records of earlier executions of the same request stay: only this execution's count."""


class Explanation(TypedDict):
    """What Explain Failure returns; the Fail state ends the execution with it, unless the plan is the reason."""

    error: str
    message: str
    """What happened, and where."""
    advice: str | None
    """What to do about it; None if nobody knows."""
    cause: str
    """Both as one text for people: the cause of the Fail state, which has room for nothing else."""
    plan_exactly: bool
    """Whether the plan is the reason, by a guessed boundary or a column's type: the execution goes back to Plan Chunks, which then
    counts every quote. For a type, too: values between two wrong boundaries say nothing about it."""
    published: bool
    """Whether another execution of the same request has published meanwhile, and deleted the work under this one."""


class Document(TypedDict):
    """The execution's document, as the later states see it."""

    request: Request
    execution: Execution
    prediction: PredictionFields
    probe: ProbeEvent
    model: NotRequired[Probe]
    plan: NotRequired[Plan]
    """Or `Unfinished`, which no state but Plan Chunks itself sees."""
    output: NotRequired[Output]
    """Or `Unfinished`, which no state but Merge Outputs itself sees."""
    failure: NotRequired[Failure]
    explanation: NotRequired[Explanation]


class ChildFailure(TypedDict):
    """What Record Failure receives: the child's document."""

    event: ChunkEvent
    execution_arn: str
    """The parent execution."""
    failure: Failure
