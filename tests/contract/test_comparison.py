"""docs/comparison.md names no price that is not computed, and no limit or ratio but those of the files."""

import re

import prediction_handler
from tools import figures


def test_its_prices_limits_and_ratios_are_those_of_the_files(root, template):
    page, performance = ((root / f"docs/{name}.md").read_text() for name in ("comparison", "performance"))
    text = " ".join(page.split())
    assert "$" not in page.replace(figures.comparison(), "")
    assert f"[{figures.on_lambda(figures.ARM) / figures.on_instance():.2f} times]" in page
    assert f"records above {prediction_handler.MAX_RECORD_BYTES // 10**6} MB" in page
    assert f"larger than {template['Parameters']['PredictMemorySize']['MaxValue']:,} MB" in page
    assert f"longer than {template['Resources']['PredictChunkFunction']['Properties']['Timeout'] // 60} minutes" in page
    ratios = dict(re.findall(r"^\| a (ridge|forest) \| ([\d.]+) \| ", performance, re.MULTILINE))
    assert f"estimate has it over in {figures.ten_gigabytes()['seconds']:.0f} seconds" in text
    assert f"{ratios['ridge']} times with a linear model, {ratios['forest']} with a forest" in text
