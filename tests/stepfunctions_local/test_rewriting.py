"""What the rewriting for Step Functions Local changes, and how Docker is told to start it."""

import json
import platform
from contextlib import suppress

import pytest
from engines import container, docker

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


@pytest.mark.parametrize(
    ("system", "network", "host"),
    [("Linux", "--network host", "127.0.0.1"), ("Darwin", "--publish 127.0.0.1:8083:8083", "host.docker.internal")],
)
def test_the_container_reaches_the_functions_and_is_stopped(tmp_path, monkeypatch, system, network, host):
    """By a `docker` that starts nothing and writes down its commands."""
    path, commands = tmp_path / "docker", tmp_path / "commands"
    path.write_text(f'#!/bin/sh\necho "$*" >> {commands}\n[ "$1" != run ] || echo cafe\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(platform, "system", lambda: system)
    assert docker() == str(path)
    with suppress(ZeroDivisionError), container(str(path), "image:1", "http://127.0.0.1:4567", "kept") as endpoint:
        assert endpoint == "http://127.0.0.1:8083"
        raise ZeroDivisionError
    asked, started, stopped = commands.read_text().splitlines()
    assert asked == "info"
    assert started.startswith(f"run --rm --detach {network} --env=LAMBDA_ENDPOINT=http://{host}:4567 ")
    assert "--env=AWS_SECRET_ACCESS_KEY " in started
    assert "kept" not in started
    assert stopped == "stop cafe"
