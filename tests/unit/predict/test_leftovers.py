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


def test_bundles_that_nobody_uses_go_and_what_is_no_bundle_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    used, unused, cut_short = (tmp_path / f"batch-predict-bundle-{letter * 16}" for letter in "abc")
    lock = handler._make_shared(used, lambda folder: (folder / "model").touch())
    handler._make_shared(unused, lambda folder: (folder / "model").touch()).close()
    cut_short.with_suffix(".partial").mkdir()
    cut_short.with_suffix(".lock").touch()
    foreign = [tmp_path / "bundle-x.lock", tmp_path / "batch-predict-bundle-notes.lock"]
    for file in foreign:
        file.write_text("somebody's")
        file.with_suffix("").mkdir()

    handler._remove_leftovers.cache_clear()
    handler._remove_leftovers()
    left = {used, used.with_suffix(".lock"), *foreign, *(file.with_suffix("") for file in foreign)}
    assert set(tmp_path.iterdir()) == left
    assert [file.read_text() for file in foreign] == ["somebody's"] * 2
    lock.close()
    handler._remove_leftovers.cache_clear()
    handler._remove_leftovers()
    assert set(tmp_path.iterdir()) == left - {used, used.with_suffix(".lock")}
