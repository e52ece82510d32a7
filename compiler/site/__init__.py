"""The catalog as a static site: a page for each component and pipeline, and an index with search."""

from kfp_lifecycle.compiler.site.pages import outdated, site

__all__ = ["outdated", "site"]
