"""What newcomers read first names files and functions that are there."""

import re

import pytest


@pytest.fixture(scope="module")
def page(root):
    return (root / "CONTRIBUTING.md").read_text()


def part(page, heading):
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_files_to_edit_are_there(root, page):
    """A bare name is in the folder of the last path before it."""
    table = part(page, "To change X, edit Y")
    folder = root
    names = re.findall(r"`([\w./]+(?:/|\.\w+))`", table)
    assert len(names) > 20
    for name in names:
        if "/" in name:
            folder = (root / name).parent
        assert (root / name).exists() or (folder / name).exists(), name


@pytest.mark.parametrize(("heading", "parent"), [("Rooms", "batch_predict"), ("Tests", "tests")])
def test_every_room_is_there_and_every_folder_has_its_line(root, page, heading, parent):
    text = part(page, heading)
    for name in re.findall(r"^\| `([\w./]+)`", text, re.MULTILINE):
        assert (root / name).exists() or (root / parent / name).exists(), name
    for folder in (root / parent).iterdir():
        if folder.is_dir() and any(folder.rglob("*.py")):
            assert f"{folder.name}/`" in text, folder.name


def test_the_order_of_the_pages_has_every_page(root):
    linked = set(re.findall(r"\]\(([\w.]+)\)", (root / "docs/README.md").read_text()))
    pages = {path.name for path in (root / "docs").iterdir() if path.suffix in {".md", ".ipynb"}} - {"README.md"}
    assert linked == pages
    for name in pages:
        if name.endswith(".md"):
            assert "(README.md)" in (root / "docs" / name).read_text(), name


WALKS = ["`data_s3_uri`, from the request to the report", "One record, from the input to the output"]
WALKS += ["One error, from where it is raised to where the user reads it", "One statistic, from a chunk to the page and to drift"]


def steps(page, heading):
    """[(file, what is said of it)] of a walk."""
    text = part(page, "Four walks").partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    return re.findall(r"^\d+\. `([\w./]+)`(.*?)(?=^\d+\. |\Z)", text, re.MULTILINE | re.DOTALL)


def line_of(source, name):
    """The line on which a function, method or class of this name is defined."""
    owner, _, method = name.rpartition(".")
    lines = source.splitlines()
    first = next((n for n, line in enumerate(lines) if re.match(rf"class {owner}\b", line)), len(lines)) if owner else 0
    found = re.compile(rf"    def {method}\b" if owner else rf"(?:def|class) {method}\b")
    return next((n for n, line in enumerate(lines) if n >= first and found.match(line)), None)


@pytest.mark.parametrize("heading", WALKS)
def test_a_walk_names_what_is_there_and_never_turns_back(root, page, states, heading):
    walk = steps(page, heading)
    files = [file for file, _ in walk]
    assert len(files) > 5
    assert len(set(files)) == len(files)
    for file, text in walk:
        source = (root / file).read_text()
        named = re.findall(r"`([A-Za-z_.]+)(?:\(\))?`", text) if file.endswith(".py") else []
        names = [name for name in named if f"`{name}()`" in text or name.lstrip("_")[0].isupper()]
        lines = [line_of(source, name) for name in names]
        assert None not in lines, f"{file}: {names} {lines}"
        assert lines == sorted(lines), f"{file}: {names} stand in another order"
        assert names or not file.endswith(".py"), file
        assert set(re.findall(r"\*\*(.+?)\*\*", text)) <= states.keys(), file
