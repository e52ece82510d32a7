"""Pipelines of the components, one file each."""
