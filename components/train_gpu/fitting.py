"""From feature tables to a trained network: what a training, a tuning's trial and its refits share."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kfp_lifecycle.components.shared.inference.schema import TableSchema
from kfp_lifecycle.components.train.weights import ClassWeight, parse_class_weight
from kfp_lifecycle.components.train_gpu.batches import Batches, make_batches
from kfp_lifecycle.components.train_gpu.checkpoint import Checkpoints, fingerprint
from kfp_lifecycle.components.train_gpu.device import Device
from kfp_lifecycle.components.train_gpu.distributed import Group
from kfp_lifecycle.components.train_gpu.export import Layout, export_network
from kfp_lifecycle.components.train_gpu.features import Tables
from kfp_lifecycle.components.train_gpu.loop import Fitted, Watcher, fit
from kfp_lifecycle.components.train_gpu.losses import Target
from kfp_lifecycle.components.train_gpu.network import OWN, TabularNetwork, build_network
from kfp_lifecycle.components.train_gpu.options import NetworkOptions
from kfp_lifecycle.components.train_gpu.statistics import measure


def fit_tables(
    tables: Tables,
    schema: TableSchema,
    options: NetworkOptions,
    device: Device,
    group: Group,
    watchers: Sequence[Watcher] = (),
    *,
    exported: bool = True,
) -> Fitted:
    """Builds a network for the tables and trains it on them.

    Args:
        tables: From :func:`.features.make_tables`.
        schema: The schema of their rows.
        options: How to train.
        device: Where.
        group: This process among those that train together.
        watchers: Told of each epoch.
        exported: Whether the network is for a model: then a user's module is tried in an export first.

    Raises:
        ParameterError: An option does not fit the table.
        EstimatorError: The network cannot be imported, built, trained or exported.
        DeviceError: Memory is too small.
        CheckpointError: The checkpoints are of another training, or none can be read.
        StorageError: A table cannot be read, or a checkpoint be written.
    """
    batches = _batches(tables, tables.fit, schema, options, device, group)
    judge = _batches(tables, tables.judge, schema, options, device, group) if tables.judge else None
    target = Target.of(schema, tables.centre, tables.scale)
    network = build_network(tables.spec, measure(batches, group), target.outputs, options)
    if exported and group.is_main and options.network not in OWN:
        # A user's module may be no graph: that is to be known before it has been trained.
        export_network(network, layout(tables, schema), options.network)
    return fit(
        network,
        batches,
        judge,
        target,
        options,
        device,
        group=group,
        checkpoints=_checkpoints(tables, schema, options, network),
        watchers=watchers,
    )


def layout(tables: Tables, schema: TableSchema) -> Layout:
    """Which features of the transform the network takes as what."""
    places = {name: place for place, name in enumerate(tables.transform.get_feature_names_out())}
    numbers = [places[name] for name in tables.spec.numbers]
    codes = [places[name] for name in tables.spec.codes]
    return Layout(numbers, codes, schema.task, tables.centre, tables.scale)


def _batches(
    tables: Tables,
    table: Path,
    schema: TableSchema,
    options: NetworkOptions,
    device: Device,
    group: Group,
) -> Batches:
    weight = parse_class_weight(options.class_weight, schema)
    return make_batches(
        table,
        tables.spec,
        schema,
        batch_size=options.batch_size,
        device=device.torch,
        shuffle=table == tables.fit,
        seed=options.seed,
        rank=group.rank,
        world=group.world,
        memory=options.memory,
        class_weights=_class_weights(weight, tables.class_counts),
        centre=tables.centre,
        scale=tables.scale,
    )


def _class_weights(weight: ClassWeight, counts: Sequence[int]) -> list[float] | None:
    """The weight of a row by its class; balanced is what scikit-learn calls so."""
    if weight is None:
        return None
    if isinstance(weight, Mapping):
        return [weight[code] for code in range(len(counts))]
    there = sum(count > 0 for count in counts)
    return [sum(counts) / (there * count) if count else 0.0 for count in counts]


def _checkpoints(
    tables: Tables, schema: TableSchema, options: NetworkOptions, network: TabularNetwork
) -> Checkpoints | None:
    if not options.checkpoint_uri:
        return None
    about = fingerprint(options, schema, tables.spec, tables.fit_rows, network)
    return Checkpoints(
        options.checkpoint_uri,
        about,
        minutes=options.checkpoint_minutes,
        epochs=options.checkpoint_epochs,
    )
