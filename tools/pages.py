"""Writes into the documentation what the code knows, between cog's marks: `make docs`; with `--check` it says what is out of date.

A mark is one line, such as `{{{cog cog.outl(reference.request_fields()) }}}`, and `{{{end}}}` closes what it generates. In Markdown
and Python both stand in a comment. A mark's code can use the modules `tools.reference` and `tools.figures`. https://cog.readthedocs.io
"""

import sys
from pathlib import Path

from cogapp import Cog

ROOT = Path(__file__).parents[1]
HANDLER = "functions/predict/prediction_handler.py"
MARKERS = "{{{cog }}} {{{end}}}"  # cog's own have `]]]`, which annotations of Python end in, too
IMPORT = "from tools import figures, reference"


def main(*options: str) -> int:
    """Run cog over all files that may hold marks; ``-r`` writes them, ``--check`` returns 5 if one would change."""
    files = [ROOT / "README.md", ROOT / HANDLER, *sorted(ROOT.glob("docs/*.md"))]
    search = [argument for folder in (".", "functions", "functions/predict") for argument in ("-I", str(ROOT / folder))]
    arguments = ["-U", "-p", IMPORT, f"--markers={MARKERS}", *search, *options, *map(str, files)]
    return int(Cog().main(["cog", "--verbosity=1", *arguments]) or 0)


if __name__ == "__main__":
    sys.exit(main(*(["--check", "--diff"] if "--check" in sys.argv else ["-r"])))
