"""The steps that prepare features for a stored model, to the bit as scikit-learn's do: see stored_steps.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stored_steps import NotStoredError, Step, checked, matrix_of

if TYPE_CHECKING:
    from tree_kernel import Array


class _Pipeline(Step):
    attributes = ("steps",)

    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        if any(_is_sparse(step) for _, step in estimator.steps[:-1]):  # of which the next step makes other bits than of an array
            raise NotStoredError("puts out sparse features")
        return super().numbers_of(estimator)

    def predict(self, features: Any) -> Array:
        return self._last.predict(self._prepared(features))  # type: ignore[no-any-return]

    def predict_proba(self, features: Any) -> Array:
        return self._last.predict_proba(self._prepared(features))  # type: ignore[no-any-return]

    def decision_function(self, features: Any) -> Array:
        return self._last.decision_function(self._prepared(features))  # type: ignore[no-any-return]

    def transform(self, features: Any) -> Array:
        return self._last.transform(self._prepared(features))  # type: ignore[no-any-return]

    @property
    def _last(self) -> Step:
        return self.steps[-1][1]  # type: ignore[no-any-return]

    def _prepared(self, features: Any) -> Array:
        for _, step in self.steps[:-1]:
            features = features if step in (None, "passthrough") else step.transform(features)
        return features  # type: ignore[no-any-return]


def _is_sparse(step: Any) -> bool:
    """Tell whether a step by itself puts out a sparse matrix; a ColumnTransformer may join it with others to an array."""
    return _is_sparse(step.steps[-1][1]) if hasattr(step, "steps") else getattr(step, "sparse_output", False)


class _Scaler(Step):
    def transform(self, features: Any) -> Array:
        values = checked(self, features, missing=True)
        if values.dtype != np.float64:
            raise NotStoredError("features of another type")
        values = values.copy(order="K")
        self.scale(values)
        return values

    def scale(self, values: Array) -> None:
        """Change values where they are."""
        raise NotImplementedError


class _Standard(_Scaler):
    attributes = ("mean_", "scale_", "with_mean", "with_std")

    def scale(self, values: Array) -> None:
        if self.with_mean:
            values -= self.mean_
        if self.with_std:
            values /= self.scale_


class _MinMax(_Scaler):
    attributes = ("scale_", "min_", "clip", "feature_range")

    def scale(self, values: Array) -> None:
        values *= self.scale_
        values += self.min_
        if self.clip:
            np.clip(values, *self.feature_range, out=values)


class _MaxAbs(_Scaler):
    attributes = ("scale_", "clip")

    def scale(self, values: Array) -> None:
        values /= self.scale_
        if self.clip:
            np.clip(values, -1.0, 1.0, out=values)


class _Robust(_Scaler):
    attributes = ("center_", "scale_", "with_centering", "with_scaling")

    def scale(self, values: Array) -> None:
        if self.with_centering:
            values -= self.center_
        if self.with_scaling:
            values /= self.scale_


class _Imputer(Step):
    """Fills in numbers, or texts, which stay a table."""

    attributes = ("statistics_", "strategy", "indicator_")

    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        missing, statistics, kind = estimator.missing_values, estimator.statistics_, estimator._fill_dtype  # noqa: SLF001
        are_texts = kind.kind == "O" and all(type(value) is str for value in statistics) and estimator.indicator_ is None
        if not (isinstance(missing, float) and np.isnan(missing) and (are_texts or kind == np.float64)):
            raise NotStoredError("fills in more than missing numbers or texts")
        if not are_texts and np.isnan(statistics.astype(np.float64)).any():
            raise NotStoredError("leaves out empty columns")
        return super().numbers_of(estimator) | {"are_texts": are_texts}

    def transform(self, features: Any) -> Any:
        if self.are_texts:
            return _filled(features, self.statistics_)
        values = checked(self, features, missing=True)
        if values.dtype != np.float64:
            raise NotStoredError("features of another type")
        is_missing = np.isnan(values)
        values = values.copy(order="K")
        np.copyto(values, self.statistics_.astype(np.float64), where=is_missing)
        if not hasattr(self, "indicator_"):
            return values
        shown = self.indicator_.features_
        return np.hstack([values, is_missing if shown.size == values.shape[1] else is_missing[:, shown]])


def _filled(table: Any, texts: Array) -> pa.Table:
    columns = _texts_of(table, len(texts))
    return pa.table([pc.fill_null(column, text) for column, text in zip(columns, texts, strict=True)], names=table.column_names)


def _texts_of(table: Any, count: int) -> list[pa.ChunkedArray]:
    """Return the columns of a table of texts."""
    if not (isinstance(table, pa.Table) and table.num_columns == count and all(kind == pa.string() for kind in table.schema.types)):
        raise NotStoredError("features that are no texts")
    columns: list[pa.ChunkedArray] = table.columns
    return columns


class _Encoder(Step):
    """Encodes columns of texts and of numbers; a missing value may be a category."""

    attributes = ("categories_", "handle_unknown", "unknown_value", "encoded_missing_value")

    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        plain = {"min_frequency": None, "max_categories": None, "drop": None, "dtype": np.float64}
        if any(getattr(estimator, name, value) != value for name, value in plain.items()):
            raise NotStoredError("encodes in a rare way")
        for categories in estimator.categories_:
            are_texts = all(type(value) is str or value != value for value in categories)  # noqa: PLR0124  # NaN
            if not (are_texts or categories.dtype.kind in "iuf"):
                raise NotStoredError("encodes more than texts and numbers")
        return super().numbers_of(estimator)

    def codes_of(self, features: Any, *, take_unknown: bool) -> list[Array]:
        """Return the numbers of each column's categories; -1 for others."""
        columns = features.columns if isinstance(features, pa.Table) else list(checked(self, features, missing=True).T)
        found = [
            _codes_of_numbers(column, categories) if categories.dtype.kind in "iuf" else _codes_of_texts(column, categories)
            for column, categories in zip(columns, self.categories_, strict=True)
        ]
        if not take_unknown and any((codes < 0).any() for codes in found):
            raise NotStoredError("categories that are unknown")
        return found


