"""Which versions a bundle takes: the model's own, the nearest that has a wheel, the function's, and what they need."""

import json
import zipfile

import pytest

from batch_predict.bundle import pip_download, platforms
from batch_predict.bundle.plan import BundleError, Distribution
from batch_predict.bundle.platforms import HERE, platform_of
from batch_predict.bundle.versions import nearest_version

ARM, INTEL = "linux-aarch64-py313", "linux-x86_64-py313"


@pytest.mark.parametrize(
    ("name", "version", "available", "nearest"),
    [
        ("scikit-learn", "1.5.0", ["1.5.2", "1.6.0", "1.7.2"], "1.5.2"),
        ("scikit-learn", "1.5.0", ["1.4.2", "1.5.1", "1.5.2"], "1.5.1"),
        ("scikit-learn", "1.3.2", ["1.5.2", "1.6.0"], None),
        ("scikit-learn", "1.5.2", ["1.5.1"], None),
        ("numpy", "1.26.4", ["2.1.0", "2.1.1", "2.2.0"], "2.1.0"),
        ("numpy", "2.5.5", ["1.26.4", "2.3.0", "2.4.6"], "2.4.6"),
        ("scipy", "1.11.4", ["1.14.1", "1.15.0"], "1.14.1"),
        ("pandas", "2.2.0", ["2.2.3", "2.3.0"], "2.2.3"),
        ("pandas", "1.5.3", ["2.2.3", "2.3.0"], None),
        ("pandas", "2.2.0+local", ["2.2.3"], "2.2.3"),
        ("thing", "no version", ["1.0"], None),
    ],
)
def test_the_nearest_version_is_of_the_same_feature_release(name, version, available, nearest):
    assert nearest_version(name, version, available) == nearest


def test_a_version_without_a_wheel_gives_way_to_the_nearest_and_what_contradicts_follows(index, write):
    """As scikit-learn 1.5.0 with scipy 1.11.4 and numpy 1.26.4 does under Python 3.13."""
    for version in ("1.5.2", "1.5.3", "1.6.0"):
        index("scikit-learn", version, requires=["numpy>=2.2", "scipy<1.16"])
    for version in ("2.1.0", "2.2.1", "2.3.0"):
        index("numpy", version)
    index("scipy", "1.15.0", requires=["numpy<2.3"])
    index("other", "1.0")
    written = write("scikit-learn==1.5.0", "numpy==1.26.4", "scipy==1.11.4", "other==1.0")
    assert written.libraries[ARM] == ("numpy 2.2.1", "other 1.0", "scikit-learn 1.5.2", "scipy 1.15.0")
    assert [note.partition(",")[0] for note in written.notes if "wheel" in note] == [
        "numpy is 2.2.1 in the bundle: the model was fitted with 1.26.4",
        "scikit-learn is 1.5.2 in the bundle: the model was fitted with 1.5.0",
        "scipy is 1.15.0 in the bundle: the model was fitted with 1.11.4",
    ]
    with zipfile.ZipFile(written.path) as archive:
        assert json.loads(archive.read("bundle.json"))["fitted_with"]["numpy"] == "1.26.4"


def test_the_nearest_must_be_of_the_same_feature_release(index, write):
    index("scikit-learn", "1.6.0")
    with pytest.raises(
        BundleError, match=r"scikit-learn 1\.3\.2 has no wheel for Python 3\.13 .*; 1\.6\.0 .*--requires scikit-learn==1\.6\.0"
    ):
        write("scikit-learn==1.3.2")
    with pytest.raises(
        BundleError, match=r"no package index .* has a wheel of unheard 1\.0 for Python 3\.13 \(linux-aarch64-py313\)"
    ):
        write("unheard==1.0")


