"""What the rewriting for Step Functions Local changes, and that it changes nothing else."""

import json
from pathlib import Path

import pytest
from engines import REWRITTEN_FOR

from tools import stepfunctions_local
from tools.stepfunctions_local import REWRITINGS, rewritten, text_of

ROOT = Path(__file__).parents[2]
GOLDEN = {
    (): "inline.asl.json",
    ("--legacy",): "legacy.asl.json",
    ("--legacy", "--before-2023-09"): "legacy_before_2023_09.asl.json",
}
MAP = ("States", "Predict Chunks")


@pytest.fixture(scope="module")
def definition():
    return json.loads((ROOT / "statemachine/batch_prediction.asl.json").read_text())


def leaves(value, path=()):
    """Yield (path, value) of everything that is no object and no list."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    else:
        yield path, value


def changes(before, after):
    """What is gone, and what is new."""
    before, after = dict(leaves(before)), dict(leaves(after))
    gone = {path for path, value in before.items() if after.get(path, path) != value}
    return gone, {path: value for path, value in after.items() if before.get(path, path) != value}


def under_map(*fields):
    return {(*MAP, *field.split(".")) if isinstance(field, str) else (*MAP, *field) for field in fields}


GONE = under_map(
    "Label",
    "ItemReader.Resource",
    "ItemReader.ReaderConfig.InputType",
    ("ItemReader", "Parameters", "Bucket.$"),
    ("ItemReader", "Parameters", "Key.$"),
    "MaxConcurrencyPath",
    "ToleratedFailurePercentagePath",
    "ItemProcessor.ProcessorConfig.Mode",
    "ItemProcessor.ProcessorConfig.ExecutionType",
    "ResultWriter.Resource",
    ("ResultWriter", "Parameters", "Bucket.$"),
    ("ResultWriter", "Parameters", "Prefix.$"),
)


def test_the_distributed_map_becomes_an_inline_one_and_nothing_else_changes(definition):
    gone, new = changes(definition, rewritten(definition))
    assert gone == GONE
    assert new == {
        (*MAP, "ItemsPath"): "$.plan.items",
        (*MAP, "MaxConcurrency"): 2,
        (*MAP, "ItemProcessor", "ProcessorConfig", "Mode"): "INLINE",
    }


def test_legacy_also_has_the_fields_older_names_and_nothing_else_changes(definition):
    inline, legacy = rewritten(definition), rewritten(definition, "--legacy")
    state = legacy["States"]["Predict Chunks"]
    back = {{"Iterator": "ItemProcessor", "Parameters": "ItemSelector"}.get(name, name): value for name, value in state.items()}
    back["ItemProcessor"] = {"ProcessorConfig": {"Mode": "INLINE"}, **back["ItemProcessor"]}
    assert {"Iterator", "Parameters"} < state.keys()
    assert {**legacy, "States": {**legacy["States"], "Predict Chunks": back}} == inline


def test_engines_before_september_2023_are_spared_four_fields_and_nothing_else_changes(definition):
    legacy = rewritten(definition, "--legacy")
    gone, new = changes(legacy, rewritten(definition, "--legacy", "--before-2023-09"))
    assert new == {path: {} for path in new}
    newer = {"ErrorPath", "CausePath", "MaxDelaySeconds", "JitterStrategy"}
    assert gone == {path for path, _ in leaves(legacy) if path[-1] in newer}
    assert {path[-1] for path in gone} == newer


def test_order_of_fields_stays(definition):
    inline = rewritten(definition)
    for name, state in definition["States"].items():
        kept = [field for field in state if field in inline["States"][name]]
        assert [field for field in inline["States"][name] if field in kept] == kept, name
    assert list(inline["States"]) == list(definition["States"])


@pytest.mark.parametrize("options", GOLDEN, ids=lambda options: " ".join(options) or "no option")
def test_golden_files_are_what_the_command_prints(options, capsys):
    golden = (ROOT / "tests/stepfunctions_local/golden" / GOLDEN[options]).read_text()
    assert stepfunctions_local.main(list(options)) == 0
    assert capsys.readouterr().out == golden, f"python -m tools.stepfunctions_local {' '.join(options)} prints something else"


def test_golden_files_are_of_what_is_tried_on_an_engine(definition):
    assert set(GOLDEN) == set(REWRITTEN_FOR)
    assert text_of(rewritten(definition)).startswith('{\n  "Comment"')


def test_the_documented_table_is_the_codes():
    lines = ["| state | field | becomes | option | because |", "|---|---|---|---|---|"]
    for done in REWRITINGS:
        option = f"`{done.option}`" if done.option else ""
        lines.append(f"| {done.state_type} | {done.fields} | {done.becomes} | {option} | {done.reason} |")
    table = "\n".join(lines)
    assert table in (ROOT / "docs/definition.md").read_text(), f"docs/definition.md must hold:\n{table}"


@pytest.mark.parametrize("content", [None, "{", "[]", '{"States": 1}', '{"StartAt": "A"}'])
def test_what_is_no_definition_is_said(content, tmp_path, capsys):
    file = tmp_path / "definition.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SystemExit) as exited:
        stepfunctions_local.main([str(file)])
    assert exited.value.code == 2
    assert "tools.check_definition says" in capsys.readouterr().err
