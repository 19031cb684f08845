"""What is known of a run that has no report: from its history, its plan and the receipts of the chunks that are done."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from batch_predict import deployed
from batch_predict.errors import BatchPredictError
from batch_predict.runs.run import READERS, Run


def so_far(run: Run) -> dict[str, Any]:
    """Return what is known of a run as the fields of a report; nothing if it ended before it knew its model.

    `chunks.failed` counts the error records that this run has left.
    """
    document = run.document()
    if "model" not in document:
        return {}
    probe = document["model"]
    known = {"model": probe["model"], "warnings": probe["warnings"]}
    try:
        facts = _facts(document, _with_receipts(run, document["plan"], run.chunks()))
    except (BatchPredictError, AttributeError, KeyError, TypeError, ValueError):  # there is no plan, or something else in its place
        return known
    decision = run.read_json(f"s3://{document['plan']['bucket']}/{document['plan']['work_prefix']}decision.json")
    decided = decision.get("column_types") if isinstance(decision, dict) else None
    types = {"column_types": decided} if isinstance(decided, dict) else {}
    return known | types | facts | {"chunks": facts["chunks"] | {"failed": len(run.lost_chunks())}}


def _facts(document: Any, chunks: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    """Return what the receipts say, in the shape of a report.

    Anything that is not the receipt of its chunk is passed over, as a merge would refuse it.
    """
    counted, account = deployed.distributions.StatisticsSum(), deployed.accounting.Account([], [])
    for chunk, receipt in chunks:
        try:
            start, stop = chunk.get("byte_range") or (0, receipt["input_bytes"])
            expected = deployed.accounting.PlannedChunk(chunk, receipt["objects"], stop - start, receipt.get("data_sha256"))
            deployed.accounting.require_agreement(expected, receipt, document["model"]["model"])
        except (ValueError, TypeError, KeyError, deployed.errors.IncompleteOutputError):
            account.missing.append(chunk)
            continue
        counted.add(receipt.pop("statistics", None))
        account.done.append(deployed.accounting.Done(chunk, receipt))
    return deployed.report.facts_of_chunks(document, account, counted.result())


def _with_receipts(
    run: Run, plan: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield the plan's chunks, each with what stands in the place of its receipt, or None; a few are read at once."""
    there = set(run.work_uris(plan))

    def read(chunk: Mapping[str, Any]) -> Any:
        return run.read_json(chunk["receipt_s3_uri"]) if chunk["receipt_s3_uri"] in there else None

    with ThreadPoolExecutor(READERS) as pool:
        for begin in range(0, len(chunks), 4 * READERS):
            some = chunks[begin : begin + 4 * READERS]
            yield from zip(some, pool.map(read, some), strict=True)
