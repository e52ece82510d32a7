"""The search space: which hyperparameters are searched, and between which values.

As it is written in YAML or JSON, by parameter::

    learning_rate: {type: float, min: 0.01, max: 0.3, log: true}
    max_depth: {type: int, min: 2, max: 8}
    subsample: {type: float, min: 0.5, max: 1.0, step: 0.1}
    booster: {values: [tree, dart]}
    drop_rate: {type: float, min: 0.1, max: 0.5, when: {booster: dart}}
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kfp_lifecycle.components.shared.errors import TuningError, did_you_mean

TYPES = ("int", "float", "categorical")

_KEYS = ("type", "min", "max", "log", "step", "values", "when")
#: How far a range may be from a whole number of steps, as a share of one: rounding alone.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter and its values.

    Args:
        name: As the estimator calls it.
        type: ``int``, ``float`` or ``categorical``.
        min: The least value; None for a categorical one.
        max: The greatest value, itself included; None for a categorical one.
        log: Whether values are spread evenly by their logarithm.
        step: The distance between values, from ``min``; None is any value between (for ``int`` each).
        values: Of a categorical one: JSON values, in order.
        when: Of a conditional one, the values of other parameters that it is searched under, all of them.

    Raises:
        TuningError: These do not make a range or a choice. Names the parameter.
    """

    name: str
    type: str
    min: float | None = None
    max: float | None = None
    log: bool = False
    step: float | None = None
    values: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_choice(self) if self.type == "categorical" else _check_range(self)

    @staticmethod
    def parse(name: str, given: Any) -> "Parameter":
        """What a file says of the parameter ``name``. Raises ``TuningError``."""
        if not isinstance(name, str) or not name:
            raise TuningError(f"The search space has a parameter named {name!r}.", "Give the name as a text.")
        if isinstance(given, (list, tuple)):
            given = {"values": given}
        if not isinstance(given, Mapping):
            raise _wrong(name, f"is {given!r}", "Write it as {type: int, min: 2, max: 8} or as a list.")
        for key in given:
            if key not in _KEYS:
                raise _wrong(name, f"has {key!r}", did_you_mean(str(key), _KEYS))
        kind = given.get("type") or ("categorical" if "values" in given else None)
        if kind not in TYPES:
            said = "no type" if kind is None else f"the type {kind!r}"
            raise _wrong(name, f"has {said}", did_you_mean(str(kind), TYPES) or f"Give {', '.join(TYPES)}.")
        return Parameter(
            name,
            kind,
            min=_number(name, "min", given.get("min"), whole=kind == "int"),
            max=_number(name, "max", given.get("max"), whole=kind == "int"),
            log=_flag(name, given.get("log", False)),
            step=_number(name, "step", given.get("step"), whole=kind == "int"),
            values=_sequence(name, "values", given.get("values", ())),
            when=_conditions(name, given.get("when")),
        )

    def to_dict(self) -> dict[str, Any]:
        """The parameter as :meth:`parse` reads it, what is not said left out."""
        said: dict[str, Any] = {"type": self.type}
        if self.type == "categorical":
            said["values"] = list(self.values)
        else:
            said |= {"min": self.min, "max": self.max}
        if self.log:
            said["log"] = True
        if self.step is not None:
            said["step"] = self.step
        if self.when:
            said["when"] = {name: list(values) for name, values in self.when.items()}
        return said

    def grid(self) -> tuple[Any, ...] | None:
        """All values, in order; None where there is no end of them (a ``float`` without step)."""
        if self.type == "categorical":
            return self.values
        assert self.min is not None
        assert self.max is not None
        if self.type == "int":
            return tuple(range(int(self.min), int(self.max) + 1, int(self.step or 1)))
        if self.step is None:
            return None
        count = round((self.max - self.min) / self.step)
        # 12 digits: 0.1 + 2 * 0.1 is to be 0.3.
        return tuple(float(f"{self.min + number * self.step:.12g}") for number in range(count + 1))

    def cast(self, value: Any) -> Any:
        """A value as this parameter's type: Katib has texts, and 2.0 where 2 is meant.

        Raises:
            TuningError: It is none of this parameter's.
        """
        if self.type == "categorical":
            for own in (*filter(lambda own: _same(own, value), self.values), *self.values):
                if _same(own, value) or value == as_text(own):
                    return own
            raise _wrong(self.name, f"was given {value!r}, which is none of its values", "")
        try:
            return int(float(value)) if self.type == "int" else float(value)
        except (TypeError, ValueError):
            raise _wrong(self.name, f"was given {value!r}, which is no number", "") from None


