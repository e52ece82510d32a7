"""Runs compiled pipeline files. A library: nothing here prints."""
