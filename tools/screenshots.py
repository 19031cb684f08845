"""Makes the pictures of the documentation anew, out of real runs: `make screenshots`, or `python -m tools.screenshots`.

Each command runs on a terminal of its own; Chromium photographs the report's page. Takes about two minutes. Everything runs in a
temporary folder, whose name is written as FOLDER in the pictures; nothing else in them is changed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from io import StringIO
from pathlib import Path

import pexpect  # type: ignore[import-untyped]
from PIL import Image, ImageChops
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
FOLDER = "/home/you/flights"
COLUMNS, ROWS = 100, 30
SECONDS = 300  # without a sign of a command; the longest takes 20 in all
LARGEST_BYTES = 400_000

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium")
DARK = "--blink-settings=preferredColorScheme=0"
TALLEST = 14_000  # pixels of a page on a phone; what is left is cut off
BELOW = 24
DESKTOP, PHONE = 1100, 390
TOP = 1086  # pixels of the page for README: headline, states and the first charts
COLOURS = 128  # enough for flat charts and text, a third of the bytes

SAMPLE_ROWS = 20_000
DAMAGED_ROW = 200_001
MODEL = """--model .demo/arrival_delay.joblib \\
  --features month,dep_time,dep_delay,distance,carrier,origin,dest \\
  --prediction predicted_arr_delay"""
PLAN = f"batch-predict plan --data .demo/flights.csv {MODEL} --output predictions.csv --chunk-size-mb 4 --compare"
FAILING = f"batch-predict run --data edited.csv {MODEL} --output edited-predictions.csv --chunk-size-mb 4"
TOLERANT = f"{FAILING} --on-bad-row quarantine"
DETACHED = f"batch-predict run --data .demo/flights.csv {MODEL} --output again.csv --chunk-size-mb 1 --detach"

WEB_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)
"""What rich writes for browsers to load: the pictures load nothing."""
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
THEME = TerminalTheme(
    (22, 27, 34),
    (214, 220, 228),
    [
        *((72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65)),
        *((121, 192, 255), (210, 168, 255), (86, 212, 221), (214, 220, 228)),
    ],
)


def main() -> None:
    """Write all pictures, and say how large they are."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="flights-") as name:
        folder = Path(name)
        _photograph_terminal(folder)
        page = _page(folder)
        for kind, width, options in (("light", DESKTOP, []), ("dark", DESKTOP, [DARK]), ("phone", PHONE, [])):
            _photograph_page(page, IMAGES / f"report-{kind}.png", width, options)
        _cut_top(IMAGES / "report-light.png", IMAGES / "report-top.png")
    for picture in sorted(IMAGES.iterdir()):
        size = picture.stat().st_size
        sys.stdout.write(f"{picture.relative_to(ROOT)}: {size / 1000:,.0f} kB\n")
        if size > LARGEST_BYTES:
            raise SystemExit(f"{picture.name} is larger than {LARGEST_BYTES / 1000:,.0f} kB")


# --- the terminal ---------------------------------------------------------------------------------------------------------------


def _run(folder: Path, command: str, picture: str | None = None, *, when: str | None = None) -> None:
    """Run a command on a terminal, and photograph what that shows in the end, or as soon as a text is on it."""
    # The commands of the environment that runs this, in an empty home.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"PATH": path, "HOME": str(folder), "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    process = pexpect.spawn(
        "bash",
        ["-c", command],
        cwd=folder,
        env=os.environ | settings,
        dimensions=(ROWS, COLUMNS),
        encoding="utf-8",
        timeout=SECONDS,
    )
    typed = "\n> ".join(command.splitlines())  # as bash shows it
    printed, screen = "", Text()
    with suppress(pexpect.EOF):
        while not (when and re.search(when, screen.plain)):
            printed += process.read_nonblocking(1 << 16, SECONDS)
            screen = _screen(f"$ {typed}\n{printed}".replace(str(folder), FOLDER))
    if picture:
        _photograph(screen, picture)
    process.expect(pexpect.EOF)


