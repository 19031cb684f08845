"""What `batch-predict deploy` builds, and `sam build` in a folder that `batch-predict eject` has written."""

import os
import subprocess
import sys
import zipfile

import pytest
from samtranslator.yaml_helper import yaml_parse

from batch_predict.setup import package, stack_files, target


@pytest.mark.thorough
def test_all_that_the_built_template_names_is_there(root, tmp_path):
    said = []
    template = stack_files.build(tmp_path, said.append)

    built, source = yaml_parse(template.read_text()), yaml_parse((root / "template.yaml").read_text())
    for name, resource in source["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            assert resource.pop("Metadata") == {"BuildMethod": "makefile", "ContextPath": ".", "WorkingDirectory": "."}
            path = template.parent / built["Resources"][name]["Properties"]["CodeUri"]
            with zipfile.ZipFile(path) as archive:
                for file, content in package.function_files(root / properties["CodeUri"], properties["Handler"]).items():
                    assert archive.read(file) == content
                assert any(file.startswith("numpy/__init__.py") for file in archive.namelist()) == (
                    name == package.PREDICT_FUNCTION
                )
            properties["CodeUri"] = path.name
        elif resource["Type"] == "AWS::Serverless::StateMachine":
            definition = template.parent / properties["DefinitionUri"]
            assert definition.read_bytes() == (root / properties["DefinitionUri"]).read_bytes()
    assert built == source  # but for what is built
    assert template.relative_to(tmp_path) == stack_files.BUILT / "template.yaml"
    assert any(target.template_target().name in line for line in said)


@pytest.mark.thorough
def test_an_ejected_folder_builds_the_same_package(tmp_path):
    """Its own lock, requirements and builder have the same hash, so that it takes what is in `build/`: else it took a minute."""
    stack_files.eject(tmp_path / "there")
    libraries, own, _ = package.build_predict(target.template_target(), say=lambda _: None)
    (tmp_path / "there/build").symlink_to(package.BUILD)
    kept = sorted(package.BUILD.glob("package/*"))
    environment = {**os.environ, "ARTIFACTS_DIR": str(tmp_path / "made"), "PYTHON": sys.executable}
    environment.pop("PYTHONPATH", None)

    subprocess.run(["make", "build-PredictChunkFunction"], check=True, cwd=tmp_path / "there", env=environment, capture_output=True)

    expected = {path.relative_to(libraries).as_posix(): path.stat().st_size for path in libraries.rglob("*") if path.is_file()}
    expected |= {name: len(content) for name, content in own.items()}
    made = tmp_path / "made"
    assert {path.relative_to(made).as_posix(): path.stat().st_size for path in made.rglob("*") if path.is_file()} == expected
    assert sorted(package.BUILD.glob("package/*")) == kept
