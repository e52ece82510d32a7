"""Whether tuning helped: default and best parameters, both fitted on all training rows, on the test rows.

The test rows have taken no part in the search. Both models are scored on the same resamples of them, so the
interval of their difference is a paired one (see :mod:`kfp_lifecycle.components.evaluate.bootstrap`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kfp_lifecycle.components.evaluate.bootstrap import UNDEFINED, Estimate, bootstrap
from kfp_lifecycle.components.evaluate.predictions import Scored

#: ``better`` or ``worse``: the interval leaves no doubt. ``unsure``: it holds 0. ``same``: the default
#: parameters were the best that the search found, so there is nothing to compare.
Verdict = Literal["better", "worse", "unsure", "same"]
#: Fits with these parameters over the fixed ones on all training rows, and predicts the test rows.
Refit = Callable[[Mapping[str, Any]], Scored]


@dataclass(frozen=True)
class Comparison:
    """The two models on the test rows.

    Args:
        rows: Number of test rows.
        default: Metrics of the model with the default parameters.
        best: Metrics of the model with the best parameters.
        differences: Metrics of best minus default.
        verdict: What the objective's difference says.
    """

    rows: int
    default: Mapping[str, Estimate]
    best: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]
    verdict: Verdict

    @property
    def helped(self) -> bool:
        """Whether tuning helped beyond doubt."""
        return self.verdict == "better"


def compare(
    refit: Refit,
    best: Mapping[str, Any],
    metric: str,
    maximize: bool,
    *,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 42,
) -> Comparison:
    """Fits both models on all training rows and scores them on the test rows.

    Args:
        refit: Fits and scores; raises what it does.
        best: The best parameters; empty where the default is the best.
        metric: The objective, as it is called on the test rows.
        maximize: Whether more of it is better.
        samples: Number of resamples.
        confidence: Coverage of the intervals, 0 to 1.
        seed: Seed of the resamples.
    """
    scored = [refit(parameters) for parameters in ([{}, best] if best else [{}])]
    found = bootstrap(scored[::-1], samples, confidence, seed)
    default, rows = found.models[-1], scored[0].rows
    if not best:
        return Comparison(rows, default, default, {}, "same")
    differences = found.differences[0]
    verdict = _verdict(differences.get(metric, UNDEFINED), maximize)
    return Comparison(rows, default, found.models[0], differences, verdict)


def _verdict(difference: Estimate, maximize: bool) -> Verdict:
    if difference.low > 0:
        return "better" if maximize else "worse"
    if difference.high < 0:
        return "worse" if maximize else "better"
    return "unsure"
