"""Generates build/template.image.yaml from template.yaml: the same stack, with the prediction function as a container image.

make image-template
sam build --template build/template.image.yaml        (needs Docker)
sam deploy --template .aws-sam/build/template.yaml --resolve-image-repos ...
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from batch_predict.setup.package import PREDICT_FUNCTION
from batch_predict.setup.target import ROOT

OUTPUT = ROOT / "build/template.image.yaml"
PATHS = ("CodeUri", "DefinitionUri", "ContextPath", "WorkingDirectory")

JsonObject = dict[str, Any]


def image_template(template: JsonObject, up: PurePosixPath) -> JsonObject:
    """Change the template, and return it, with the prediction function as an image; `up` leads from its new folder to the old one.

    What differs, and nothing else: the prediction function's package type; the runtime, which a template with an image cannot have
    in its Globals and which therefore stands in each other function; and relative paths.
    """
    runtime = template["Globals"]["Function"].pop("Runtime")
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if name == PREDICT_FUNCTION:
            context = str(up / properties.pop("CodeUri"))
            properties |= {"PackageType": "Image", "ImageConfig": {"Command": [properties.pop("Handler")]}}
            resource["Metadata"] = {"Dockerfile": "Dockerfile", "DockerContext": context, "DockerTag": "batch-predict"}
        elif resource["Type"] == "AWS::Serverless::Function":
            properties["Runtime"] = runtime
        for fields in (properties, resource.get("Metadata", {})):
            fields |= {path: str(up / fields[path]) for path in PATHS if isinstance(fields.get(path), str)}
    return template


def write(output: Path = OUTPUT) -> Path:
    """Generate the file, and return its path."""
    template = image_template(yaml_parse((ROOT / "template.yaml").read_text()), PurePosixPath(".."))
    # As JSON, equal parts are written each time, without YAML's references, which SAM would take.
    text = yaml.safe_dump(json.loads(json.dumps(template)), sort_keys=False, width=132, allow_unicode=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f"# Generated from template.yaml by `make image-template`: edit that.\n{text}")
    return output


if __name__ == "__main__":
    print(write().relative_to(ROOT))
