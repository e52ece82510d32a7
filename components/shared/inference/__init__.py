"""What travels inside every model: settling raw rows, the fitted transform, prediction.

This package is copied into each Model artifact under a name of its own (see ``shared/model_format.py``),
so that a model loads with plain MLflow where kfp-lifecycle is not installed, and an installed other
version does not shadow it. Two rules follow: it imports only NumPy, pandas, Polars, scikit-learn and the
standard library (and PyTorch where the model is a network), and its modules import each other relatively.
"""
