"""What the ``feature-store-apply`` component's body calls."""

import logging
from typing import NamedTuple

from kfp_lifecycle.components.feature_store.apply import Applied, apply
from kfp_lifecycle.components.shared.outputs import OutputArtifact, whole_file
from kfp_lifecycle.components.shared.step import step

log = logging.getLogger(__name__)


class Outputs(NamedTuple):
    """The component's output parameters."""

    registry_digest: str
    changed: bool


@step(outputs=("definitions",))
def feature_store_apply_step(*, feature_store: str, definitions: OutputArtifact) -> Outputs:
    """Applies a repository and says what its registry holds; see the component for the errors."""
    applied = apply(feature_store)
    with whole_file(definitions.path) as file:
        file.write_text(_markdown(applied), encoding="utf-8")
    log.info("project %s: %s", applied.project, "changed" if applied.changed else "nothing to change")
    return Outputs(applied.digest, applied.changed)


def _markdown(applied: Applied) -> str:
    lines = [f"# Feature store `{applied.project}`", "", f"Registry `{applied.digest}`", ""]
    for kind, names in applied.objects.items():
        lines.append(f"- {kind}: {', '.join(f'`{name}`' for name in names)}")
    return "\n".join(lines) + "\n"
