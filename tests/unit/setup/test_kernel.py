"""The kernel's library for this machine: compiled once, whole or not at all, and done without where it cannot be."""

import logging
import shutil

import pytest

from batch_predict.setup import kernel
from batch_predict.setup.target import PackageError


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A source in a folder that a test may change."""
    path = tmp_path / "sources/packed_trees.c"
    path.parent.mkdir()
    for source in kernel.sources():
        shutil.copy(source, path.parent)
    monkeypatch.setattr(kernel, "FOLDER", path.parent)
    return path


@pytest.fixture
def compilations(monkeypatch):
    """The paths that are compiled, one after the other."""
    done, own = [], kernel._compile
    monkeypatch.setattr(kernel, "_compile", lambda compiler, path, *more: (done.append(path), own(compiler, path, *more)))
    return done


def test_it_is_compiled_once_and_again_if_the_source_changes(tmp_path, source, compilations):
    first = kernel.local_kernel(tmp_path / "cache")
    assert kernel.local_kernel(tmp_path / "cache") == first
    assert compilations == [first]
    assert first.read_bytes()[:4] in (b"\x7fELF", b"\xcf\xfa\xed\xfe")
    source.write_text(source.read_text() + "\n/* changed */\n")
    assert kernel.local_kernel(tmp_path / "cache") != first
    assert len(compilations) == 2
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".so", ".so"]  # and nothing half done


@pytest.mark.parametrize("mistake", ["int broken(", "static int unused(void) { return 1; }"], ids=["an error", "a warning"])
def test_what_does_not_compile_is_done_without_and_said(tmp_path, source, caplog, mistake):
    source.write_text(source.read_text() + mistake)
    with caplog.at_level(logging.INFO):
        assert kernel.local_kernel(tmp_path / "cache") is None
    assert "the kernel cannot be compiled: scikit-learn scores trees and pyarrow reads numbers" in caplog.text
    assert not list((tmp_path / "cache").glob("*"))


def test_without_a_compiler_it_is_done_without_and_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(kernel, "_local_compiler", lambda: None)
    with caplog.at_level(logging.INFO):
        assert kernel.local_kernel(tmp_path) is None
    assert "no C compiler here" in caplog.text


def test_the_packages_library_is_used_if_it_is_there(tmp_path, compilations, monkeypatch):
    monkeypatch.setattr(kernel.target, "host_architecture", lambda: "x86_64")
    monkeypatch.setattr(kernel.platform, "libc_ver", lambda: ("glibc", "2.36"))
    packaged = kernel._lambda_library("x86_64", tmp_path)
    packaged.write_bytes(b"packaged")
    assert kernel.local_kernel(tmp_path) == packaged
    assert not compilations


def test_a_build_without_the_compiler_fails_and_says_why(tmp_path, monkeypatch):
    (tmp_path / "lock").write_text("ziglang==0.0.1 --hash=sha256:" + "0" * 64)
    monkeypatch.setattr(kernel, "LOCK", tmp_path / "lock")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(PackageError, match="pip could not get the compiler that lock names"):
        kernel.lambda_kernel("arm64", tmp_path / "cache")
