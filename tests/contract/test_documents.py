"""The documents that pass between the states, held against those who write and read them."""

import json
import re
import typing

import prediction_handler
from workflow import column_types, contract


def fields(document):
    return set(typing.get_type_hints(document))


def test_the_request_has_the_fields_of_its_schema(schema):
    assert fields(contract.WholeRequest) == set(schema["properties"])
    assert fields(contract.WholeRequest) - fields(contract.Request) == fields(contract.StatedColumns)


def test_a_chunk_and_the_requests_share_make_a_prediction_event():
    known = set(prediction_handler._EVENT_FIELDS)
    assert fields(contract.Chunk) | fields(contract.PredictionFields) <= known
    assert fields(contract.ProbeEvent) <= known
    by_hand = {"segments"}  # the planner writes them to S3, because state has a limit
    shares = (contract.Chunk, contract.PredictionFields, contract.Agreed, contract.ProbeEvent)
    assert known - by_hand == set().union(*map(fields, shares))


def test_prediction_methods_are_the_schemas(schema):
    assert list(prediction_handler.PREDICTION_METHODS) == schema["properties"]["prediction_method"]["enum"]


def test_what_is_asked_of_a_classifier_is_the_schemas(schema):
    item = schema["properties"]["predictions"]["items"]
    words = (prediction_handler.LABEL, prediction_handler.PROBABILITY, prediction_handler.PROBABILITIES)
    assert item["pattern"] == f"^({'|'.join(words)})$"
    assert {*words, *item["properties"]} == set(prediction_handler._ASKED)
    assert item["properties"]["top_k"]["maximum"] == prediction_handler.MAX_TOP_K


def test_kinds_of_columns_are_the_schemas(schema, root):
    assert list(column_types.STATED_KINDS) == schema["properties"]["column_types"]["additionalProperties"]["enum"]
    report = json.loads((root / "functions/workflow/report.schema.json").read_text())
    assert list(column_types.KINDS) == report["properties"]["column_types"]["additionalProperties"]["enum"]


def test_what_the_states_read_of_the_document_is_in_it(root):
    text = (root / "statemachine/batch_prediction.asl.json").read_text()
    for first, second in re.findall(r"\$\.(request|execution|plan|output|explanation)\.(\w+)", text):
        known = {
            "request": fields(contract.Request),
            "execution": fields(contract.Execution),
            "plan": fields(contract.Plan) | fields(contract.Unfinished),
            "output": fields(contract.Output) | fields(contract.Unfinished),
            "explanation": fields(contract.Explanation),
        }[first]
        assert second in known, f"$.{first}.{second}"
