"""Runs a compiled pipeline or component on this machine, by kfp.local. A library: nothing here prints."""
