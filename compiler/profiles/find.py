"""Where profiles are, and reading one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from kfp_lifecycle.compiler.errors import ProfileError
from kfp_lifecycle.compiler.limits import MAX_FILE_BYTES
from kfp_lifecycle.compiler.profiles.model import Amounts, Profile, Resources, Settings, Toleration, merged
from kfp_lifecycle.compiler.profiles.typed import read_typed
from kfp_lifecycle.compiler.repository import Repository
from kfp_lifecycle.compiler.safe_yaml import Map
from kfp_lifecycle.compiler.secrets import is_literal, names_secret, secret_in
from kfp_lifecycle.components.shared.errors import did_you_mean

#: The profile that ``compiled/`` holds.
LOCAL = "local"

#: The profiles that come with this library: in a clone and in a wheel alike beside the compiler.
INSTALLED = Path(__file__).resolve().parents[2] / "profiles"


@dataclass(frozen=True)
class ProfileFile(Profile):
    """A profile that was read.

    Args:
        file: Its file.
        lines: The line of each component that it names.
    """

    file: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)

    def check_components(self, known: set[str]) -> None:
        """Raises ``ProfileError`` for a component that is not known, with the nearest one that is."""
        for name in self.components.keys() - known:
            fix = did_you_mean(name, known)
            raise ProfileError(self.file, f"There is no component {name!r}.", fix, self.lines[name])


def find_profile(repository: Repository, name: str = LOCAL) -> ProfileFile:
    """The profile of a name.

    Args:
        repository: The repository whose ``profiles/`` comes before this library's.
        name: ``gpu`` for ``profiles/gpu.yaml``, or the path of a file.

    Raises:
        ProfileError: There is none, or it says something that cannot be; names the file and the line.
    """
    is_path = "/" in name or name.endswith((".yaml", ".yml"))
    places = [Path(name)] if is_path else [f / f"{name}.yaml" for f in _folders(repository)]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        fix = "" if is_path else did_you_mean(name, profile_names(repository))
        raise ProfileError(name, "There is no such profile.", fix)
    return read_profile(file)


def profile_names(repository: Repository) -> list[str]:
    """The names of all profiles that a repository has."""
    return sorted({file.stem for folder in _folders(repository) for file in folder.glob("*.yaml")})


def _folders(repository: Repository) -> tuple[Path, ...]:
    return repository.root / "profiles", INSTALLED


def read_profile(file: Path) -> ProfileFile:
    """Reads and checks one profile. Raises ``ProfileError``."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ProfileError(str(file), f"The file cannot be read: {error.strerror}.") from None
    profile, plain = read_typed(data, str(file), Profile)
    for settings, where in _places(profile, plain):
        for line, problem, fix in _problems(settings, where):
            raise ProfileError(str(file), problem, fix, line)
    return _with_lines(profile, str(file), plain)


def _with_lines(profile: Profile, file: str, plain: Map) -> ProfileFile:
    """The same, with components as KFP names them: ``train_gpu`` is ``train-gpu``."""
    components: dict[str, Settings] = {}
    lines: dict[str, int] = {}
    for key, settings in profile.components.items():
        name, line = key.replace("_", "-"), plain["components"].line_of(key)
        if name in components:
            raise ProfileError(file, f"The component {name!r} is there twice.", "Remove one.", line)
        components[name], lines[name] = settings, line
    rest = {f.name: getattr(profile, f.name) for f in fields(Profile) if f.name != "components"}
    return ProfileFile(**rest, components=components, file=file, lines=lines)


def _places(profile: Profile, plain: Map) -> Iterator[tuple[Settings, Map]]:
    """What holds for each component, with where it is said."""
    yield profile.defaults, plain.get("defaults", Map(1))
    for name, own in profile.components.items():
        yield merged(profile.defaults, own), plain["components"][name]


def _problems(settings: Settings, where: Map) -> Iterator[tuple[int, str, str]]:
    """What no one value shows: line, problem and fix."""
    resources = settings.resources or Resources()
    for what in ("cpu", "memory"):
        request, limit = (getattr(a or Amounts(), what) for a in (resources.requests, resources.limits))
        if request and limit and _amount(request) > _amount(limit):
            problem = f"The request of {what}, {request}, is more than its limit, {limit}."
            yield where.line_of("resources"), problem, "Raise the limit."
    for toleration in settings.tolerations or ():
        if problem := _toleration(toleration):
            yield where.line_of("tolerations"), problem, "See the Kubernetes page on taints and tolerations."
    for variable, value in (settings.env or {}).items():
        if secret_in(value) or (names_secret(variable) and is_literal(value)):
            problem = f"The variable {variable} holds a secret, which would be in the compiled file."
            yield (
                where.line_of("env"),
                problem,
                "Put it into a Kubernetes Secret, and name that under secrets.",
            )


def _toleration(toleration: Toleration) -> str:
    exists = toleration.operator == "Exists"
    if toleration.key is None and not exists:
        return "A toleration without a key needs the operator Exists."
    if exists and toleration.value is not None:
        return "A toleration whose operator is Exists takes no value."
    if toleration.seconds is not None and toleration.effect != "NoExecute":
        return "A toleration's seconds need the effect NoExecute."
    return ""


_UNITS = {"m": 1e-3} | {unit: 1000.0**power for power, unit in enumerate("KMGTPE", 1)}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", 1)}


def _amount(text: str) -> float:
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * _UNITS.get(unit, 1)
