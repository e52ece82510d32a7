"""Colours and lines, for light and dark backgrounds."""

from kfp_lifecycle.compiler.graph.model import Flow, Kind

#: Artifact type to the family that it is coloured as; other types are "Artifact".
FAMILIES = {
    "Dataset": "dataset",
    "Model": "model",
    "Metrics": "metrics",
    "ClassificationMetrics": "metrics",
    "SlicedClassificationMetrics": "metrics",
    "HTML": "report",
    "Markdown": "report",
}

#: Family to its name in the legend, in the legend's order.
LEGEND = {
    "dataset": "Dataset",
    "model": "Model",
    "metrics": "Metrics",
    "report": "Report",
    "artifact": "Artifact",
    "parameter": "Parameter",
    "order": "Order only",
}

#: Name to its colour on a light and on a dark ground.
COLOURS = {
    "dataset": ("#1f6feb", "#6cb0ff"),
    "model": ("#8250df", "#be9cff"),
    "metrics": ("#15803d", "#56d08b"),
    "report": ("#b45309", "#f2ab53"),
    "artifact": ("#0e7490", "#4cc5de"),
    "parameter": ("#6b7688", "#8f9db2"),
    "order": ("#6b7688", "#8f9db2"),
    "condition": ("#b7791f", "#e3b35c"),
    "branches": ("#64748b", "#8b9bb2"),
    "loop": ("#4f5fd0", "#98a5ff"),
    "exit-handler": ("#be3f5c", "#f58ba2"),
    "pipeline": ("#64748b", "#8b9bb2"),
    "ground": ("#fafbfd", "#11151c"),
    "card": ("#ffffff", "#1b222d"),
    "rim": ("#c6cfdb", "#3d4959"),
    "text": ("#18212f", "#e7ecf4"),
    "quiet": ("#566274", "#a3b0c2"),
    "badge": ("#edf1f6", "#293341"),
}

#: Present on most machines, and as wide as the table in ``text``; the first is the one for PNG.
FONT_FAMILY = "Roboto, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"


def family(flow: Flow, kind: str) -> str:
    """The colour family of what flows through a port or edge."""
    if flow is not Flow.ARTIFACT:
        return flow.value
    return FAMILIES.get(kind.removeprefix("list of "), "artifact")


def name(kind: Kind) -> str:
    """A kind of node as a class name."""
    return kind.value.replace(" ", "-")


def sheet() -> str:
    """The style sheet: everything light, and what is other on a dark ground."""
    light = {key: colours[0] for key, colours in COLOURS.items()}
    dark = {key: colours[1] for key, colours in COLOURS.items()}
    fixed = (
        f"text{{font-family:{FONT_FAMILY}}}"
        ".heading{font-size:19px;font-weight:700}.title{font-size:14px;font-weight:700}.note{font-size:12px}"
        ".port,.badge text,.legend{font-size:11px}.kind{font-size:10px;font-weight:700;letter-spacing:.6px}"
        ".line{fill:none;stroke-width:1.7;stroke-linejoin:round}.line.parameter{stroke-width:1.2}"
        ".line.order{stroke-width:1.2;stroke-dasharray:4 3}"
        ".group.branches rect,.group.pipeline rect{stroke-dasharray:5 4}"
    )
    return f"{fixed}{_colours(light)}@media (prefers-color-scheme:dark){{{_colours(dark)}}}"


def _colours(of: dict[str, str]) -> str:
    rules = [
        f".ground{{fill:{of['ground']}}}",
        f".card{{fill:{of['card']};stroke:{of['rim']}}}",
        f".heading,.title{{fill:{of['text']}}}",
        f".note,.port,.legend,.badge text{{fill:{of['quiet']}}}",
        f".badge rect{{fill:{of['badge']}}}",
    ]
    for key in LEGEND:
        rules.append(f".line.{key}{{stroke:{of[key]}}}.dot.{key},.arrow.{key}{{fill:{of[key]}}}")
        rules.append(f".end.{key} rect{{stroke:{of[key]}}}")
    for key in ("condition", "branches", "loop", "exit-handler", "pipeline"):
        rules.append(
            f".group.{key} rect{{fill:{_tint(of, key)};stroke:{of[key]}}}.{key} .kind{{fill:{of[key]}}}"
        )
    return "".join(rules)


def _tint(of: dict[str, str], key: str) -> str:
    """The ground with a little of a colour in it; not see-through, or groups in groups would turn muddy."""
    ground, colour = (bytes.fromhex(of[name][1:]) for name in ("ground", key))
    return "#" + bytes((93 * g + 7 * c) // 100 for g, c in zip(ground, colour, strict=True)).hex()
