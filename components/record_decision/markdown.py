"""A decision as Markdown."""

import re

# What Markdown would read as more than text.
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|])")


def decision_page(decision: str, reasons: str, model_name: str) -> str:
    """The decision as a heading, the model, and the reasons as a list.

    Args:
        decision: What was decided, such as ``not deployed``.
        reasons: Why, one reason a line.
        model_name: The model that it is about; may be empty.
    """
    about = f"{_text(model_name)}: " if model_name else ""
    lines = [line.strip() for line in reasons.splitlines() if line.strip()]
    why = "\n".join(f"- {_text(line)}" for line in lines) or "No reason was given."
    return f"# {about}{_text(decision.strip())}\n\n{why}\n"


def _text(text: str) -> str:
    return _MARKS.sub(r"\\\1", text)