@pytest.mark.thorough  # pip is started again and again
def test_the_other_platform_has_the_versions_of_the_stacks_where_it_can(index, write):
    index("numpy", "2.1.0", tag="cp313-cp313-manylinux2014_aarch64")
    for version in ("1.26.4", "2.1.0"):
        index("numpy", version, tag="cp313-cp313-manylinux2014_x86_64")
    for machine in ("aarch64", "x86_64"):
        index("only", "1.0.1", tag=f"cp313-cp313-manylinux2014_{machine}")
    index("only", "1.0.0", tag="cp313-cp313-manylinux2014_x86_64")
    index("bound", "3.0.1", tag="cp313-cp313-manylinux2014_aarch64")
    index("bound", "3.0.0", tag="cp313-cp313-manylinux2014_x86_64")
    written = write("numpy==1.26.4", "only==1.0.0", "bound==3.0.0", platforms=[INTEL, ARM])
    assert written.libraries == {
        ARM: ("bound 3.0.1", "numpy 2.1.0", "only 1.0.1"),
        INTEL: ("bound 3.0.0", "numpy 2.1.0", "only 1.0.1"),
    }
    assert f"bound is 3.0.1 for {ARM}, 3.0.0 for {INTEL}: the model was fitted with 3.0.0" in "\n".join(written.notes)


def test_what_the_function_has_in_that_version_is_its_own_unless_the_bundle_contradicts(index, write, root):
    function = platform_of(ARM, root).function
    index("numpy", function["numpy"])
    index("scipy", function["scipy"], requires=["numpy>=2.2"])
    index("joblib", function["joblib"])
    written = write(*(f"{name}=={function[name]}" for name in ("numpy", "scipy", "joblib")))
    assert written.libraries[ARM] == ()
    assert written.from_function[ARM] == tuple(f"{name} {function[name]}" for name in ("joblib", "numpy", "scipy"))
    index("numpy", "2.1.3")
    index("scikit-learn", function["scikit-learn"], requires=["scipy", "numpy"])
    written = write("numpy==2.1.3", *(f"{name}=={function[name]}" for name in ("scipy", "joblib", "scikit-learn")), name="other")
    assert written.libraries[ARM] == ("numpy 2.1.3", f"scipy {function['scipy']}")
    assert written.from_function[ARM] == (f"joblib {function['joblib']}", f"scikit-learn {function['scikit-learn']}")


def test_requirements_are_resolved_for_the_platform_and_not_for_this_python(index, write):
    index(
        "steps",
        "2.0",
        requires=["newer; python_version >= '3.13'", "older; python_version < '3.13'", "arm; platform_machine == 'aarch64'"],
    )
    for name in ("newer", "arm"):
        index(name, "1.0")
    index("plain", "1.0.1")
    written = write(requirements=["steps>=1", "plain==1.0.0"])
    assert written.libraries[ARM] == ("arm 1.0", "newer 1.0", "plain 1.0.1", "steps 2.0")
    assert [note for note in written.notes if note.startswith("plain is 1.0.1 in the bundle: the model was fitted with 1.0.0")]
    assert write("steps==2.0", name="pinned").libraries[ARM] == ("arm 1.0", "newer 1.0", "steps 2.0")  # what this platform adds


@pytest.mark.thorough  # pip is started again and again
def test_requirements_take_the_functions_versions_and_come_before_the_environments(index, write, root):
    numpy = platform_of(ARM, root).function["numpy"]
    for version in ("2.1.0", numpy, "99.0"):
        index("numpy", version)
    index("onnx-like", "1.0", requires=["numpy>=1"])
    index("picky", "1.0", requires=["numpy<2.2"])
    written = write(requirements=["onnx-like"])
    assert (written.libraries[ARM], written.from_function[ARM]) == (("onnx-like 1.0",), (f"numpy {numpy}",))
    assert write(requirements=["onnx-like", "picky"]).libraries[ARM] == ("numpy 2.1.0", "onnx-like 1.0", "picky 1.0")
    assert write("numpy==99.0", requirements=["numpy==2.1.0"]).libraries[ARM] == ("numpy 2.1.0",)
    assert write("picky==1.0", requirements=["onnx-like"], name="beside").libraries[ARM] == (
        "numpy 2.1.0",
        "onnx-like 1.0",
        "picky 1.0",
    )
    with pytest.raises(BundleError, match=r"contradict each other .*numpy"):
        write("numpy==99.0", requirements=["picky"])


