"""Reusable Kubeflow Pipelines components, one folder each.

``from kfp_lifecycle.components.prepare import prepare`` gives the KFP component;
``kfp_lifecycle.components.prepare.table`` and its neighbours are plain functions.
"""
