"""No text of others becomes anything but text on the page of a run, and none hides another."""

import json
from collections import Counter

import pytest

from batch_predict.report import charts
from batch_predict.report.page import render
from support.report_pages import HOSTILE, Page, hostile_run, hostile_source, page_of
from support.steering import STEERING, steers

CUT = {"title", "textlength", "lengthadjust"}
"""Attributes of names that are long."""


@pytest.mark.parametrize("kind", HOSTILE)
def test_text_of_others_stays_text(kind):
    harmless, hostile = page_of("harmless"), Page(hostile_source(kind))
    assert hostile.tags == harmless.tags | Counter(title=hostile.tags["title"])
    assert {name for _, name, _ in hostile.attributes} - {name for _, name, _ in harmless.attributes} <= CUT
    assert len(hostile.source.encode()) < 1_000_000


def test_a_picture_shows_a_name_that_looks_like_its_own_markup():
    name = 'id="a" #010104 font-family: b; url(#c) $d$'
    assert name in Page(charts.drift_bars("drift", {name: 0.3})).texts


def test_text_of_others_is_shown_as_it_is():
    text = "\"'><img src=x onerror=alert(1)>&amp;"
    page = page_of(hostile_run(text))
    for name in ("states", "slowest", "predictions", "missing", "drift", "features", "rejected", "failures", "stages", "model"):
        assert text in page.sections[name], name
    assert json.loads(page.sections["request"].partition("\n")[2].strip().removeprefix("Request")) == {text: text}
    assert page.headline.count(text) >= 6


def test_no_character_moves_or_hides_others():
    source = hostile_source("override")
    assert not set("\u202e\u2066\u200f\u0000\u001b") & set(source)
    assert "abc\N{REPLACEMENT CHARACTER}gpj.exe" in source
    source.encode()  # no half of a pair
    assert steers(render(hostile_run(" ".join(STEERING.values())))) == []


def test_a_name_has_a_direction_of_its_own():
    assert f"<bdi>{HOSTILE['right to left']}</bdi>" in hostile_source("right to left")


def test_a_long_name_is_cut_and_the_rest_is_where_a_pointer_rests():
    page = Page(hostile_source("long"))
    titles = [value for tag, name, value in page.attributes if (tag, name) == ("bdi", "title")]
    assert "x" * 999 + "\N{HORIZONTAL ELLIPSIS}" in titles
    assert "x" * 119 + "\N{HORIZONTAL ELLIPSIS}" in page.headline
