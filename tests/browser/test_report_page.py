"""The page of a run as a browser shows it: on a phone and on a desktop, in light, in dark and on paper, without network."""

import re

import pytest

from batch_predict.report.page import render
from support.report_pages import HOSTILE, hostile_run, hostile_source, rendered

PHONE, TABLET, DESKTOP = 390, 768, 1280
DARK = "--blink-settings=preferredColorScheme=0"
MARKUP = f"<script>window.ran = true</script>{HOSTILE['markup']}"


@pytest.fixture(scope="module")
def pages():
    whole = rendered("whole")
    return {
        "phone": (whole, PHONE),
        "tablet": (whole, TABLET),
        "desktop": (whole, DESKTOP),
        "failed": (rendered("failed, chunks done"), PHONE),
        "one chunk": (rendered("one chunk"), DESKTOP),
        "running": (rendered("running"), PHONE),
        "bare": (rendered("bare"), PHONE),
        "many": (rendered("ten thousand chunks"), PHONE),
        "markup": (render(hostile_run(MARKUP)), PHONE),
        "long": (hostile_source("long"), PHONE),
        "right_to_left": (hostile_source("right to left"), PHONE),
    }


@pytest.fixture(scope="module")
def light(look, pages):
    return look(pages)


@pytest.fixture(scope="module")
def dark(look, pages):
    paper = pages["phone"][0].replace("@media print", "@media all")
    return look({"phone": pages["phone"], "paper": (paper, DESKTOP)}, DARK)


def test_no_page_is_wider_than_its_screen(light, pages):
    assert {name: seen["width"] for name, seen in light.items()} == {name: width for name, (_, width) in pages.items()}


def test_every_section_is_seen(light):
    """What each holds, and which there are: tests/unit/report/test_page.py."""
    heights = {(name, section): shown["height"] for name, seen in light.items() for section, shown in seen["sections"].items()}
    assert {place: height for place, height in heights.items() if height <= 50} == {}


def test_no_card_is_half_empty(light):
    """What is not in a section is less than a fifth of its height, and the cards stand close in their columns."""
    for name in ("desktop", "one chunk", "tablet"):
        seen = light[name]
        assert {section: shown["empty"] for section, shown in seen["sections"].items() if shown["empty"] > 40} == {}, name
        first, second = seen["columns"]
        assert abs(first - second) < 400, name


def test_the_table_of_features_scrolls_on_a_phone_and_keeps_its_names_in_sight(light):
    table = light["phone"]["table"]
    assert table["scrolls"] in {"auto", "scroll"}
    assert table["width"] > table["seen"]
    assert table["moved"] > 0
    assert table["name"] == pytest.approx(table["left"], abs=1)


def test_nothing_is_loaded_and_no_script_runs(light):
    for name, seen in light.items():
        assert (seen["loaded"], seen["scripts"], seen["ran"]) == ([], 0, False), name


def test_no_text_of_a_picture_is_cut_off(light):
    assert {name: seen["outside"] for name, seen in light.items() if seen["outside"]} == {}


def test_texts_of_pictures_are_in_the_pages_font_and_large_enough(light):
    for name, seen in light.items():
        if seen["families"]:
            assert seen["families"] == [seen["family"]], name
            assert seen["smallest"] >= 9, name


def test_dark_is_dark_and_light_is_light(light, dark):
    for name in ("background", "paper"):
        assert brightness(light["phone"][name]) > 240
        assert brightness(dark["phone"][name]) < 50
    for name in ("ink", "chartInk"):
        assert brightness(light["phone"][name]) < 110
        assert brightness(dark["phone"][name]) > 160


def test_paper_is_light_where_the_screen_is_dark(dark):
    assert brightness(dark["paper"]["background"]) == 255
    assert brightness(dark["paper"]["ink"]) < 50


@pytest.mark.thorough
def test_it_prints_on_a_few_sheets_of_a4(chromium, pages, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(pages["desktop"][0], encoding="utf-8")
    chromium("--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}", page.as_uri())
    pdf = (tmp_path / "page.pdf").read_bytes()
    sheets = [[round(float(edge)) for edge in box.split()] for box in re.findall(rb"/MediaBox \[([\d. ]+)\]", pdf)]
    assert 3 <= len(sheets) <= 5
    assert all(sheet[:2] == [0, 0] and abs(sheet[2] - 595) <= 1 and abs(sheet[3] - 842) <= 1 for sheet in sheets), sheets


def brightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3
