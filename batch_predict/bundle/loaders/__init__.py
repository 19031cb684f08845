"""Modules that load models which joblib does not: each is copied alone into a bundle, as `bundle_loader.py`, and runs there.

A loader has `load(path)`, which returns an estimator as the prediction function expects one: `predict`, and if it has them
`predict_proba`, `classes_`, `feature_names_in_`, `n_features_in_` and `column_types_` (docs/prediction_handler.md).
"""
