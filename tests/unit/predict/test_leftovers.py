"""What a killed process has left in the temporary directory is deleted by the next one."""

import os
import subprocess
import sys
import tempfile

import prediction_handler as handler


def test_directories_of_dead_processes_go_and_those_of_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    # On AWS a function that is started anew may well get the id of the one before.
    dead, reborn = tmp_path / f"predict-{ended.pid}-x", tmp_path / f"predict-{os.getpid()}-y"
    alive, foreign = tmp_path / f"predict-{os.getppid()}-z", tmp_path / "predict-of-somebody-else"
    for directory in (dead, reborn, alive, foreign):
        directory.mkdir()
        (directory / "part.csv").write_text("half")

    handler._remove_leftovers.cache_clear()
    with handler._temporary_directory() as own:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, foreign.name, own.rpartition("/")[2]])
    with handler._temporary_directory() as first, handler._temporary_directory() as second:
        assert first != second, "a process keeps its own hands off what it is using"
        assert len(list(tmp_path.glob(f"predict-{os.getpid()}-*"))) == 2
