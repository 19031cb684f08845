"""Generates build/template.image.yaml from template.yaml: the same stack, with the prediction function as a container image.

make image-template
sam build --template build/template.image.yaml        (needs Docker)
sam deploy --template .aws-sam/build/template.yaml --resolve-image-repos ...
"""

from __future__ import annotations

import copy
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from batch_predict.setup.package import PREDICT_FUNCTION
from batch_predict.setup.target import ROOT

OUTPUT = ROOT / "build/template.image.yaml"
ZIP_ONLY = ("CodeUri", "Handler", "Runtime")
"""Properties that a function with an image must not have: its Dockerfile says them."""
PATHS = ("CodeUri", "DefinitionUri")
METADATA_PATHS = ("ContextPath", "WorkingDirectory")

JsonObject = dict[str, Any]


def image_template(template: JsonObject, *, up: str = "..") -> JsonObject:
    """Return the template with the prediction function as an image; ``up`` leads from the result's folder to the template's.

    What differs, and nothing else: the prediction function's package type; the runtime, which a template with an image cannot have
    in its Globals and which therefore stands in each other function; and relative paths.
    """
    changed = copy.deepcopy(template)
    runtime = changed["Globals"]["Function"].pop("Runtime")
    for name, resource in changed["Resources"].items():
        properties = resource.get("Properties", {})
        if name == PREDICT_FUNCTION:
            context = properties["CodeUri"]
            for zip_only in ZIP_ONLY:
                properties.pop(zip_only, None)
            properties["PackageType"] = "Image"
            properties["ImageConfig"] = {"Command": [template["Resources"][name]["Properties"]["Handler"]]}
            resource["Metadata"] = {"Dockerfile": "Dockerfile", "DockerContext": _moved(context, up), "DockerTag": "batch-predict"}
            continue
        if resource["Type"] == "AWS::Serverless::Function":
            properties["Runtime"] = runtime
        for path in PATHS:
            if isinstance(properties.get(path), str):
                properties[path] = _moved(properties[path], up)
        for path in METADATA_PATHS:
            if path in resource.get("Metadata", {}):
                resource["Metadata"][path] = _moved(resource["Metadata"][path], up)
    return changed


def _moved(path: str, up: str) -> str:
    return str(PurePosixPath(up) / path)


class _Dumper(yaml.SafeDumper):
    """Writes equal parts each time, without YAML's references, which SAM would take."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def write(output: Path = OUTPUT) -> Path:
    """Generate the file, and return its path."""
    template = yaml_parse((ROOT / "template.yaml").read_text())
    text = yaml.dump(image_template(template), Dumper=_Dumper, sort_keys=False, width=132, allow_unicode=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f"# Generated from template.yaml by `make image-template`: edit that.\n{text}")
    return output


if __name__ == "__main__":
    print(write().relative_to(ROOT))
