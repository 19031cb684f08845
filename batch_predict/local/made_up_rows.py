"""Makes up rows that a fitted model takes, from what it says of its columns: categories, ranges, thresholds, words.

They are for trying a model without its data: they show whether two environments predict the same, and nothing else.
"""

import json
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

ROWS = 64
MAX_TREES = 20
"""Trees of a forest that are looked at."""
MAX_VALUES = 200
"""Values of a column that are kept."""
NUMBERS = (0.5, 1.0, 2.0, 3.0, 7.25, 12.0, 40.0, 100.0, 1500.0)
"""Of a column of which nothing is known: of these, steps of one's own take logarithms and quotients."""
INTEGERS = range(10)
WORDS = ("a", "the", "new")
TEXT = "text"
"""The prediction handler's name of a kind of columns."""


class Known(NamedTuple):
    """What a model tells about the values of a column."""

    values: list[Any]
    is_exact: bool
    """Whether it takes these values alone."""
    is_category: bool = False
    """Whether it wants them as categories, which a CSV file does not have."""
    are_words: bool = False


def made_up(estimator: Any, columns: Sequence[str], handler: Any) -> dict[str, list[Any]]:
    """Return values for each column, the same ones for the same model."""
    chosen = random.Random(0)  # noqa: S311  # to be the same each time
    kinds = handler.expected_columns(estimator, columns)
    known = known_values(estimator, columns, handler)
    return {name: _column(known.get(name), kinds[name], chosen) for name in columns}


def category_columns(estimator: Any, columns: Sequence[str], handler: Any) -> list[str]:
    """Return the columns that a model wants as categories."""
    return [name for name, known in known_values(estimator, columns, handler).items() if known.is_category]


def _column(known: Known | None, expected: Any, chosen: random.Random) -> list[Any]:
    if known is None:
        is_text = expected.kind == TEXT or isinstance(expected.example, str)
        values: list[Any] = [expected.example or "a"] if is_text else list(NUMBERS)
        known = Known(values, is_exact=is_text)
    if known.are_words:
        return [" ".join(chosen.choices(known.values, k=chosen.randint(1, 8))) for _ in range(ROWS)]
    if known.is_exact:
        return [chosen.choice(known.values) for _ in range(ROWS)]
    return [_beside(chosen.choice(known.values), chosen.choice(known.values), chosen) for _ in range(ROWS)]


def _beside(value: float, other: float, chosen: random.Random) -> float:
    """Return a number that is one of two, or between them, or little more or less than one: also beside a threshold."""
    step = max(abs(value), 1.0) / 16
    return chosen.choice((value, (value + other) / 2, value + step, value - step))


def known_values(step: Any, columns: Sequence[str], handler: Any) -> dict[str, Known]:  # noqa: PLR0911  # one a family
    """Return what a step, or the steps in it, tells about columns; of what it does not tell, nothing."""
    columns = list(columns)
    with suppress(Exception):  # attributes of many versions of many estimators
        if hasattr(step, "transformers_"):
            indices = step._transformer_to_input_indices  # noqa: SLF001
            fitted = handler._feature_names_in(step)  # noqa: SLF001
            names = fitted if fitted and set(fitted) <= set(columns) else columns
            parts = [(part, [names[place] for place in indices[name]]) for name, part, _ in step.transformers_]
            return _first(known_values(part, selected, handler) for part, selected in parts)
        if hasattr(step, "steps"):
            return _known_in_turn([inner for _, inner in step.steps], columns, handler)
        if getattr(step, "_preprocessor", None) is not None:  # histogram boosting with categories, which puts them first
            return known_values(step._preprocessor, columns, handler)  # noqa: SLF001
        if hasattr(step, "transformer_list"):
            return _first(known_values(inner, columns, handler) for _, inner in step.transformer_list)
        if found := _known_of(step, columns):
            return found
        inner = handler._inner_estimators(step)  # noqa: SLF001
        return _first(known_values(part, [columns[i] for i in chosen] if chosen else columns, handler) for part, chosen in inner)
    return {}


def _known_in_turn(steps: Sequence[Any], columns: list[str], handler: Any) -> dict[str, Known]:
    """Return what steps tell one after the other, as far as each passes on the columns one by one."""
    found: dict[str, Known] = {}
    for step in steps:
        if step in (None, "passthrough"):
            continue
        found = {**known_values(step, columns, handler), **found}
        if not (hasattr(step, "statistics_") or hasattr(step, "fit_resample")):  # an imputer; what only a fit uses
            break
    return found


def _first(found: Iterable[Mapping[str, Known]]) -> dict[str, Known]:
    first: dict[str, Known] = {}
    for one in found:
        first = {**one, **first}
    return first


