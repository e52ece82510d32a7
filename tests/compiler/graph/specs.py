"""Pipeline specs at random: groups in groups, links of every kind, names from hell."""

from typing import Any

from hypothesis import strategies as st

Spec = dict[str, Any]

#: Names with everything that XML, Mermaid, YAML or a terminal could stumble over.
NAMES = st.one_of(
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "]]>&amp;&quot;",
            "\"quoted\" 'single' `back`",
            "a\nb\tc\x00d\x1b[31m",
            "end",
            "subgraph x",
            "%%{init: {}}%%",
            "\u202eright to left",
            "汉字漢字カタカナ한글",
            "\ud800",
            "\uffff",
            "emoji 🚀🚀",
            "x" * 300,
            "a_very_long_name_with_underscores_that_never_ends_and_goes_on",
            "http://example.com/x?y=1&z=2",
            "",
            " ",
            "root/child",
            "pipelinechannel--x",
        ]
    ),
    st.text(max_size=30),
)

_TYPES = ("system.Dataset", "system.Model", "system.HTML", "google.VertexModel", "system.Artifact")


@st.composite
def specs(draw: st.DrawFn) -> tuple[Spec, Spec]:
    """A pipeline spec and its platform spec."""
    spec: Spec = {
        "pipelineInfo": {"name": draw(NAMES)},
        "components": {},
        "deploymentSpec": {"executors": {}},
    }
    platform: Spec = {}
    spec["root"] = {"dag": _dag(draw, spec, platform, {}, depth=0)}
    return spec, {"platforms": {"kubernetes": {"deploymentSpec": {"executors": platform}}}}


def _dag(draw: st.DrawFn, spec: Spec, platform: Spec, given: dict[str, str], depth: int) -> Spec:
    """One graph; ``given`` are the names of the parameters and artifacts that the group has as inputs."""
    tasks: Spec = {}
    outputs: dict[str, tuple[str, str]] = {}
    for key in draw(st.lists(NAMES, min_size=1, max_size=6 if depth == 0 else 3, unique=True)):
        task, made = _task(draw, spec, platform, given, outputs, list(tasks), depth)
        tasks[key] = task
        outputs |= {f"{flow} {key} {name}": (key, name) for flow, name in made}
    return {"tasks": tasks}


def _task(
    draw: st.DrawFn,
    spec: Spec,
    platform: Spec,
    given: dict[str, str],
    outputs: dict[str, tuple[str, str]],
    earlier: list[str],
    depth: int,
) -> tuple[Spec, list[tuple[str, str]]]:
    inputs: Spec = {"parameters": {}, "artifacts": {}}
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    for name in names:
        source = draw(st.sampled_from(["constant", *given, *outputs]))
        if source in outputs:
            flow = source.split(" ")[0]
            task, output = outputs[source]
            made = f"taskOutput{flow.title()}"
            inputs[f"{flow}s"][name] = {made: {"producerTask": task, f"output{flow.title()}Key": output}}
        elif source in given:
            inputs[f"{given[source]}s"][name] = {f"componentInput{given[source].title()}": source}
        else:
            inputs["parameters"][name] = {"runtimeValue": {"constant": draw(NAMES)}}
    label = f"comp-{len(spec['components'])}"
    spec["components"][label] = {}
    made = draw(
        st.lists(st.tuples(st.sampled_from(["parameter", "artifact"]), NAMES), max_size=4, unique=True)
    )
    task: Spec = {
        "componentRef": {"name": label},
        "taskInfo": {"name": draw(NAMES)},
        "inputs": inputs,
        "dependentTasks": draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else [],
    }
    _policies(draw, task, names)
    spec["components"][label] = _component(draw, spec, platform, inputs, made, depth, label)
    return task, made


def _policies(draw: st.DrawFn, task: Spec, names: list[str]) -> None:
    if draw(st.booleans()):
        operand = f"inputs.parameter_values['{draw(st.sampled_from([*names, 'x']))}']"
        task["triggerPolicy"] = {"condition": f"int({operand}) > 3 && {draw(NAMES)}"}
    if draw(st.booleans()):
        items = {"raw": draw(NAMES)} if not names else {"inputParameter": names[0]}
        task["parameterIterator"] = {"items": items, "itemInput": "item"}
        task["iteratorPolicy"] = {"parallelismLimit": 2}
    if draw(st.booleans()):
        task["retryPolicy"] = {"maxRetryCount": 3}


def _component(
    draw: st.DrawFn,
    spec: Spec,
    platform: Spec,
    inputs: Spec,
    made: list[tuple[str, str]],
    depth: int,
    label: str,
) -> Spec:
    declared: Spec = {"artifacts": {}, "parameters": {}}
    for flow, name in made:
        kind = {"artifactType": {"schemaTitle": draw(st.sampled_from(_TYPES))}}
        declared[f"{flow}s"][name] = kind if flow == "artifact" else {"parameterType": "STRING"}
    component: Spec = {"outputDefinitions": declared}
    if depth < 3 and draw(st.booleans()):
        inner = dict.fromkeys((*inputs["parameters"], "item"), "parameter")
        inner |= dict.fromkeys(inputs["artifacts"], "artifact")
        component["dag"] = _dag(draw, spec, platform, inner, depth + 1)
        component["dag"]["outputs"] = _given_out(draw, component["dag"]["tasks"], spec, made)
    else:
        component["executorLabel"] = label
        resources = {"resourceCpuLimit": draw(NAMES), "resourceMemoryRequest": "1G"}
        spec["deploymentSpec"]["executors"][label] = {
            "container": {"image": draw(NAMES), "resources": resources}
        }
        platform[label] = {"secretAsEnv": [{}], "activeDeadlineSeconds": draw(NAMES)}
    return component


def _given_out(draw: st.DrawFn, tasks: Spec, spec: Spec, made: list[tuple[str, str]]) -> Spec:
    given: Spec = {"artifacts": {}, "parameters": {}}
    for flow, name in made:
        key = draw(st.sampled_from(list(tasks)))
        label = tasks[key]["componentRef"]["name"]
        inside = spec["components"][label]["outputDefinitions"][f"{flow}s"]
        if inside:
            chosen = {"producerSubtask": key, f"output{flow.title()}Key": draw(st.sampled_from(list(inside)))}
            several = flow == "artifact"
            given[f"{flow}s"][name] = (
                {"artifactSelectors": [chosen]} if several else {"valueFromParameter": chosen}
            )
    return given
