"""Pictures by matplotlib as SVG that is a part of its page: the page's font, and its colours in light, in dark and on paper.

A figure is drawn in colours that no picture has; in the SVG each becomes the CSS variable that the page sets.
"""

import io
import re
import warnings
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {
    "ink": "#010101",
    "muted": "#010102",
    "line": "#010103",
    "main": "#010104",
    "soft": "#010105",
    "warm": "#010106",
    "bad": "#010107",
    "band-watch": "#010108",
    "band-drift": "#010109",
    "paper": "#01010a",
}
"""The CSS variables of the page, each with the colour that stands for it."""
INK, MUTED, LINE, MAIN, SOFT, WARM, BAD, BAND_WATCH, BAND_DRIFT, PAPER = COLOURS.values()

WIDTH = 380
"""Width of a picture in CSS pixels, which fits a phone."""
PIXELS_PER_INCH = 72  # matplotlib's SVG has one unit to a point

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "batch-predict",  # the same run gives the same page
    "text.parse_math": False,  # a dollar in a column's name is a dollar
    "font.size": 11,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.labelsize": 11,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "patch.linewidth": 0,
}


def blank(width: int, height: int) -> tuple[Figure, Axes]:
    """Return an empty figure of so many CSS pixels; call this, and all that draws, within `mpl.rc_context(STYLE)`."""
    figure = Figure(figsize=(width / PIXELS_PER_INCH, height / PIXELS_PER_INCH), dpi=PIXELS_PER_INCH, layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.subplots()
    axes.patch.set_visible(False)
    return figure, axes


def svg_of(figure: Figure, name: str, description: str) -> Markup:
    """Return the figure as an SVG element; `name` tells its ids from those of the page's other pictures."""
    file = io.StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's fonts have it
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = file.getvalue()
    width, height = (float(size) for size in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2])
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>", "", body, flags=re.DOTALL)
    body = re.sub("<[^>]+>", lambda tag: _of_the_page(tag[0], name), body)  # matplotlib escapes < and > everywhere else
    opening = f'<svg class="chart" role="img" width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    # matplotlib escapes what it writes: text of others reaches this only through it, or through `escape`.
    return Markup(f'{opening} aria-label="{escape(description)}">{body.strip()}')  # noqa: S704


def _of_the_page(tag: str, name: str) -> str:
    """Return a tag of a picture as the page needs it."""
    tag = re.sub(r'(?:xlink:)?(\bid="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)  # the page's is inherited
    for variable, colour in COLOURS.items():
        tag = tag.replace(colour, f"var(--{variable})")
    return tag
