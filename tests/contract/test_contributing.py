"""What newcomers read first names files and functions that are there."""

import re

import pytest

LONGEST_LINE = 140
FOLDERS = ("batch_predict", "functions", "functions/workflow", "functions/predict", "statemachine", "tests", "tools")


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


def test_the_readme_fits_in_a_window(root):
    for number, line in enumerate((root / "README.md").read_text().splitlines(), 1):
        assert len(line) <= LONGEST_LINE, f"README.md line {number} has {len(line)} characters"