def _codes_of_texts(column: Any, categories: Array) -> Array:
    if not (isinstance(column, pa.ChunkedArray) and column.type == pa.string()):
        raise NotStoredError("features that are no texts")
    known = pa.array(categories.tolist(), pa.string(), from_pandas=True)
    return pc.fill_null(pc.index_in(column, known), -1).to_numpy()  # type: ignore[no-any-return]


def _codes_of_numbers(column: Any, categories: Array) -> Array:
    is_column = isinstance(column, pa.ChunkedArray)
    values = matrix_of(pa.table([column], ["x"]))[:, 0] if is_column else column
    largest = 2**53 if is_column and column.type == pa.int64() else np.inf  # above it, integers are rounded
    if (np.abs(values) >= largest).any():
        raise NotStoredError("features that are too large")
    known, is_missing = categories[categories == categories], np.isnan(values)  # noqa: PLR0124  # NaN, which is the last
    places = np.searchsorted(known, values)
    is_known = known[np.minimum(places, len(known) - 1)] == values if len(known) else np.zeros(len(values), bool)
    missing = len(known) if len(known) < len(categories) else -1
    return np.where(is_missing, missing, np.where(is_known, places, -1))


class _OneHot(_Encoder):
    def transform(self, features: Any) -> Array:
        codes = self.codes_of(features, take_unknown=self.handle_unknown == "ignore")
        encoded = np.zeros((len(features), sum(map(len, self.categories_))))
        start = 0
        for column, categories in zip(codes, self.categories_, strict=True):
            rows = np.flatnonzero(column >= 0)
            encoded[rows, start + column[rows]] = 1.0
            start += len(categories)
        return encoded


class _Ordinal(_Encoder):
    def transform(self, features: Any) -> Array:
        codes = self.codes_of(features, take_unknown=self.handle_unknown == "use_encoded_value")
        encoded = np.empty((len(features), len(codes)))
        for place, (column, categories) in enumerate(zip(codes, self.categories_, strict=True)):
            known = np.arange(len(categories), dtype=float)
            if len(categories) and categories[-1] != categories[-1]:  # NaN
                known[-1] = self.encoded_missing_value
            encoded[:, place] = np.append(known, getattr(self, "unknown_value", np.nan))[column]
        return encoded


_CHECK = "sklearn.utils.validation.check_array"


class _Identity(Step):
    """A FunctionTransformer that passes on what it gets, perhaps as the array that histogram boosting makes of it."""

    func = None

    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        if estimator.validate:
            raise NotStoredError("refuses missing values")
        if estimator.func is None:
            return super().numbers_of(estimator)
        is_check = getattr(estimator.func, "keywords", {}) == {"dtype": [np.float64], "ensure_all_finite": False}
        if not (is_check and f"{estimator.func.func.__module__}.{estimator.func.func.__qualname__}" == _CHECK):
            raise NotStoredError("has a function")
        return super().numbers_of(estimator) | {"func": "check_array"}

    def transform(self, features: Any) -> Array:
        if not isinstance(features, pa.Table):
            return features  # type: ignore[no-any-return]
        if self.func is None and {*features.schema.types} != {pa.float64()}:
            raise NotStoredError("features of another type")
        return matrix_of(features)


class _ColumnTransformer(Step):
    attributes = ("transformers_", "output_indices_", "_transformer_to_input_indices")

    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        if estimator.sparse_output_ or estimator.transformer_weights is not None:
            raise NotStoredError("puts out sparse or weighted features")
        return super().numbers_of(estimator)

    def transform(self, features: Any) -> Array:
        named = ((step, self._transformer_to_input_indices[name]) for name, step, _ in self.transformers_)
        return np.hstack([step.transform(self._chosen(features, places)) for step, places in named if step != "drop" and places])

    def _chosen(self, features: Any, places: list[int]) -> Any:
        if not isinstance(features, pa.Table):
            return checked(self, features, missing=True, infinite=True)[:, places]
        names = getattr(self, "feature_names_in_", None)
        return features.select(places if names is None else [str(names[place]) for place in places])


class _Indicator(Step):
    attributes = ("features_",)


TRANSFORMERS: dict[str, type[Step]] = {
    "sklearn.pipeline.Pipeline": _Pipeline,
    "sklearn.preprocessing._data.StandardScaler": _Standard,
    "sklearn.preprocessing._data.MinMaxScaler": _MinMax,
    "sklearn.preprocessing._data.MaxAbsScaler": _MaxAbs,
    "sklearn.preprocessing._data.RobustScaler": _Robust,
    "sklearn.impute._base.SimpleImputer": _Imputer,
    "sklearn.impute._base.MissingIndicator": _Indicator,
    "sklearn.preprocessing._encoders.OneHotEncoder": _OneHot,
    "sklearn.preprocessing._encoders.OrdinalEncoder": _Ordinal,
    "sklearn.preprocessing._function_transformer.FunctionTransformer": _Identity,
    "sklearn.compose._column_transformer.ColumnTransformer": _ColumnTransformer,
}
