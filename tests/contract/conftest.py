"""The files that must agree, read once."""

import json
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def template():
    return yaml_parse((ROOT / "template.yaml").read_text())


@pytest.fixture(scope="session")
def definition():
    return json.loads((ROOT / "statemachine/batch_prediction.asl.json").read_text())


@pytest.fixture(scope="session")
def states(definition):
    """Every state by name, those of the Map's children too."""
    children = definition["States"]["Predict Chunks"]["ItemProcessor"]["States"]
    return {**definition["States"], **children}


@pytest.fixture(scope="session")
def schema():
    return json.loads((ROOT / "functions/workflow/request.schema.json").read_text())
