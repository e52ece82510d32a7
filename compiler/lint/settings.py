"""Which rules are switched off where, and why: one table in one file of the repository.

``[tool.kfp-lifecycle.lint]`` in ``pyproject.toml``, or ``[lint]`` in ``kfp-lifecycle.toml``, of the folder in
which a command is started or the nearest one above that has either.
"""

import fnmatch
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp_lifecycle.compiler.backends import Version, parse_version
from kfp_lifecycle.components.shared.errors import ParameterError, did_you_mean

#: Where the table is, by the file that holds it.
PLACES = {"kfp-lifecycle.toml": ("lint",), "pyproject.toml": ("tool", "kfp-lifecycle", "lint")}

_KEYS: dict[str, type[Any]] = {"require-digests": bool, "backend": str, "ignore": list}
_IGNORE_KEYS: dict[str, type[Any]] = {"files": list, "rules": list, "tasks": list, "reason": str}


@dataclass(frozen=True)
class Ignore:
    """Rules that are switched off.

    Args:
        files: Patterns of files, relative to the folder of the settings: ``compiled/pipelines/*/*.yaml``.
        rules: Ids of rules.
        tasks: Names or places of tasks; empty for the whole file.
        reason: Why.
    """

    files: tuple[str, ...]
    rules: frozenset[str]
    tasks: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Settings:
    """What a repository says about linting its files.

    Args:
        folder: The folder that patterns are relative to.
        ignores: What is switched off.
        require_digests: Whether images must be named by digest.
        backend: The oldest API server that files must run on.
    """

    folder: Path
    ignores: tuple[Ignore, ...] = ()
    require_digests: bool = False
    backend: Version | None = None

    def reason(self, file: str, rule: str, place: str) -> str | None:
        """Why ``rule`` is switched off for a place in a file; None where it is not."""
        path = (Path.cwd() / file).resolve()
        name = (
            path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else path.as_posix()
        )
        for ignore in self.ignores:
            if rule not in ignore.rules or not any(fnmatch.fnmatchcase(name, p) for p in ignore.files):
                continue
            if not ignore.tasks or place in ignore.tasks or place.rpartition("/")[2] in ignore.tasks:
                return ignore.reason
        return None


def find_settings(rules: Mapping[str, object], start: Path | None = None) -> Settings:
    """The settings of the repository that ``start`` (default: the working directory) is in.

    Args:
        rules: The ids that there are.
        start: A folder.

    Raises:
        ParameterError: The table has an unknown key or rule, a value of the wrong type, or no reason.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        for name, keys in PLACES.items():
            table = _table(folder / name, keys)
            if table is not None:
                return _Parser(f"{folder / name} [{'.'.join(keys)}]", folder, rules).settings(table)
    return Settings(here)


def _table(file: Path, keys: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        table: Any = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ParameterError(f"{file} cannot be read: {error}.", "Mend the file.") from None
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None


class _Parser:
    def __init__(self, where: str, folder: Path, rules: Mapping[str, object]) -> None:
        self.where = where
        self.folder = folder
        self.rules = rules

    def settings(self, table: dict[str, Any]) -> Settings:
        self._check(table, _KEYS, "")
        ignores = tuple(self._ignore(at, item) for at, item in enumerate(table.get("ignore", []), 1))
        backend = parse_version(table["backend"]) if "backend" in table else None
        return Settings(self.folder, ignores, table.get("require-digests", False), backend)

    def _ignore(self, at: int, item: Any) -> Ignore:
        name = f"ignore number {at}"
        if not isinstance(item, dict):
            raise ParameterError(
                f"{self.where}: {name} is no table.", "Write [[…ignore]] with its keys below."
            )
        self._check(item, _IGNORE_KEYS, f"{name}: ")
        for key in ("files", "rules", "reason"):
            if not item.get(key) or (key == "reason" and not item[key].strip()):
                fix = "Say why the rule does not hold there." if key == "reason" else f"Give {key}."
                raise ParameterError(f"{self.where}: {name} has no {key}.", fix)
        for key in ("files", "rules", "tasks"):
            if not all(isinstance(text, str) for text in item.get(key, [])):
                raise ParameterError(
                    f"{self.where}: {name}: {key} is no list of texts.", "Put each in quotes."
                )
        for rule in item["rules"]:
            if rule not in self.rules:
                raise ParameterError(
                    f"{self.where}: there is no rule {rule!r}.", did_you_mean(rule, self.rules)
                )
        return Ignore(
            tuple(item["files"]),
            frozenset(item["rules"]),
            tuple(item.get("tasks", [])),
            item["reason"].strip(),
        )

    def _check(self, table: dict[str, Any], known: dict[str, type[Any]], where: str) -> None:
        for key, value in table.items():
            if key not in known:
                raise ParameterError(
                    f"{self.where}: {where}there is no setting {key!r}.", did_you_mean(key, known)
                )
            if type(value) is not known[key]:
                wanted = {bool: "true or false", str: "a text", list: "a list"}[known[key]]
                raise ParameterError(f"{self.where}: {where}{key} is not {wanted}.", "Correct it.")
