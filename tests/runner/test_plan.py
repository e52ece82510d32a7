"""The steps that a compiled file will run."""

from kfp import dsl

from kfp_lifecycle.runner.plan import plan
from tests.runner.components import make, say, take
from tests.runner.conftest import Compile


@dsl.pipeline
def inner(text: str):
    take(data=make(text=text).outputs["data"])


@dsl.pipeline
def everything(which: str = "a", items: list = ["a"]):  # noqa: B006 - KFP's own way
    first = say(text="first").set_retry(2)
    inner(text="nested").after(first)
    with dsl.If(which == "a"):
        say(text="branch").after(first)
        with dsl.ParallelFor(items) as item:
            say(text=item)


def test_every_step_is_known_before_the_run(compiled: Compile) -> None:
    steps = {step.name: step for step in plan(compiled(everything).spec)}

    assert set(steps) == {"say", "inner / make", "inner / take", "say-2", "say-3"}
    names = list(steps)
    assert names.index("say") < names.index("inner / make") < names.index("inner / take")
    assert names.index("say") < names.index("say-2")
    assert [step.name for step in steps.values() if step.in_loop] == ["say-3"]
    assert steps["say"].retries == 2
    condition = "inputs.parameter_values['pipelinechannel--which'] == 'a'"
    assert steps["say-2"].conditions == steps["say-3"].conditions == (condition,)
    assert steps["say"].conditions == ()


def test_no_two_steps_share_a_component(compiled: Compile) -> None:
    """Steps are told apart by it."""

    @dsl.pipeline
    def twice():
        inner(text="1")
        inner(text="2")
        say(text="3")
        say(text="4")

    steps = plan(compiled(twice).spec)
    assert len({step.component for step in steps}) == len(steps) == 6