def _known_of(step: Any, columns: list[str]) -> dict[str, Known]:  # noqa: PLR0911  # one a kind of step
    """Return what one fitted step tells."""
    stated = getattr(step, "column_types_", None)  # of a bundle's own loaders, which take categories by their values
    if isinstance(stated, list) and len(stated) == len(columns):
        inner: Any = getattr(step, "_booster", getattr(step, "_model", None))
        booster = inner.get_booster() if hasattr(inner, "get_booster") else inner
        values = {name: [*INTEGERS] if one == "integer" else one for name, one in zip(columns, stated, strict=True)}
        exact = {name: Known(one, is_exact=True) for name, one in values.items() if isinstance(one, list)}
        is_known = hasattr(booster, "get_dump") or hasattr(booster, "dump_model")
        return (_known_of_booster(booster, columns) if is_known else {}) | exact
    if isinstance(getattr(step, "categories_", None), list):
        return {name: Known(_plain(values), is_exact=True) for name, values in zip(columns, step.categories_, strict=False)}
    if hasattr(step, "vocabulary_"):
        words = sorted(step.vocabulary_)[:MAX_VALUES]
        return dict.fromkeys(columns, Known([*words, *WORDS], is_exact=True, are_words=True))
    if getattr(step, "mean_", None) is not None and getattr(step, "scale_", None) is not None:
        ranges = zip(columns, step.mean_, step.scale_, strict=True)
        return {name: Known([float(mean + by * scale) for by in (-2, -1, 0, 1, 2)], is_exact=False) for name, mean, scale in ranges}
    if hasattr(step, "booster_") or hasattr(step, "get_booster"):
        return _known_of_booster(step.booster_ if hasattr(step, "booster_") else step.get_booster(), columns)
    if hasattr(step, "dump_model"):
        return _known_of_booster(step, columns)
    thresholds: dict[int, list[float]] = {}
    for place, threshold in _splits(step):
        thresholds.setdefault(place, []).append(threshold)
    return {columns[place]: Known(values[:MAX_VALUES], is_exact=False) for place, values in thresholds.items()}


def _plain(values: Iterable[Any]) -> list[Any]:
    """Return categories as Python's own values, without missing ones."""
    found = [value.item() if hasattr(value, "item") else value for value in values]
    return [value for value in found if value is not None and value == value] or [0]  # noqa: PLR0124  # NaN is not itself


def _splits(step: Any) -> Iterable[tuple[int, float]]:
    """Yield (column, threshold) of trees: single ones, forests, histogram boosting."""
    for rounds in getattr(step, "_predictors", ())[:MAX_TREES]:
        for tree in rounds:
            inner = tree.nodes[tree.nodes["is_leaf"] == 0]
            yield from zip(inner["feature_idx"].tolist(), inner["num_threshold"].tolist(), strict=True)
    trees = getattr(step, "estimators_", [])
    for tree in [step, *(trees.ravel() if hasattr(trees, "ravel") else trees)[:MAX_TREES]]:
        if hasattr(tree, "tree_"):
            found = zip(tree.tree_.feature.tolist(), tree.tree_.threshold.tolist(), strict=True)
            yield from ((place, threshold) for place, threshold in found if place >= 0)


def _known_of_booster(booster: Any, columns: list[str]) -> dict[str, Known]:
    return _known_of_xgboost(booster, columns) if hasattr(booster, "get_dump") else _known_of_lightgbm(booster, columns)


def _known_of_lightgbm(booster: Any, columns: list[str]) -> dict[str, Known]:
    """Return ranges, and pandas' categories in the order in which their columns stand among the others."""
    infos = booster.dump_model(num_iteration=1)["feature_infos"]
    categories = iter(booster.pandas_categorical or ())
    found = {}
    for name, place in zip(columns, booster.feature_name(), strict=True):
        info = infos.get(place, {})
        if info.get("values"):
            of_pandas = next(categories, None)
            found[name] = Known(of_pandas or info["values"], is_exact=True, is_category=of_pandas is not None)
        elif math.isfinite(info.get("min_value", math.inf)):
            low, high = info["min_value"], info["max_value"]
            found[name] = Known([low, high, low + (high - low) / 3, low + (high - low) / 1.5], is_exact=False)
    return found


def _known_of_xgboost(booster: Any, columns: list[str]) -> dict[str, Known]:
    thresholds: dict[str, list[float]] = {}

    def walk(node: Any) -> None:
        if "split_condition" in node and isinstance(node["split_condition"], int | float):
            thresholds.setdefault(node["split"], []).append(float(node["split_condition"]))
        for child in node.get("children", ()):
            walk(child)

    for tree in booster.get_dump(dump_format="json")[:MAX_TREES]:
        walk(json.loads(tree))
    names = {name: re.sub(r"^f(?=\d+$)", "", name) for name in thresholds}
    places = {place: columns[int(names[place])] if booster.feature_names is None else place for place in thresholds}
    found = {places[place]: Known(values[:MAX_VALUES], is_exact=False) for place, values in thresholds.items()}
    wants = [name for name, kind in zip(columns, booster.feature_types or (), strict=False) if kind == "c"]
    categories = dict(booster.get_categories(export_to_arrow=True).to_arrow()) if wants else {}
    return found | {
        name: Known(categories[name].to_pylist(), is_exact=True, is_category=True) for name in wants if categories.get(name)
    }
