"""Names of the columns that a prediction has."""

#: The predicted label (in the target's own type), or the predicted number.
PREDICTION = "prediction"


def probability_column(label: str) -> str:
    """The column with the probability of one class, named by the class's label as text."""
    return f"probability_{label}"
