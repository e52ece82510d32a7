"""A model of the guide's `user_statistics`, and the feature store that it takes them from."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from kfp_lifecycle.components.feature_store.materialize import materialize
from kfp_lifecycle.components.shared.inference.schema import Column, FeatureSource, TableSchema
from tests.components.feature_store.repositories import OWN, Users, history, make_users
from tests.components.trained import prepare, train

#: Column of the model to its feature.
STORED = {name: f"user_statistics:{name}" for name in ("purchases_7d", "amount_7d", "plan", "is_active")}
COMPUTED = {"basket_share": "basket_view:basket_share"}


def store(folder: Path, online: Mapping[str, Any] | None = None) -> Users:
    """A repository with values of three users online: 1 old, 2 fresh, 3 with a gap."""
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    rows = [
        (1, now - 40 * day, now - 40 * day, 9, 90.0, "basic", True),
        (2, now - 3 * day, now - 3 * day, 2, 20.0, "basic", True),
        (3, now - 2 * day, now - 2 * day, None, 5.5, None, False),
    ]
    settings = {**OWN, **({"online_store": dict(online)} if online else {})}
    users = make_users(folder, history(rows), settings)
    materialize(users.open(), ["user_statistics"], (now - 100 * day).isoformat())
    return users


def schema_with(schema: TableSchema, users: Users, service: str = "with_basket") -> TableSchema:
    """A schema whose columns come from the store where :data:`STORED` and :data:`COMPUTED` say so."""

    def column(given: Column) -> Column:
        reference = (STORED | COMPUTED).get(given.name, "")
        role = "key" if given.name == "user_id" else given.role
        return replace(given, reference=reference, nullable=bool(reference), role=role)

    request = ["basket"] if service == "with_basket" else []
    source = FeatureSource(users.uri, "shop", service, entities=["user_id"], event_time="at", request=request)
    return replace(schema, columns=[column(each) for each in schema.columns], feature_source=source)


def store_model(folder: Path, users: Users, service: str = "with_basket") -> Path:
    """A model of whether a user buys again, by the visits and what the store knows of it."""
    rng, rows = np.random.default_rng(0), 400
    amount, basket = rng.uniform(5, 100, rows), rng.uniform(1, 50, rows)
    table = pl.DataFrame(
        {
            "user_id": np.arange(rows),
            "visits": rng.integers(0, 9, rows),
            "basket": basket,
            "purchases_7d": rng.integers(0, 9, rows),
            "amount_7d": amount,
            "plan": rng.choice(["basic", "premium"], rows),
            "is_active": rng.random(rows) < 0.5,
            "basket_share": basket / amount,
        }
    )
    label = (table["amount_7d"] / 100 + table["visits"] / 9 + rng.normal(size=rows) > 1).replace_strict(
        {True: "yes", False: "no"}, return_dtype=pl.String
    )
    prepared = prepare(folder / "prepared", table.with_columns(label.alias("again")), "again", "binary")
    prepared = prepared.with_schema(
        folder / "with_store", **vars(schema_with(prepared.schema, users, service))
    )
    computed = [] if service == "with_basket" else list(COMPUTED)
    train(prepared, folder / "model", exclude=["user_id", "basket", *computed])
    return folder / "model"
