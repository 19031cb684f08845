"""What the rewriting for Step Functions Local changes."""

import json

import pytest

from tools import stepfunctions_local
from tools.stepfunctions_local import ROOT

GONE = {"Label", "ItemReader", "ResultWriter", "MaxConcurrencyPath", "ToleratedFailurePercentagePath"}


def test_the_distributed_map_becomes_an_inline_one_and_nothing_else_changes(capsys):
    before = json.loads((ROOT / "statemachine/batch_prediction.asl.json").read_text())
    assert stepfunctions_local.main([]) == 0
    after = json.loads(capsys.readouterr().out)

    distributed, inline = (machine["States"].pop("Predict Chunks") for machine in (before, after))
    assert before == after
    assert distributed.keys() - inline.keys() == GONE
    assert (inline.pop("ItemsPath"), inline.pop("MaxConcurrency")) == ("$.plan.items", 2)
    assert inline["ItemProcessor"].pop("ProcessorConfig") == {"Mode": "INLINE"}
    del distributed["ItemProcessor"]["ProcessorConfig"]
    assert inline == {field: value for field, value in distributed.items() if field not in GONE}


def test_what_is_no_definition_is_said(tmp_path, capsys):
    file = tmp_path / "definition.json"
    file.write_text("[]")
    with pytest.raises(SystemExit):
        stepfunctions_local.main([str(file)])
    assert "tools.check_definition says" in capsys.readouterr().err
