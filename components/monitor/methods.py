"""How the two sides of a column are compared: by Evidently's methods, named as Evidently names them."""

from dataclasses import dataclass

#: This project's choice: a distance whose size matters, and a test of whether it is more than chance.
AUTO = "auto"
#: Evidently's choice by number of rows and of values, and its verdict.
EVIDENTLY = "evidently"


@dataclass(frozen=True)
class Method:
    """One of Evidently's methods.

    Args:
        name: Its name in Evidently.
        label: What Evidently's reports call it.
        threshold: Evidently's default threshold.
        numbers: Whether it compares columns of numbers.
        categories: Whether it compares columns of categories.
        is_p_value: Whether its score is a p-value: drift is then a score below the threshold.
        inclusive: Whether a score that equals the threshold is drift.
    """

    name: str
    label: str
    threshold: float
    numbers: bool
    categories: bool
    is_p_value: bool = False
    inclusive: bool = True

    def drifted(self, score: float, threshold: float) -> bool:
        """Evidently's verdict."""
        if self.inclusive and score == threshold:
            return True
        return score < threshold if self.is_p_value else score > threshold


#: Of Evidently's methods those that a summary of the rows is enough for, with its defaults (0.7.23).
METHODS = {
    method.name: method
    for method in (
        Method("wasserstein", "Wasserstein distance (normed)", 0.1, numbers=True, categories=False),
        Method("jensenshannon", "Jensen-Shannon distance", 0.1, numbers=True, categories=True),
        Method("psi", "PSI", 0.1, numbers=True, categories=True),
        Method("kl_div", "Kullback-Leibler divergence", 0.1, numbers=True, categories=True),
        Method("ks", "K-S p_value", 0.05, numbers=True, categories=False, is_p_value=True),
        Method(
            "chisquare",
            "chi-square p_value",
            0.05,
            numbers=False,
            categories=True,
            is_p_value=True,
            inclusive=False,
        ),
        Method("z", "Z-test p_value", 0.05, numbers=False, categories=True, is_p_value=True, inclusive=False),
    )
}


def evidently_choice(kind: str, reference_rows: int, distinct: int) -> str:
    """The method that Evidently itself would take for a column.

    The rule is that of ``evidently.legacy.calculations.stattests.registry`` (0.7.23).

    Args:
        kind: ``number`` or ``category``.
        reference_rows: Values in the reference.
        distinct: Distinct values of both sides together.
    """
    few = distinct <= 5
    if reference_rows > 1000:
        return "wasserstein" if kind == "number" and not few else "jensenshannon"
    if kind == "number" and not few:
        return "ks"
    return "chisquare" if distinct > 2 else "z"
