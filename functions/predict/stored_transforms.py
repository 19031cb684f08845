"""The steps that prepare features for a stored model, to the bit as scikit-learn's do: see stored_steps.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stored_steps import NotStoredError, Step, checked

if TYPE_CHECKING:
    from tree_kernel import Array


class _Pipeline(Step):
    attributes = ("steps",)

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
    attributes = ("statistics_", "strategy", "indicator_")

    @classmethod
    def numbers_of(cls, estimator: Any) -> dict[str, Any]:
        missing, statistics = estimator.missing_values, estimator.statistics_
        if not (isinstance(missing, float) and np.isnan(missing) and estimator._fill_dtype == np.float64):  # noqa: SLF001
            raise NotStoredError("fills in more than missing numbers")
        if np.isnan(statistics.astype(np.float64)).any():
            raise NotStoredError("leaves out empty columns")
        return super().numbers_of(estimator)

    def transform(self, features: Any) -> Array:
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
}
