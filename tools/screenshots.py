"""Makes the pictures of the documentation anew, out of real runs: `make screenshots`, or `python -m tools.screenshots`.

Needs tmux, in which the commands run as a person types them, and Chromium, which photographs the report's page. Takes about two
minutes. Everything runs in a temporary folder, whose name is written as FOLDER in the pictures; nothing else in them is changed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from PIL import Image, ImageChops
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
FOLDER = "/home/you/flights"
COLUMNS, ROWS = 100, 30
SECONDS = 300  # for a command; the longest takes 20
LARGEST_BYTES = 400_000

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
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
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if missing := [name for name, path in (("tmux", shutil.which("tmux")), ("chromium", browser)) if path is None]:
        raise SystemExit(f"the pictures need {' and '.join(missing)}: apt-get install {' '.join(missing)}")
    assert browser
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="flights-") as folder, _terminal(Path(folder)) as terminal:
        _photograph_terminal(terminal)
        page = _page(terminal)
        for name, width, options in (("light", DESKTOP, []), ("dark", DESKTOP, [DARK]), ("phone", PHONE, [])):
            _photograph_page(browser, page, IMAGES / f"report-{name}.png", width, options)
        _cut_top(IMAGES / "report-light.png", IMAGES / "report-top.png")
    for picture in sorted(IMAGES.iterdir()):
        size = picture.stat().st_size
        sys.stdout.write(f"{picture.relative_to(ROOT)}: {size / 1000:,.0f} kB\n")
        if size > LARGEST_BYTES:
            raise SystemExit(f"{picture.name} is larger than {LARGEST_BYTES / 1000:,.0f} kB")


# --- the terminal ---------------------------------------------------------------------------------------------------------------


class _Terminal:
    """A shell in a tmux of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._server = f"batch-predict-{os.getpid()}"
        # The commands of the environment that runs this, in an empty home.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        settings = {
            "PATH": path,
            "HOME": str(folder),
            "PS1": "$ ",
            "LANG": "C.UTF-8",
            "HISTFILE": os.devnull,
            "PYTHONPATH": str(ROOT),
        }
        shell = ["env", *(f"{name}={value}" for name, value in settings.items()), "bash", "--noprofile", "--norc"]
        self._tmux("-f", os.devnull, "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(folder), *shell)
        self._wait_for(lambda: self.lines() == ["$"])

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", "-L", self._server, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout

    def _wait_for(self, is_so: Callable[[], bool]) -> None:
        ends = time.monotonic() + SECONDS
        while not is_so():
            if time.monotonic() > ends:
                raise SystemExit(f"this took more than {SECONDS} seconds:\n{chr(10).join(self.lines())}")
            time.sleep(0.05)

    def type(self, command: str) -> None:
        """Type a command, of several lines perhaps, on an empty screen."""
        self._tmux("send-keys", "-R")
        self._tmux("clear-history")
        self._tmux("send-keys", "C-l")
        self._wait_for(lambda: self.lines() == ["$"])
        self._tmux("send-keys", "-l", f"{command}\n")
        self._wait_for(lambda: self.lines() != ["$"])

    def wait_until(self, pattern: str) -> None:
        """Wait for a text, or for the command's end."""
        self._wait_for(lambda: bool(re.search(pattern, "\n".join(self.lines()))) or self.lines()[-1] == "$")

    def run(self, command: str) -> None:
        """Type a command, and wait for its end."""
        self.type(command)
        self._wait_for(lambda: self.lines()[-1] == "$")

    def lines(self, *options: str) -> list[str]:
        """Return what is on the screen and above it, wrapped lines as one."""
        return [line.rstrip() for line in self._tmux("capture-pane", "-p", "-J", "-S", "-", *options).rstrip().split("\n")]

    def photograph(self, picture: str) -> None:
        """Write what is on the screen and above it as SVG."""
        lines = self.lines("-e")
        if lines[-1].strip() == "$":
            del lines[-1]
        console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
        for line in lines:
            text = Text.from_ansi(line.replace(str(self.folder), FOLDER))
            text.rstrip()
            for part in text.divide(range(COLUMNS, max(len(text), 1), COLUMNS)):  # as a terminal wraps
                console.print(part, no_wrap=True)
        name = Path(picture).stem
        svg = console.export_svg(title="batch-predict", theme=THEME, unique_id=f"batch-predict-{name}")
        svg = WEB_FONTS.sub("", svg).replace("Fira Code, monospace", FONTS)
        (IMAGES / picture).write_text("\n".join(line.rstrip() for line in svg.split("\n") if line.strip()) + "\n", encoding="utf-8")

    def close(self) -> None:
        """End the shell and its tmux."""
        self._tmux("kill-server")


@contextmanager
def _terminal(folder: Path) -> Iterator[_Terminal]:
    terminal = _Terminal(folder)
    try:
        yield terminal
    finally:
        terminal.close()


def _photograph_terminal(terminal: _Terminal) -> None:
    terminal.type("batch-predict demo")
    terminal.wait_until(r"Predict Chunks .*\b[45] of 9 chunks")
    terminal.photograph("run.svg")
    terminal.wait_until(r"^\$$")
    terminal.run(PLAN)
    terminal.photograph("plan.svg")
    _write_samples(terminal.folder)
    terminal.run(FAILING)
    terminal.run("batch-predict explain")
    terminal.photograph("explain.svg")
    terminal.run(TOLERANT)
    terminal.run(DETACHED)
    terminal.run("batch-predict list")
    terminal.photograph("list.svg")
    terminal.run("batch-predict watch")


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


def _page(terminal: _Terminal) -> Path:
    """Have the page of the demo's run made."""
    run = min((terminal.folder / ".batch-predict").glob("predictions-*")).name  # the oldest
    terminal.run(f"batch-predict report {run} --reference january.csv --output report.html")
    page = terminal.folder / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace(str(terminal.folder), FOLDER), encoding="utf-8")
    return page


def _photograph_page(browser: str, page: Path, picture: Path, width: int, options: list[str]) -> None:
    """Write the whole page as PNG."""
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",  # it opens nothing but our own page, and root has no other way
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={page.parent / 'chromium'}",
        f"--window-size={width},{TALLEST}",
        f"--screenshot={picture}",
        *options,
        page.as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
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
