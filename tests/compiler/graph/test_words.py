"""Expressions as people read them."""

import pytest

from kfp_lifecycle.compiler.graph import words

NAMES = {"pipelinechannel--flip-Output": "flip", "pipelinechannel--n": "n"}


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        ("inputs.parameter_values['pipelinechannel--flip-Output'] == 'heads'", "flip == 'heads'"),
        ("int(inputs.parameter_values['pipelinechannel--n']) > 3", "n > 3"),
        (
            "double(inputs.parameter_values['pipelinechannel--n']) <= "
            "double(inputs.parameter_values['pipelinechannel--flip-Output'])",
            "n <= flip",
        ),
        ("(inputs.parameter_values['pipelinechannel--n'])", "(n)"),
        ("inputs.parameters['pipelinechannel--flip-Output'].string_value == 'a'", "flip == 'a'"),
        ("inputs.parameter_values['pipelinechannel--other-Output'] != true", "other-Output != true"),
        ("a free text", "a free text"),
        ("", ""),
    ],
)
def test_conditions_have_the_names_of_people(expression: str, read: str) -> None:
    assert words.condition(expression, NAMES) == read


def test_branches_are_told_from_conditions_beside_each_other() -> None:
    assert words.branches(["a", "!(a) && b", "!(a) && !(b)", "c", "!(c)"]) == [
        ("if", "a"),
        ("else if", "b"),
        ("else", ""),
        ("if", "c"),
        ("else", ""),
    ]


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("[1.0, 2.5]", "2 values: [1.0, 2.5]"),
        ('["a"]', '1 value: ["a"]'),
        ("[]", "0 values: []"),
        ('{"a": 1}', '{"a": 1}'),
        ("not json", "not json"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_lists_say_how_many_values_they_have(raw: str, read: str) -> None:
    assert words.loop_over(raw) == read


def test_whole_numbers_have_no_fraction() -> None:
    assert words.constant(3.0) == "3"
    assert words.constant(0.5) == "0.5"
    assert words.constant("x") == '"x"'


def test_names_that_count_up_are_in_their_order() -> None:
    keys = ["condition-10", "condition-2", "a", "condition-2-x", ""]
    assert sorted(keys, key=words.natural) == ["", "a", "condition-2", "condition-2-x", "condition-10"]
