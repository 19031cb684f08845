"""No text of others becomes anything but text on the page of a run, and none hides another."""

import json
from collections import Counter

import pytest

from batch_predict.report import charts
from batch_predict.report.page import render
from support.report_pages import HOSTILE, Page, hostile_run, page_of
from support.steering import STEERING, steers

CUT = {"title", "textlength", "lengthadjust"}
"""Attributes of names that are long."""


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_text_of_others_stays_text(text):
    harmless, hostile = page_of("harmless"), page_of(hostile_run(text))
    assert hostile.tags == harmless.tags | Counter(title=hostile.tags["title"])
    assert {name for _, name, _ in hostile.attributes} - {name for _, name, _ in harmless.attributes} <= CUT
    assert len(hostile.source.encode()) < 1_000_000


def test_a_picture_shows_a_name_that_looks_like_its_own_markup():
    name = 'id="a" #010104 font-family: b; url(#c) $d$'
    assert name in Page(charts.drift_bars("drift", {name: 0.3})).texts


def test_text_of_others_is_shown_as_it_is():
    text = HOSTILE["quotes"]
    page = page_of(hostile_run(text))
    for name in ("states", "slowest", "predictions", "missing", "drift", "features", "rejected", "failures", "stages", "model"):
        assert text in page.sections[name], name
    assert json.loads(page.sections["request"].partition("\n")[2].strip().removeprefix("Request")) == {text: text}
    assert page.headline.count(text) >= 6


def test_no_character_moves_or_hides_others():
    source = render(hostile_run(HOSTILE["override"]))
    assert not set("\u202e\u2066\u200f\u0000\u001b") & set(source)
    assert "abc\N{REPLACEMENT CHARACTER}gpj.exe" in source
    source.encode()  # no half of a pair


def test_what_steers_a_terminal_is_not_on_the_page_either():
    for text in ("".join(STEERING.values()), " ".join(STEERING.values())):
        assert steers(render(hostile_run(text))) == []


def test_a_name_has_a_direction_of_its_own():
    name = HOSTILE["right to left"]
    assert f"<bdi>{name}</bdi>" in render(hostile_run(name))


def test_a_long_name_is_cut_and_the_rest_is_where_a_pointer_rests():
    page = page_of(hostile_run("x" * 500))
    titles = [value for tag, name, value in page.attributes if (tag, name) == ("bdi", "title")]
    assert "x" * 500 in titles
    assert "x" * 119 + "\N{HORIZONTAL ELLIPSIS}" in page.headline
