"""A search as it is written: one YAML file, or the same as one JSON text in a KFP parameter.

::

    objective: {metric: roc_auc, additional_metrics: [log_loss]}
    algorithm: tpe
    max_trials: 30
    parallel_trials: 2
    parameters:
      learning_rate: {type: float, min: 0.01, max: 0.3, log: true}
      max_depth: {type: int, min: 2, max: 8}

As a text, not a KFP dict: KFP makes the 2 in a dict into 2.0.
"""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kfp_lifecycle.components.katib_tune.metrics import main_metric, trial_metrics
from kfp_lifecycle.components.katib_tune.objective import Objective, TuneSettings, check_fits
from kfp_lifecycle.components.katib_tune.space import SearchSpace
from kfp_lifecycle.components.shared.errors import TuningError

__all__ = ["parse_search", "read_search"]


def read_search(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """The mapping that a search is written as.

    Args:
        given: The mapping itself, its JSON or YAML text, or the path of a file with either.

    Raises:
        TuningError: It is none of these, or names a key twice.
    """
    if isinstance(given, Mapping):
        return dict(given)
    text, where = given, "The search"
    if "\n" not in given and given.strip().endswith((".yaml", ".yml", ".json")):
        where = f"The search in {given.strip()}"
        try:
            text = Path(given.strip()).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TuningError(f"{where} cannot be read: {error}.", "Check the path.") from error
    try:
        found = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise TuningError(f"{where} is not YAML or JSON: {error}", "Correct it there.") from error
    if not isinstance(found, dict):
        raise TuningError(f"{where} is {found!r}.", "Write it as parameters: {max_depth: {type: int, …}}.")
    return found


def parse_search(
    given: Mapping[str, Any], task: str, trainer: str = "train"
) -> tuple[SearchSpace, Objective, TuneSettings]:
    """What a search says, checked as far as it can be without the trainer.

    Args:
        given: As :func:`read_search` gives it.
        task: ``binary``, ``multiclass`` or ``regression``: trials print the metrics of it.
        trainer: The component that they run.

    Raises:
        TuningError: Names what is wrong, and the nearest right name.
    """
    rest = dict(given)
    space = SearchSpace.parse(rest.pop("parameters", {}))
    known, default = trial_metrics(task, trainer), main_metric(task, trainer)
    objective = Objective.parse(rest.pop("objective", None), known, default)
    settings = TuneSettings.parse(rest)
    check_fits(space, settings)
    return space, objective, settings


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice, of which PyYAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise TuningError(f"The search has {key!r} twice.", "Give it once.")
        return super().construct_mapping(node, deep)
