"""The KFP face of ``feature-store-apply``."""

from typing import NamedTuple

from kfp import dsl

from kfp_lifecycle.components.shared.image import FEAST_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=FEAST_IMAGE, install_kfp_package=False)
def feature_store_apply(
    feature_store: str,
    definitions: dsl.Output[dsl.Markdown],
) -> NamedTuple("Outputs", [("registry_digest", str), ("changed", bool)]):
    """Writes the definitions of a Feast repository to its registry, and makes its stores ready for them.

    What ``feast apply`` does, also for a repository in a bucket. Applying the same again changes nothing.

    Args:
        feature_store: The Feast repository: a folder or gs://, s3:// URI that holds feature_store.yaml and
            the definitions in Python.
        definitions: What the registry holds now, as Markdown.

    Returns:
        registry_digest: Digest of the registry's definitions.
        changed: Whether they are others than before.

    Raises:
        FeatureStoreError: The repository or its stores cannot be opened, a definition fails, or another run
            is writing the registry.
        StorageError: The bucket cannot be read.
    """
    from kfp_lifecycle.components.feature_store_apply.step import feature_store_apply_step

    return feature_store_apply_step(feature_store=feature_store, definitions=definitions)