@pytest.mark.thorough  # pip is started again and again
def test_what_graphics_cards_need_is_left_out_or_refused(index, write):
    index("xgboost", "2.1.0", requires=["nvidia-nccl-cu12; platform_system == 'Linux'"])
    assert write("xgboost==2.1.0", "nvidia-nccl-cu12==2.0").libraries[ARM] == ("xgboost 2.1.0",)
    index("xgboost-cpu", "2.1.0")
    assert write("xgboost==2.1.0", "nvidia-nccl-cu12==2.0").libraries[ARM] == ("xgboost-cpu 2.1.0",)
    assert write(requirements=["xgboost==2.1.0"]).libraries[ARM] == ("xgboost-cpu 2.1.0",)
    index("torch", "2.5.0", requires=["nvidia-cublas-cu12"])
    index("nvidia-cublas-cu12", "12.0")
    for contents in ({"requirements": ["torch"]}, {"distributions": ["torch==2.5.0", "nvidia-cublas-cu12==12.0"]}):
        with pytest.raises(BundleError, match="gigabytes that no Lambda function can use"):
            write(*contents.pop("distributions", ()), **contents)


def test_installed_python_that_no_index_has_is_copied(index, write, tmp_path):
    site = tmp_path / "site"
    files = {
        "mine/__init__.py": "VERSION = 7\n",
        "mine-7.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: mine\nVersion: 7.0\n",
        "mine-7.0.dist-info/direct_url.json": '{"url": "file:///home/me"}',
    }
    for name, content in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(content)
    written = write(Distribution("mine", "7.0", site, (*files, "../../bin/mine")))
    with zipfile.ZipFile(written.path) as archive, zipfile.ZipFile(archive.open(f"libraries/{ARM}.zip")) as libraries:
        assert {"mine/__init__.py", "mine-7.0.dist-info/METADATA"} <= set(libraries.namelist())
        assert not [name for name in libraries.namelist() if "direct_url" in name or "bin" in name]
    (site / "mine/fast.so").write_bytes(b"")
    with pytest.raises(BundleError, match=r"no package index .* mine 7\.0"):
        write(Distribution("mine", "7.0", site, (*files, "mine/fast.so")))


def test_the_functions_own_reading_and_writing_stays_its_own(index, write):
    index("tiny", "1.0", requires=["pyarrow>=15"])
    written = write("tiny==1.0", "pyarrow==15.0.0")
    assert written.libraries[ARM] == ("tiny 1.0",)
    assert "pyarrow is left out: the function reads and writes with its own" in written.notes


def test_what_pip_cannot_do_is_one_sentence(index, write, monkeypatch):
    with pytest.raises(BundleError, match=r"'scikit-learn=1.2' is no requirement"):
        write(requirements=["scikit-learn=1.2"])
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(BundleError, match=r"pip does not reach its package index .*so it cannot get tiny"):
        write("tiny==1.0")
    monkeypatch.setattr(pip_download.importlib.util, "find_spec", {}.get)
    with pytest.raises(BundleError, match="has no pip, which gets a bundle's libraries"):
        write("tiny==1.0")


def test_platforms_are_the_stacks_and_this_machines(root):
    assert platforms.default_platforms(root) == [ARM, HERE]
    assert platform_of(ARM, root).target.name == "arm64-py313"
    assert platform_of("linux-x86_64-py312", root).target.name == "x86_64-py312"
    assert platform_of(HERE, root).target is None
    assert "numpy" in platform_of(HERE, root).function
    function = platform_of(ARM, root).function
    assert {"pandas", "lightgbm", "xgboost-cpu"} <= set(function)  # which it carries compressed
    assert not {"six", "boto3"} & set(function)  # of Lambda's runtime, which changes by itself
