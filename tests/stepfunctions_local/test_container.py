"""How Step Functions Local is started by Docker, as far as that can be told without Docker: by a command that writes down."""

import platform
from contextlib import suppress

import pytest
from engines import container, docker


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    """A docker that starts nothing; returns its path and the commands that it was given."""
    path, log = tmp_path / "docker", tmp_path / "commands"
    path.write_text(f'#!/bin/sh\necho "$*" >> {log}\n[ "$1" != run ] || echo cafe\n')
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return str(path), lambda: log.read_text().splitlines()


@pytest.mark.parametrize(
    ("system", "network", "host"),
    [
        ("Linux", "--network host", "127.0.0.1"),
        ("Darwin", "--publish 127.0.0.1:8083:8083", "host.docker.internal"),
    ],
)
def test_the_container_reaches_the_functions_and_is_stopped(recorder, monkeypatch, system, network, host):
    monkeypatch.setattr(platform, "system", lambda: system)
    command, commands = recorder
    with suppress(ZeroDivisionError), container(command, "image:1", "http://127.0.0.1:4567", "kept") as endpoint:
        assert endpoint == "http://127.0.0.1:8083"
        raise ZeroDivisionError
    started, stopped = commands()
    assert started.startswith(f"run --rm --detach {network} --env LAMBDA_ENDPOINT=http://{host}:4567 ")
    assert started.endswith(" --env AWS_SECRET_ACCESS_KEY image:1")
    assert "kept" not in started
    assert stopped == "stop cafe"


def test_only_a_docker_that_runs_is_used(recorder, tmp_path):
    command, commands = recorder
    assert docker() == command
    assert commands() == ["info"]
    (tmp_path / "docker").write_text("#!/bin/sh\nexit 1\n")
    assert docker() is None
