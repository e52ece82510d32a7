"""What changes between two compiled files, and who notices."""

from kfp_lifecycle.compiler.diff.change import BUMPS, KINDS, Category, Change, Kind, Subject
from kfp_lifecycle.compiler.diff.compare import bump, diff, to_json

__all__ = ["BUMPS", "KINDS", "Category", "Change", "Kind", "Subject", "bump", "diff", "to_json"]
