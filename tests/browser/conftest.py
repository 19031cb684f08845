"""A real browser for the report's page: Chromium, without a window and without network."""

import html
import json
import os
from functools import partial

import pytest

from tools import screenshots


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """Run Chromium with arguments, and return what it prints."""
    run = partial(screenshots.chromium, tmp_path_factory.mktemp("chromium"))
    try:
        run("--version")
    except FileNotFoundError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
    return run


PROBE = """
const colour = (element, name) => element.ownerDocument.defaultView.getComputedStyle(element)[name];
function columns(page) {  // where each column of cards ends
  const bottoms = {};
  for (const card of page.querySelectorAll('.cards section')) {
    const place = card.getBoundingClientRect();
    bottoms[place.left] = Math.max(bottoms[place.left] || 0, place.bottom);
  }
  return Object.values(bottoms);
}
function table(page) {
  const box = page.querySelector('#features .scroll');
  if (!box) return null;
  box.scrollLeft = 60;
  const found = {
    scrolls: colour(box, 'overflowX'), width: box.scrollWidth, seen: box.clientWidth, moved: box.scrollLeft,
    left: box.getBoundingClientRect().left, name: box.querySelector('td').getBoundingClientRect().left,
  };
  box.scrollLeft = 0;
  return found;
}
function look(frame) {
  const page = frame.contentDocument, shown = frame.contentWindow;
  const texts = [...page.querySelectorAll('svg text')];
  return {
    width: page.documentElement.scrollWidth,
    sections: Object.fromEntries([...page.querySelectorAll('section')].map(section => [section.id, {
      height: section.getBoundingClientRect().height,
      empty: section.getBoundingClientRect().bottom - section.lastElementChild.getBoundingClientRect().bottom,
    }])),
    columns: columns(page), table: table(page),
    loaded: shown.performance.getEntriesByType('resource').map(entry => entry.name),
    scripts: page.scripts.length, ran: shown.ran === true,
    background: colour(page.body, 'backgroundColor'),
    paper: colour(page.querySelector('section'), 'backgroundColor'),
    ink: colour(page.body, 'color'),
    chartInk: texts.length ? colour(page.querySelector('svg.chart text') || texts[0], 'fill') : null,
    families: [...new Set(texts.map(text => colour(text, 'fontFamily')))],
    family: colour(page.body, 'fontFamily'),
    smallest: Math.min(...texts.map(text => text.getBoundingClientRect().height)),
    outside: texts.filter(text => {
      const inner = text.getBoundingClientRect(), outer = text.closest('svg').getBoundingClientRect();
      const beside = inner.left < outer.left - 2 || inner.right > outer.right + 2;
      return beside || inner.top < outer.top - 4 || inner.bottom > outer.bottom + 4;
    }).map(text => text.textContent),
  };
}
onload = () => {
  const seen = Object.fromEntries([...document.querySelectorAll('iframe')].map(frame => [frame.name, look(frame)]));
  document.querySelector('pre').textContent = JSON.stringify(seen);
};
"""


@pytest.fixture(scope="session")
def look(chromium, tmp_path_factory):
    """Show pages in frames, {name: (page, width in CSS pixels)}, and return what each looks like, by name.

    The pages are as they are: the script that looks at them is its frame's parent's.
    """
    directory = tmp_path_factory.mktemp("pages")

    def look(pages, *arguments):
        frames = "".join(
            f'<iframe name="{name}" style="width:{width}px;height:800px;border:0" srcdoc="{html.escape(page)}"></iframe>'
            for name, (page, width) in pages.items()
        )
        path = directory / "frames.html"
        path.write_text(f'<!DOCTYPE html><meta charset="utf-8"><script>{PROBE}</script><pre></pre>{frames}', encoding="utf-8")
        shown = chromium("--window-size=1400,900", *arguments, "--dump-dom", path.as_uri())
        return json.loads(html.unescape(shown.partition("<pre>")[2].partition("</pre>")[0]))

    return look
