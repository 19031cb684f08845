"""A library that lacks something on Lambda is found at build, whatever this machine has."""

import shutil
import zipfile

import pytest

from batch_predict.setup.amazon_linux import check_links
from batch_predict.setup.target import PackageError


@pytest.fixture
def lightgbm(built, tmp_path):
    """LightGBM as the handler unpacks it, and a package that has nothing but the library that LightGBM does not bring."""
    _, libraries, _ = built
    package, carried = tmp_path / "package", tmp_path / "carried"
    shutil.copytree(libraries / "lib", package / "lib")
    with zipfile.ZipFile(libraries / "carried/lightgbm.zip") as archive:
        archive.extractall(carried)
    return package, carried


def edit(directory, name, old, new):
    """Put other words in a library's strings, of the same length."""
    [path] = directory.rglob(name)
    content = path.read_bytes()
    assert len(old) == len(new)
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new))


def test_openmp_is_what_lightgbm_lacks(lightgbm):
    package, carried = lightgbm
    check_links(package, [carried])
    (package / "lib/libgomp.so.1").unlink()
    with pytest.raises(
        PackageError, match=r"^lib_lightgbm\.so needs libgomp\.so\.1, which neither the package nor Lambda's Amazon "
    ):
        check_links(package, [carried])


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"\0GLIBC_2.17\0", b"\0GLIBC_2.34\0", None),
        (b"\0GLIBC_2.17\0", b"\0GLIBC_2.35\0", r"needs GLIBC_2\.35 of lib\S+, which Amazon Linux 2023's does not have"),
        (b"\0GLIBCXX_3.4.19\0", b"\0GLIBCXX_3.4.29\0", None),
        (b"\0GLIBCXX_3.4.19\0", b"\0GLIBCXX_3.4.30\0", r"needs GLIBCXX_3\.4\.30 of libstdc\+\+\.so\.6, which Amazon Linux"),
        (b"\0CXXABI_1.3.7\0", b"\0CXXABI_1.4.7\0", r"needs CXXABI_1\.4\.7 of libstdc"),
        (b"\0GLIBC_2.17\0", b"\0GLIBC_PRIV\0", r"needs GLIBC_PRIV of "),
        (b"\0GOMP_4.5\0", b"\0GOMP_9.5\0", r"needs GOMP_9\.5 of libgomp\.so\.1, which the package's does not have"),
        (b"\0libdl.so.2\0", b"\0libdl.so.9\0", r"needs libdl\.so\.9, which neither"),
    ],
)
def test_a_version_that_is_too_new_fails(lightgbm, old, new, problem):
    package, carried = lightgbm
    edit(carried, "lib_lightgbm.so", old, new)
    if problem is None:
        check_links(package, [carried])
    else:
        with pytest.raises(PackageError, match=problem):
            check_links(package, [carried])


def test_a_library_beside_it_counts_only_where_the_loader_looks(built, tmp_path):
    """XGBoost brings its OpenMP in a folder that its library names; it is unpacked with it, or it is not there."""
    _, libraries, _ = built
    with zipfile.ZipFile(libraries / "carried/xgboost.zip") as archive:
        archive.extractall(tmp_path / "carried")
    package = tmp_path / "package"
    package.mkdir()
    check_links(package, [tmp_path / "carried"])
    (tmp_path / "carried/xgboost_cpu.libs").rename(tmp_path / "xgboost_cpu.libs")
    with pytest.raises(PackageError, match=r"^libxgboost\.so needs libgomp-\S+, which neither"):
        check_links(package, [tmp_path / "carried"])
