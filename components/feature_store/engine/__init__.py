"""Feast's own extension points on Polars.

They are named in a repository's ``feature_store.yaml``::

    offline_store:
      type: kfp_lifecycle.components.feature_store.engine.offline.PolarsOfflineStore
    batch_engine:
      type: kfp_lifecycle.components.feature_store.engine.compute.PolarsComputeEngine
    online_store:
      type: kfp_lifecycle.components.feature_store.engine.sqlite.ChunkedSqliteOnlineStore
      path: data/online.db

Each is chosen by itself; a repository with Feast's own stores works with all that is here.
"""