def _screen(printed: str) -> Text:
    """Return what a terminal shows: rich clears lines and moves up, and does nothing else to them."""
    lines = [""]
    for part in re.split(r"(\r?\n|\r|\x1b\[2K|\x1b\[1A|\x1b\[\?25[lh])", printed):
        if part in {"\n", "\r\n"}:
            lines.append("")
        elif part == "\x1b[1A":
            lines.pop()
        elif part in {"\r", "\x1b[2K"}:
            lines[-1] = ""
        elif not part.startswith("\x1b[?25"):
            lines[-1] += part
    return Text.from_ansi("\n".join(lines).rstrip())


def _photograph(screen: Text, picture: str) -> None:
    """Write what is on the screen as SVG."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    for line in screen.split():
        line.rstrip()
        for part in line.divide(range(COLUMNS, max(len(line), 1), COLUMNS)):  # as a terminal wraps
            console.print(part, no_wrap=True)
    svg = console.export_svg(title="batch-predict", theme=THEME, unique_id=f"batch-predict-{Path(picture).stem}")
    svg = WEB_FONTS.sub("", svg).replace("Fira Code, monospace", FONTS)
    (IMAGES / picture).write_text("\n".join(line.rstrip() for line in svg.split("\n") if line.strip()) + "\n", encoding="utf-8")


def _photograph_terminal(folder: Path) -> None:
    _run(folder, "batch-predict demo", "run.svg", when=r"Predict Chunks .*\b[45] of 9 chunks")
    _run(folder, PLAN, "plan.svg")
    _write_samples(folder)
    _run(folder, FAILING)
    _run(folder, "batch-predict explain", "explain.svg")
    _run(folder, TOLERANT)
    _run(folder, DETACHED)
    _run(folder, "batch-predict list", "list.svg")
    _run(folder, "batch-predict watch")


def _write_samples(folder: Path) -> None:
    """Write the first predictions, and all flights with one departure that is no number."""
    predictions = (folder / ".demo/predictions.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "january.csv").write_text("".join(predictions[: SAMPLE_ROWS + 1]), encoding="utf-8")
    lines = (folder / ".demo/flights.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    values = lines[DAMAGED_ROW].split(",")
    values[lines[0].split(",").index("dep_time")] = "6:31"
    lines[DAMAGED_ROW] = ",".join(values)
    (folder / "edited.csv").write_text("".join(lines), encoding="utf-8")


# --- the report's page ----------------------------------------------------------------------------------------------------------


def _page(folder: Path) -> Path:
    """Have the page of the demo's run made."""
    run = min((folder / ".batch-predict").glob("predictions-*")).name  # the oldest
    _run(folder, f"batch-predict report {run} --reference january.csv --output report.html")
    page = folder / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace(str(folder), FOLDER), encoding="utf-8")
    return page


def chromium(profile: Path, *arguments: object) -> str:
    """Run Chromium without a window and without network, and return what it prints. Raises FileNotFoundError if there is none."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        install = "brew install --cask chromium" if sys.platform == "darwin" else "apt-get install chromium"
        raise FileNotFoundError(f"there is no Chromium here: {install}")
    command = [
        program,
        "--headless=new",
        "--no-sandbox",  # it opens nothing but our own page, and root has no other way
        "--disable-gpu",
        "--hide-scrollbars",  # as on a phone
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={profile}",
        *map(str, arguments),
    ]
    finished = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)  # it takes one or two seconds
    if finished.returncode:
        raise RuntimeError(finished.stderr)
    return finished.stdout


def _photograph_page(page: Path, picture: Path, width: int, options: list[str]) -> None:
    """Write the whole page as PNG."""
    size = f"--window-size={width},{TALLEST}"
    chromium(page.parent / "chromium", size, f"--screenshot={picture}", *options, page.as_uri())
    with Image.open(picture) as image:
        seen = image.convert("RGB")
    below = seen.crop((0, seen.height - 1, width, seen.height)).resize(seen.size)
    box = ImageChops.difference(seen, below).getbbox()
    if box is None or box[3] == seen.height:
        raise SystemExit(f"{picture.name}: the page is empty, or taller than {TALLEST} pixels")
    seen.crop((0, 0, width, min(box[3] + BELOW, seen.height))).quantize(COLOURS).save(picture, optimize=True)


def _cut_top(whole: Path, picture: Path) -> None:
    """Write the top of a page's picture as a picture of its own."""
    with Image.open(whole) as image:
        image.crop((0, 0, image.width, TOP)).save(picture, optimize=True)


if __name__ == "__main__":
    main()
