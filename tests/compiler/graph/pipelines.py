"""Pipelines to draw, with everything that KFP can put into one."""

from typing import NamedTuple

from kfp import dsl, kubernetes


@dsl.component(base_image="python:3.11")
def flip() -> str:
    return "heads"


@dsl.component(base_image="python:3.11")
def say(text: str) -> str:
    return text


@dsl.component(base_image="python:3.11")
def make(n: int, data: dsl.Output[dsl.Dataset], metrics: dsl.Output[dsl.Metrics]) -> list[int]:
    return [n]


@dsl.component(base_image="python:3.11")
def fit(data: dsl.Input[dsl.Dataset], model: dsl.Output[dsl.Model], lr: float = 0.1) -> float:
    return lr


@dsl.component(base_image="python:3.11")
def join(models: dsl.Input[list[dsl.Model]], scores: list, page: dsl.Output[dsl.HTML]) -> str:
    return "best"


@dsl.component(base_image="python:3.11")
def publish(model: dsl.Input[dsl.Model], where: str):
    pass


@dsl.component(base_image="python:3.11")
def notify(status: dsl.PipelineTaskFinalStatus, to: str):
    pass


@dsl.component(base_image="python:3.11")
def merge(
    left: dsl.Input[dsl.Dataset], right: dsl.Input[dsl.Dataset], merged: dsl.Output[dsl.Dataset]
) -> int:
    return 1


@dsl.pipeline(name="chain")
def chain(n: int):
    made = make(n=n)
    fitted = fit(data=made.outputs["data"])
    publish(model=fitted.outputs["model"], where="here")


@dsl.pipeline(name="conditions")
def conditions(deploy: bool = True, limit: int = 5):
    coin = flip()
    made = make(n=limit)
    with dsl.If(coin.output == "heads", name="heads branch"):
        heads = say(text="h")
    with dsl.Elif(coin.output == "tails"):
        tails = say(text="t")
        say(text=tails.output)
    with dsl.Else():
        edge = say(text="edge")
    say(text=dsl.OneOf(heads.output, tails.output, edge.output))
    with dsl.If(deploy == True):  # noqa: E712
        fit(data=made.outputs["data"])
        with dsl.If(limit > 3):
            fit(data=made.outputs["data"])


@dsl.pipeline(name="loops")
def loops(items: list[str] = ["a"], rates: list[float] = [0.1]):  # noqa: B006
    made = make(n=3)
    with dsl.ParallelFor(items, parallelism=2) as item:
        said = say(text=item)
        with dsl.ParallelFor([{"lr": 0.1, "n": 2}, {"lr": 0.2, "n": 3}]) as options:
            fit(data=made.outputs["data"], lr=options.lr)
        with dsl.ParallelFor(["x", "y"]):
            say(text=said.output)
    with dsl.ParallelFor(made.outputs["Output"]) as number:
        say(text=str(number))
    with dsl.ParallelFor(rates) as rate:
        fitted = fit(data=made.outputs["data"], lr=rate)
    join(
        models=dsl.Collected(fitted.outputs["model"]),
        scores=dsl.Collected(fitted.outputs["Output"]),
    )


@dsl.pipeline(name="exits")
def exits(to: str = "ops"):
    with dsl.ExitHandler(notify(to=to), name="guarded work"):
        made = make(n=3)
        fitted = fit(data=made.outputs["data"])
        fitted.set_retry(3, backoff_duration="30s", backoff_factor=2.0)
        fitted.set_caching_options(False)
        fitted.set_cpu_request("2").set_cpu_limit("4").set_memory_limit("16G")
        fitted.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(2)
        kubernetes.add_node_selector(fitted, "pool", "gpu")
        kubernetes.use_secret_as_env(fitted, "mlflow", {"password": "MLFLOW_TRACKING_PASSWORD"})
        kubernetes.mount_pvc(fitted, "claim", "/mnt")
        kubernetes.set_timeout(fitted, 3600)
        say(text="after").after(fitted)


@dsl.pipeline(name="inner")
def inner(data: dsl.Input[dsl.Dataset], where: str) -> NamedTuple(
    "Outputs", [("model", dsl.Model), ("score", float)]
):
    fitted = fit(data=data)
    publish(model=fitted.outputs["model"], where=where)
    outputs = NamedTuple("Outputs", [("model", dsl.Model), ("score", float)])  # noqa: UP014
    return outputs(model=fitted.outputs["model"], score=fitted.outputs["Output"])


@dsl.pipeline(name="nested")
def nested(uri: str = "gs://bucket/data") -> dsl.Model:
    imported = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, reimport=False)
    done = inner(data=imported.output, where="there")
    say(text="done").after(done)
    with dsl.If(done.outputs["score"] > 0.5):
        publish(model=done.outputs["model"], where="production")
    return done.outputs["model"]


@dsl.pipeline(name="deep")
def deep(flag: str = "go", names: list[str] = ["a"]):  # noqa: B006
    with dsl.ExitHandler(notify(to="ops")):
        coin = flip()
        with dsl.If(coin.output == "heads"), dsl.ParallelFor(names) as name:
            made = make(n=3)
            with dsl.If(flag == "go"), dsl.ParallelFor([0.1, 0.2]) as lr:
                fitted = fit(data=made.outputs["data"], lr=lr)
                publish(model=fitted.outputs["model"], where=name)
        with dsl.Elif(coin.output == "a text that is so long that it has to be wrapped, and then cut " * 3):
            imported = dsl.importer(artifact_uri="gs://b/x", artifact_class=dsl.Dataset)
            inner(data=imported.output, where=coin.output)
        with dsl.Else():
            say(text="no")


@dsl.pipeline(name="thirty-tasks")
def thirty():
    tables = []
    for source in ("orders", "customers", "visits", "products", "weather", "stores"):
        made = make(n=1).set_display_name(f"extract {source}")
        tables.append(made.outputs["data"])
    merged = [tables[0]]
    for table in tables[1:]:
        both = merge(left=merged[-1], right=table)
        say(text=f"{both.outputs['Output']} rows")
        merged.append(both.outputs["merged"])
    fitted = [fit(data=table, lr=rate / 10) for rate, table in enumerate(merged)]
    for task in fitted:
        publish(model=task.outputs["model"], where="staging").after(fitted[0])


@dsl.pipeline(name="wide")
def wide():
    made = make(n=1)
    for number in range(12):
        task = fit(data=made.outputs["data"], lr=number / 10)
        task.set_display_name(f"a model with a learning rate of {number / 10} and a long name")


ALL = (chain, conditions, loops, exits, nested, deep, thirty, wide)
