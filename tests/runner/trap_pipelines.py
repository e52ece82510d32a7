"""Pipelines that kfp.local gets wrong (``bad_…``), and their neighbours that it gets right (``good_…``)."""

from kfp import dsl, kubernetes

from tests.runner.components import listed, make, one_list, optional, pair, say, several, take, take_with


@dsl.container_component
def container():
    return dsl.ContainerSpec(image="alpine", command=["echo", "hello"])


@dsl.component(base_image="python:3.11", target_image="registry.test/inside:1")
def containerized(text: str) -> str:
    return text


@dsl.component(base_image="python:3.11", packages_to_install=["a-package"])
def installing(text: str) -> str:
    return text


@dsl.pipeline
def inner_artifact(data: dsl.Input[dsl.Dataset]) -> str:
    return take(data=data).output


@dsl.pipeline
def inner_both(data: dsl.Input[dsl.Dataset], text: str) -> str:
    return take_with(data=data, text=text).output


@dsl.pipeline
def inner_optional(text: str = None):  # noqa: RUF013 - this is how users write it
    say(text=text)


@dsl.pipeline
def bad_container():
    container()


@dsl.pipeline
def bad_containerized():
    containerized(text="a")


@dsl.pipeline
def bad_nested_artifact():
    inner_artifact(data=make(text="a").outputs["data"])


@dsl.pipeline
def good_nested_artifact():
    inner_both(data=make(text="a").outputs["data"], text="b")


@dsl.pipeline
def bad_one_of(which: str = "a"):
    with dsl.If(which == "a"):
        first = make(text="1")
    with dsl.Else():
        second = make(text="2")
    take(data=dsl.OneOf(first.outputs["data"], second.outputs["data"]))


@dsl.pipeline
def good_one_of(which: str = "a"):
    with dsl.If(which == "a"):
        first = say(text="1")
    with dsl.Else():
        second = say(text="2")
    say(text=dsl.OneOf(first.output, second.output))


@dsl.pipeline
def bad_loop_over_named():
    with dsl.ParallelFor(several().outputs["names"]) as item:
        say(text=item)


@dsl.pipeline
def good_loop_over_single():
    with dsl.ParallelFor(one_list().output) as item:
        say(text=item)


@dsl.pipeline
def bad_outer_output_in_loop():
    outer = say(text="outer")
    with dsl.ParallelFor(["1", "2"]) as item:
        pair(left=outer.output, right=item)


@dsl.pipeline
def bad_items_in_loop():
    items = one_list()
    with dsl.ParallelFor(items.output) as item:
        say(text=item)
        listed(items=items.output)


@dsl.pipeline
def good_outer_artifact_in_loop():
    outer = make(text="outer")
    with dsl.ParallelFor(["1", "2"]) as item:
        take_with(data=outer.outputs["data"], text=item)


@dsl.pipeline
def bad_loop_in_loop(outer: list = ["1", "2"], inner: list = ["a", "b"]):  # noqa: B006 - KFP's own way
    with dsl.ParallelFor(outer) as left, dsl.ParallelFor(inner) as right:
        pair(left=left, right=right)


@dsl.pipeline
def good_loop_in_loop():
    with dsl.ParallelFor(["1", "2"]) as left, dsl.ParallelFor(["a", "b"]) as right:
        pair(left=left, right=right)


@dsl.pipeline
def bad_text_of_two_items():
    with dsl.ParallelFor(["1", "2"]) as left, dsl.ParallelFor(["a", "b"]) as right:
        say(text=f"{left}-{right}")


@dsl.pipeline
def bad_if_on_named():
    with dsl.If(several().outputs["flag"] == True):  # noqa: E712 - a condition of KFP
        say(text="held")


@dsl.pipeline
def good_if_else_on_named():
    with dsl.If(several().outputs["flag"] == True):  # noqa: E712 - a condition of KFP
        say(text="held")
    with dsl.Else():
        say(text="did not hold")


@dsl.pipeline
def good_if_on_single():
    with dsl.If(say(text="yes").output == "yes"):
        say(text="held")


@dsl.pipeline
def bad_none_default(text: str = None):  # noqa: RUF013 - this is how users write it
    say(text=text)


@dsl.pipeline
def bad_none_inside():
    inner_optional()


@dsl.pipeline
def bad_none_integer():
    optional(text="a")


@dsl.pipeline
def good_none_text():
    optional(number=1)


@dsl.pipeline
def noted():
    task = say(text="a")
    task.set_cpu_limit("1").set_memory_limit("1G")
    kubernetes.use_secret_as_env(task, "a-secret", {"key": "A_TOKEN_THAT_IS_NOT_SET"})
    kubernetes.mount_pvc(task, pvc_name="a-claim", mount_path="/data")
    kubernetes.add_toleration(task, key="gpu", operator="Exists")
    kubernetes.add_node_selector(task, "gpu", "yes")
    dsl.importer(artifact_uri="gs://bucket/model", artifact_class=dsl.Model)
