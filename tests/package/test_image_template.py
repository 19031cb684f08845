"""The image's template is the template, but for what an image needs; what the Dockerfile copies is there."""

import re

import pytest
from samtranslator.yaml_helper import yaml_parse

from tools import image_template


@pytest.fixture(scope="module")
def template(root):
    return yaml_parse((root / "template.yaml").read_text())


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return yaml_parse(image_template.write(tmp_path_factory.mktemp("build") / "template.image.yaml").read_text())


def differences(old, new, path=""):
    if isinstance(old, dict) and isinstance(new, dict):
        return {found for name in {*old, *new} for found in differences(old.get(name), new.get(name), f"{path}.{name}")}
    return set() if old == new else {path.removeprefix(".")}


def test_nothing_differs_but_what_an_image_needs(template, image):
    functions = [name for name, resource in template["Resources"].items() if resource["Type"] == "AWS::Serverless::Function"]
    both = ["Metadata.ContextPath", "Metadata.WorkingDirectory", "Properties.CodeUri"]
    of_zips = [*both, "Properties.Runtime"]
    of_images = [f"Metadata.{name}" for name in ("BuildMethod", "Dockerfile", "DockerContext", "DockerTag")]
    of_images += [*both, "Properties.Handler", "Properties.ImageConfig", "Properties.PackageType"]
    expected = {"Globals.Function.Runtime", "Resources.StateMachine.Properties.DefinitionUri"}
    for name in functions:
        expected |= {f"Resources.{name}.{place}" for place in (of_images if name == "PredictChunkFunction" else of_zips)}
    assert differences(template, image) == expected
    command = [template["Resources"]["PredictChunkFunction"]["Properties"]["Handler"]]
    assert image["Resources"]["PredictChunkFunction"]["Properties"]["ImageConfig"] == {"Command": command}
    runtimes = {image["Resources"][name]["Properties"].get("Runtime") for name in functions}
    assert runtimes == {template["Globals"]["Function"]["Runtime"], None}


def test_its_paths_lead_from_its_folder_to_files(root, image):
    folder = image_template.OUTPUT.parent
    assert folder.parent == root
    for name, resource in image["Resources"].items():
        paths = [resource.get("Metadata", {}).get(key) for key in ("ContextPath", "WorkingDirectory", "DockerContext")]
        paths += [resource.get("Properties", {}).get(key) for key in ("CodeUri", "DefinitionUri")]
        assert all((folder.parent / path.removeprefix("../").removeprefix("..")).exists() for path in paths if path), name
    assert (root / "functions/predict" / image["Resources"]["PredictChunkFunction"]["Metadata"]["Dockerfile"]).is_file()


def test_the_dockerfile_is_of_the_templates_python_and_copies_files_that_are_there(root, template):
    lines = (root / "functions/predict/Dockerfile").read_text().splitlines()
    python = template["Globals"]["Function"]["Runtime"].removeprefix("python")
    assert [line for line in lines if line.startswith("FROM ")] == [f"FROM public.ecr.aws/lambda/python:{python}"]
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert {"requirements-image.txt", "prediction_handler.py"} <= set(copied)
    assert all((root / "functions/predict" / name).is_file() for name in copied)
    included = re.findall(r"^-r (\S+)$", (root / "functions/predict/requirements-image.txt").read_text(), re.MULTILINE)
    assert included == ["requirements.txt", "requirements-carried.txt"]
    assert set(included) <= set(copied)
    handler = template["Resources"]["PredictChunkFunction"]["Properties"]["Handler"]
    assert f'CMD ["{handler}"]' in lines
