"""Links between the pages lead somewhere."""

import re

import pytest


def anchor(heading):
    """Return a heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("folder", [".", "docs", "events"])
def test_every_link_leads_to_a_file_and_a_heading(root, folder):
    broken = []
    for page in (root / folder).glob("*.md"):
        for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
            path, _, name = target.partition("#")
            file = page.parent / path if path else page
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE) if name and file.exists() else []
            if not file.exists() or (name and name not in map(anchor, headings)):
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_every_path_that_a_page_names_is_there(root):
    pages = [root / "README.md", root / "CONTRIBUTING.md", *root.glob("docs/*.md"), *root.glob("events/*.md")]
    folders = "batch_predict|benchmarks|docs|events|examples|functions|statemachine|tests|tools"
    missing = {
        f"{page.name}: {path}"
        for page in pages
        for path in re.findall(rf"`((?:{folders})/[\w./-]+)`", page.read_text())
        if not (root / path).exists()
    }
    assert missing - {"performance.md: benchmarks/results/"} == set()  # a benchmark writes there