@dataclass(frozen=True)
class SearchSpace:
    """The hyperparameters that are searched, those that others depend on first.

    Raises:
        TuningError: There is none, one is given twice, or a condition names none of the others.
    """

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise TuningError(
                "The search space is empty.", "Give one parameter or more, such as max_depth: {type: int, …}."
            )
        names = [parameter.name for parameter in self.parameters]
        for name in names:
            if names.count(name) > 1:
                raise TuningError(f"The search space has {name!r} twice.", "Give it once.")
        for parameter in self.parameters:
            _check_conditions(parameter, self)
        object.__setattr__(self, "parameters", tuple(_parents_first(self.parameters)))

    @staticmethod
    def parse(given: Any) -> "SearchSpace":
        """The space that a mapping of parameter to its values says. Raises ``TuningError``."""
        if not isinstance(given, Mapping):
            raise TuningError(
                f"The search space is {given!r}, which is not a mapping of parameters.",
                "Write it as max_depth: {type: int, min: 2, max: 8}.",
            )
        return SearchSpace(tuple(Parameter.parse(name, values) for name, values in given.items()))

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def __getitem__(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names."""
        return tuple(parameter.name for parameter in self.parameters)

    def active(self, name: str, chosen: Mapping[str, Any]) -> bool:
        """Whether a parameter is searched, when those before it have the values ``chosen``."""
        return all(
            parent in chosen and any(_same(value, chosen[parent]) for value in values)
            for parent, values in self[name].when.items()
        )

    def size(self) -> int | None:
        """The number of combinations, conditions left aside; None where there is no end of them."""
        grids = [parameter.grid() for parameter in self.parameters]
        return None if None in grids else math.prod(len(grid) for grid in grids if grid is not None)

    def to_dict(self) -> dict[str, Any]:
        """The space as :meth:`parse` reads it."""
        return {parameter.name: parameter.to_dict() for parameter in self.parameters}


def check_takes(names: Iterable[str], takes: Iterable[str], who: str) -> None:
    """Raises ``TuningError`` where one of the parameters is none that ``who`` takes; names the nearest."""
    known = list(takes)
    for name in names:
        if name not in known:
            raise TuningError(
                f"The search space has {name!r}, which {who} does not take.",
                did_you_mean(name, known) or "Leave it out.",
            )


def ends(space: SearchSpace) -> Iterator[tuple[str, Any]]:
    """Each parameter with its least and greatest value, or with all of its values."""
    for parameter in space:
        values = parameter.values or (parameter.min, parameter.max)
        yield from ((parameter.name, value) for value in values)


def as_text(value: Any) -> str:
    """A value as a flag or an object of Katib's has it: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _check_range(parameter: Parameter) -> None:
    name, low, high, step = parameter.name, parameter.min, parameter.max, parameter.step
    if parameter.values:
        raise _wrong(name, f"is {parameter.type} and has values", "Give min and max, or type categorical.")
    if low is None or high is None:
        raise _wrong(name, f"has no {'min' if low is None else 'max'}", "Give both min and max.")
    if low > high:
        raise _wrong(name, f"has min {low} above max {high}", "Exchange them.")
    if low == high:
        raise _wrong(
            name, f"has min and max {low} alike: there is nothing to search", "Give it as a fixed parameter."
        )
    if parameter.log and low <= 0:
        raise _wrong(name, f"has a log scale and min {low}", "Give a min above 0, or leave log out.")
    if step is None:
        return
    if parameter.log:
        raise _wrong(name, "has a log scale and a step", "Leave one of them out, or give values.")
    if step <= 0:
        raise _wrong(name, f"has step {step}", "Give a step above 0.")
    steps = (high - low) / step
    if abs(steps - round(steps)) > _ROUNDING or round(steps) < 1:
        fits = low + max(1, math.floor(steps)) * step
        raise _wrong(
            name, f"has step {step}, which does not lead from {low} to {high}", f"Give max {fits:.12g}."
        )


def _check_choice(parameter: Parameter) -> None:
    name = parameter.name
    given = [key for key in ("min", "max", "step") if getattr(parameter, key) is not None]
    if given or parameter.log:
        raise _wrong(name, f"is categorical and has {given[0] if given else 'log'}", "Leave it out.")
    if not parameter.values:
        raise _wrong(name, "has no values", "Give a list of two or more.")
    if len(parameter.values) == 1:
        raise _wrong(name, f"has one value only, {parameter.values[0]!r}", "Give it as a fixed parameter.")
    for number, value in enumerate(parameter.values):
        if any(_same(value, other) for other in parameter.values[:number]):
            raise _wrong(name, f"has the value {value!r} twice", "Give it once.")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise _wrong(
                name, f"has the value {value!r}", "Give texts, finite numbers, true, false, null or lists."
            ) from None


def _check_conditions(parameter: Parameter, space: SearchSpace) -> None:
    for parent, values in parameter.when.items():
        others = [name for name in space.names if name != parameter.name]
        if parent not in others:
            raise _wrong(
                parameter.name, f"depends on {parent!r}, which is not searched", did_you_mean(parent, others)
            )
        if space[parent].type != "categorical":
            raise _wrong(parameter.name, f"depends on {parent!r}, which is a range", "Give that one values.")
        for value in values:
            if not any(_same(value, own) for own in space[parent].values):
                raise _wrong(
                    parameter.name,
                    f"depends on {parent!r} being {value!r}, which it never is",
                    did_you_mean(str(value), map(str, space[parent].values)),
                )


def _parents_first(parameters: Iterable[Parameter]) -> Iterator[Parameter]:
    waiting, done = list(parameters), set[str]()
    while waiting:
        ready = [parameter for parameter in waiting if set(parameter.when) <= done]
        if not ready:
            raise _wrong(waiting[0].name, "depends on itself by its conditions", "Break the circle.")
        yield from ready
        done |= {parameter.name for parameter in ready}
        waiting = [parameter for parameter in waiting if parameter.name not in done]


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are alike: 1 and 1.0 are, 1 and true are not."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _number(name: str, key: str, given: Any, *, whole: bool) -> float | None:
    if given is None:
        return None
    try:
        # YAML 1.1 reads 1e-5 as a text.
        number = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(name, f"has {key} {given!r}", "Give a finite number.")
    if not whole:
        return number
    if not number.is_integer():
        raise _wrong(name, f"is int and has {key} {given!r}", "Give a whole number, or type float.")
    return int(number)


def _flag(name: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise _wrong(name, f"has log {given!r}", "Give true or false.")
    return given


def _sequence(name: str, key: str, given: Any) -> tuple[Any, ...]:
    if not isinstance(given, (list, tuple)):
        raise _wrong(name, f"has {key} {given!r}", "Give a list.")
    return tuple(given)


def _conditions(name: str, given: Any) -> dict[str, tuple[Any, ...]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise _wrong(name, f"has when {given!r}", "Write it as when: {other_parameter: value}.")
    return {
        str(parent): tuple(values) if isinstance(values, (list, tuple)) else (values,)
        for parent, values in given.items()
    }


def _wrong(name: str, says: str, fix: str) -> TuningError:
    return TuningError(f"The search space's parameter {name!r} {says}.", fix)
