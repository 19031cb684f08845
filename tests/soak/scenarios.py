"""Runs one workload, and says everything that is not as documented."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema

from soak.faults import rules_of
from soak.oracle import expected_output, output_problems, rejected_problems, without_chunks

REPORT_SCHEMA = json.loads((Path(__file__).parents[2] / "functions/workflow/report.schema.json").read_text())
FEW_ROWS_BYTES = 10_000
PASSING = "TransientS3Error"
SAME_REQUEST = "Start the same request again: it completes what is missing beside the output."
NO_PREDICTION = "could be predicted"
WITHOUT_CHUNKS = "set overwrite to true to replace it by the whole"


@dataclass
class Outcome:
    problems: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    """Uploads and objects of the work prefix that a published output has left behind."""
    counts: Counter[str] = field(default_factory=Counter)


class Run:
    def __init__(self, stack, proxy, workload):
        self.stack = stack
        self.proxy = proxy
        self.workload = workload
        self.outcome = Outcome()
        self.is_whole_without_report = False

    def __call__(self):
        """Run it under its faults, then without them until the output is whole, and leave nothing."""
        workload = self.workload
        try:
            self.prepare()
            if self.is_without_prediction():
                workload.errors.add("InvalidDataError")
            with self.faults():
                executions = self.execute(workload.at_once)
            if self.judge(executions) or self.finish():
                self.repeat()
                self.look_for_leftovers()
        finally:
            own_model = [f"models/{workload.name}.joblib"]
            self.stack.delete(f"data/{workload.name}/", f"output/{workload.name}/", *own_model)
        return self.outcome

    def prepare(self):
        workload = self.workload
        if workload.model_uri.endswith(f"{workload.name}.joblib"):
            self.stack.put(workload.model_uri, workload.estimator.content)
        for uri, content in [*workload.objects, *workload.others]:
            self.stack.put(uri, content)
        if workload.foreign is not None:
            self.stack.put(workload.output_uri, workload.foreign)

    def is_without_prediction(self):
        """Whether the model refuses every row of few: then a run fails also where it keeps bad rows in quarantine."""
        workload = self.workload
        if workload.request.get("on_bad_row") != "quarantine" or any(plant.column is None for plant in workload.plants):
            return False
        if sum(len(content) for _, content in workload.objects) > FEW_ROWS_BYTES:
            return False
        return all(expected_output(workload.objects, workload.request, workload.estimator).rejected)

    @contextmanager
    def faults(self):
        """Have this run's faults in force, and count them."""
        workload = self.workload
        rules = rules_of(workload.name, workload.faults, workload.name)
        with self.proxy.rules(*rules) as in_force:
            yield
        for one in in_force:
            self.outcome.counts.update({"faults": one.injected, f"faults: {one.rule.fault}": one.injected})

    def execute(self, requests):
        executions = self.stack.execute(requests)
        for execution in executions:
            chunks, retries = self.stack.history(execution)
            is_partial = execution.output and not execution.output["complete"]
            end = execution.error or f"{execution.status}{' without some chunks' if is_partial else ''}"
            self.outcome.counts.update({"executions": 1, f"executions: {end}": 1, "chunks": chunks, "retries": retries})
        return executions

    def problem(self, text):
        self.outcome.problems.append(text)

    # --- the execution under faults ---------------------------------------------------------------------------------------------

    def judge(self, executions):
        """Check how executions of the workload ended; return whether the whole output is there."""
        workload = self.workload
        allowed = set(workload.errors)
        if self.outcome.counts["faults"]:
            allowed.add(PASSING)
        if workload.rival:
            allowed.add("OutputExistsError")
        for execution in executions:
            if execution.output:
                if workload.errors and execution.output["complete"]:
                    self.problem(f"succeeded as a whole, though it should end as one of {sorted(workload.errors)}")
            elif execution.error in allowed:
                self.check_cause(execution)
            elif workload.twins > 1 and WITHOUT_CHUNKS in execution.cause:
                pass  # its twin has lost chunks, which was tolerated, and has published before it
            else:
                self.problem(f"ended as {execution.error}, not as one of {sorted(allowed) or 'success'}: {execution.cause}")
        winners = [pair for pair in zip(executions, workload.at_once, strict=True) if pair[0].output]
        if not winners:
            if self.stack.get(workload.output_uri) != workload.foreign:
                self.check_published_by_failure(executions)
            return False
        if workload.rival and len(winners) > 1:
            self.problem("two different requests have both published to one output")
        execution, request = winners[0]
        if any(other.output["etag"] != execution.output["etag"] for other, _ in winners):
            self.problem("executions of one request at once have different outputs")
        self.check_output(execution, request, workload.objects, allowed)
        return bool(execution.output["complete"]) and request is workload.request

    def check_published_by_failure(self, executions):
        """Check that an execution says so which has published, and has failed after that; and that what it calls whole is whole."""
        workload = self.workload
        if any(f"{workload.output_uri} is published and whole. {SAME_REQUEST}" in execution.cause for execution in executions):
            self.is_whole_without_report = True
            expected = expected_output(workload.objects, workload.request, workload.estimator)
            self.outcome.problems += output_problems(self.stack.get(workload.output_uri) or b"", expected)
        elif not any(f"{workload.output_uri} is published without the chunks" in execution.cause for execution in executions):
            causes = [execution.cause for execution in executions]
            self.problem(f"every execution failed, but something is published, of which no cause speaks: {causes}")

    def check_cause(self, execution):
        workload = self.workload
        if "stackTrace" in execution.cause or "Traceback" in execution.cause:
            self.problem(f"the cause shows a stack trace: {execution.cause}")
        if execution.error == "InvalidDataError" and NO_PREDICTION in execution.cause and self.is_without_prediction():
            return
        if execution.error == "InvalidDataError":
            plant = workload.plants[0]
            for wanted in (plant.uri, f"byte {plant.byte}", repr(plant.column or "")[1:-1]):
                if wanted not in execution.cause:
                    self.problem(f"the cause does not name {wanted}: {execution.cause}")
        elif execution.error == "OutputExistsError" and workload.output_uri not in execution.cause:
            self.problem(f"the cause does not name {workload.output_uri}: {execution.cause}")
        elif execution.error == "ModelError" and workload.estimator.sha256 not in execution.cause:
            self.problem(f"the cause does not name the model's own SHA-256: {execution.cause}")

    # --- without faults ---------------------------------------------------------------------------------------------------------

    def finish(self):
        """Correct what was planted, and run once more without faults: it must succeed, and be exact.

        Return whether there is an output; there is none of rows that the model refuses as they are.
        """
        workload = self.workload
        request = dict(workload.request)
        if request.get("model_sha256"):
            request["model_sha256"] = workload.estimator.sha256
        if self.stack.get(workload.output_uri) is not None and not self.is_whole_without_report:
            request["overwrite"] = True
        workload.request = request
        if workload.errors:
            workload.objects = workload.clean
            workload.plants = []
            for uri, content in workload.objects:
                self.stack.put(uri, content)
        if self.is_without_prediction():
            return False
        self.run_to_success()
        return True

    def run_to_success(self):
        (execution,) = self.execute([self.workload.request])
        if not execution.output:
            self.problem(f"without faults it ended as {execution.error}: {execution.cause}")
            return None
        self.check_output(execution, self.workload.request, self.workload.objects, set())
        if not execution.output["complete"]:
            self.problem("without faults it has lost chunks")
        return execution

    def repeat(self):
        """Run the request that has succeeded again: the same output, and no chunk is run."""
        for _ in range(self.workload.repeats):
            before = self.outcome.counts["chunks"]
            if self.run_to_success() and self.outcome.counts["chunks"] != before:
                self.problem(f"a repeat of a finished request has run {self.outcome.counts['chunks'] - before} chunks")

    def look_for_leftovers(self):
        """Count uploads, and work of the published output."""
        workload = self.workload
        if self.left_work() and self.outcome.counts["faults"] and not workload.request["keep_work"]:
            # Work that faults kept from being deleted is left to the bucket's lifecycle rule, or to the same request again.
            self.run_to_success()
        prefix = f"output/{workload.name}/"
        # What an execution has left that failed is taken up by the same request, which `finish` may have corrected to another.
        open_uploads = self.stack.uploads(prefix).keys() - self.stack.noted_uploads(prefix)
        self.outcome.leaks += [f"the upload {upload} is open" for upload in open_uploads]
        work = self.left_work()
        if workload.request["keep_work"] and not work:
            self.problem("keep_work has kept no work")
        elif not workload.request["keep_work"]:
            self.outcome.leaks += [f"{key} is there, of a published output" for key in work]

    def left_work(self):
        workload = self.workload
        report = json.loads(self.stack.get(f"{workload.output_uri}.report.json") or b"{}")
        identity = report.get("identity", "")[:32]
        return self.stack.keys(f"output/{workload.name}/out.csv.work/{identity}/")

    # --- what was published -----------------------------------------------------------------------------------------------------

    def check_output(self, execution, request, objects, lost_by):
        """Compare output, list of rejected rows and report with the oracle's; chunks may be lost by some errors."""
        output = execution.output
        report = json.loads(self.stack.get(output["report_s3_uri"]) or b"{}")
        problems = [f"report: {error.message}" for error in jsonschema.Draft202012Validator(REPORT_SCHEMA).iter_errors(report)]
        if not problems:
            lost, lost_problems = self.lost_ranges(report, objects, lost_by)
            remaining = without_chunks(objects, lost) if lost else list(objects)
            expected = expected_output(remaining, request, self.workload.estimator)
            content = self.stack.get(output["output_s3_uri"]) or b""
            problems += lost_problems + output_problems(content, expected)
            problems += self.report_problems(report, execution, content, objects, lost)
            counts = {"read": len(expected.records), "rejected": sum(expected.rejected)}
            counts["predicted"] = counts["read"] - counts["rejected"]
            if report["rows"] != counts:
                problems.append(f"report: rows are {report['rows']}, not {counts}")
            if request.get("on_bad_row") == "quarantine":
                columns = {(plant.uri, plant.byte): plant.column or "" for plant in self.workload.plants}
                listed = self.stack.get(output["rejected_s3_uri"]) or b""
                problems += rejected_problems(listed, expected, columns, complete=not lost)
            reused = report["chunks"]["reused"]
            self.outcome.counts.update({"rows": len(expected.records), "bytes": len(content), "chunks taken over": reused})
        self.outcome.problems += problems

    def lost_ranges(self, report, objects, lost_by):
        """Return the byte ranges that the report says are missing, and what is wrong about that."""
        ranges, problems = [], []
        sizes = {uri: len(content) for uri, content in objects}
        for chunk in report["failed_chunks"]:
            if chunk["error"] not in lost_by:
                problems.append(f"lost a chunk by {chunk['error']}: {chunk['message']}")
            if chunk["segments_s3_uri"]:
                segments = json.loads(self.stack.get(chunk["segments_s3_uri"]) or b"[]")
                ranges += [(segment["data_s3_uri"], 0, sizes[segment["data_s3_uri"]]) for segment in segments]
            else:
                ranges.append((chunk["data_s3_uri"], *chunk["byte_range"]))
        planned, failed = report["chunks"]["planned"], report["chunks"]["failed"]
        if failed * 100 > planned * self.workload.request.get("tolerated_failure_percentage", 0):
            problems.append(f"published without {failed} of {planned} chunks, more than are tolerated")
        return ranges, problems

    def report_problems(self, report, execution, content, objects, lost):
        workload = self.workload
        bucket, _, key = workload.output_uri.removeprefix("s3://").partition("/")
        head = self.stack.s3.head_object(Bucket=bucket, Key=key)
        read = sum(len(data) for _, data in objects)
        chunks = report["chunks"]
        facts = {
            "the execution's output": (report["output"], execution.output),
            "bytes": (report["bytes"], {"read": read - sum(stop - start for _, start, stop in lost), "written": len(content)}),
            "objects": (report["plan"]["objects"], len(objects)),
            "input_bytes": (report["plan"]["input_bytes"], read),
            "skipped_objects": (report["plan"]["skipped_objects"], workload.skipped),
            "chunks": (chunks["planned"], chunks["predicted"] + chunks["failed"]),
            "chunks of the output": (chunks["planned"], execution.output["chunks"]),
            "failed chunks": (len(report["failed_chunks"]), chunks["failed"]),
            "complete": (execution.output["complete"], not lost),
            "model": (report["model"]["sha256"], hashlib.sha256(workload.estimator.content).hexdigest()),
            "identity": (report["identity"], head["Metadata"].get("batch-predict-identity")),
            "etag": (execution.output["etag"], head["ETag"]),
        }
        return [f"report: {name} {found!r}, not {wanted!r}" for name, (found, wanted) in facts.items() if found != wanted]
