"""Reading a profile: what may be in it, and an error with file, line and nearest name for all else."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from kfp_lifecycle.compiler.errors import ProfileError
from kfp_lifecycle.compiler.profiles.find import find_profile, profile_names, read_profile
from kfp_lifecycle.compiler.profiles.model import Accelerator, Amounts, Profile, Resources, Retry, Toleration
from kfp_lifecycle.compiler.repository import find_repository
from tests.repositories import ROOT, tiny

REPOSITORY = find_repository(ROOT)


def read(tmp_path: Path, text: str) -> Profile:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return read_profile(file)


def example() -> str:
    """The profile with every key, from the documentation."""
    found = re.search(r"```yaml\n(.*?)```", (ROOT / "docs/profiles.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_documented_example_is_read(tmp_path: Path) -> None:
    profile = read(tmp_path, example())
    assert profile.images.registries == {"kfp-lifecycle": "registry.example.com/team"}
    assert profile.images.require_digests is True
    assert profile.run.ttl_seconds == 604800
    assert profile.defaults.accelerator == Accelerator("nvidia.com/gpu", 1)
    assert profile.defaults.tolerations == (Toleration("nvidia.com/gpu", "Exists", None, "NoSchedule"),)
    assert profile.defaults.retry == Retry(2, 60, 2.0, 600)
    assert profile.defaults.cache is False


def keys(kind: Any) -> set[str]:
    """The names of every key that a dataclass, or one inside it, has."""
    found = set()
    for item in fields(kind):
        found.add(item.name)
        pending = [get_type_hints(kind)[item.name]]
        while pending:
            hint = pending.pop()
            pending += get_args(hint)
            if isinstance(hint, type) and is_dataclass(hint):
                found |= keys(hint)
    return found


def test_the_documentation_names_every_key() -> None:
    named = set(re.findall(r"(\w+):", example()))
    assert keys(Profile) <= named


def test_a_component_adds_to_the_defaults_key_by_key(tmp_path: Path) -> None:
    profile = read(tmp_path, example())
    settings = profile.settings("train")
    assert settings.resources == Resources(Amounts("500m", "2Gi"), Amounts("2", "16Gi"))
    assert settings.env == {"LOG_LEVEL": "info"}
    assert profile.settings("prepare") is profile.defaults


def test_lists_are_replaced_as_a_whole(tmp_path: Path) -> None:
    text = "defaults: {tolerations: [{key: a, operator: Exists}], env: {A: x}}\n"
    profile = read(tmp_path, text + "components: {train: {tolerations: [], env: {B: y}}}")
    assert profile.settings("train").tolerations == ()
    assert profile.settings("train").env == {"A": "x", "B": "y"}


def test_numbers_are_amounts_too(tmp_path: Path) -> None:
    text = "defaults: {resources: {requests: {cpu: 0.5, memory: 1024}, limits: {cpu: 2, memory: 1Gi}}}"
    resources = read(tmp_path, text).defaults.resources
    assert resources == Resources(Amounts("0.5", "1024"), Amounts("2", "1Gi"))


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing\n").defaults.resources is None


@pytest.mark.parametrize("name", ["local", "cpu", "gpu"])
def test_the_librarys_own_are_good(name: str) -> None:
    assert find_profile(REPOSITORY, name).description
    assert name in profile_names(REPOSITORY)


def test_a_repositorys_own_comes_first(tmp_path: Path) -> None:
    repository = tiny(tmp_path / "r")
    assert find_profile(repository, "gpu").file.endswith("profiles/gpu.yaml")
    (repository.root / "profiles").mkdir()
    (repository.root / "profiles/gpu.yaml").write_text("description: ours")
    assert find_profile(repository, "gpu").description == "ours"
    (repository.root / "edge.yaml").write_text("description: by path")
    assert find_profile(repository, str(repository.root / "edge.yaml")).description == "by path"


@pytest.mark.parametrize(
    ("name", "said"),
    [("gpuu", "gpuu: There is no such profile. Did you mean 'gpu'?"), ("./x.yaml", "no such")],
)
def test_a_profile_that_is_not_there(name: str, said: str) -> None:
    with pytest.raises(ProfileError, match=re.escape(said)):
        find_profile(REPOSITORY, name)


#: What is wrong, and the line, problem and fix that are said.
WRONG = {
    "retries: 3": (1, "There is no setting 'retries'.", "Known: components, defaults, description"),
    "default:\n  cache: false": (1, "There is no setting 'default'.", "Did you mean 'defaults'?"),
    "defaults:\n  cache: false\n  acelerator: {}": (
        3,
        "There is no setting 'defaults.acelerator'.",
        "Did you mean 'accelerator'?",
    ),
    "components:\n  train:\n    resources:\n      limit: {cpu: 1}": (
        4,
        "There is no setting 'components.train.resources.limit'.",
        "Did you mean 'limits'?",
    ),
    "defaults:\n  tolerations:\n    - key: a\n      operater: Exists": (
        4,
        "'defaults.tolerations[0].operater'",
        "Did you mean 'operator'?",
    ),
    "defaults: {cache: 'no'}": (1, "defaults.cache must be true or false, but is 'no'.", ""),
    "defaults: {cache: no}": (1, "defaults.cache must be true or false, but is 'no'.", ""),
    "defaults: {timeout_seconds: 1.5}": (1, "defaults.timeout_seconds must be a whole number", "is '1.5'"),
    "defaults: {timeout_seconds: true}": (1, "defaults.timeout_seconds must be a whole number", ""),
    "defaults: {timeout_seconds: 0}": (1, "must be between 1 and 2147483647, but is '0'", ""),
    "defaults:\n  retry: {}": (2, "defaults.retry has no 'count'.", "Add it."),
    "defaults: {retry: 3}": (1, "defaults.retry must be a mapping, but is '3'.", ""),
    "defaults: {retry: {count: -1}}": (1, "defaults.retry.count must be between 0", ""),
    "defaults: {tolerations: {key: a}}": (1, "defaults.tolerations must be a list, but is a mapping.", ""),
    "defaults:\n  env:": (2, "defaults.env must be a mapping, but is nothing.", ""),
    "defaults: {env: {A: 1}}": (1, "defaults.env.A must be printable ASCII text, but is '1'.", ""),
    "defaults: {env: {A-B: x}}": (1, "the key 'A-B' of defaults.env must be a variable's name", ""),
    "defaults: {resources: {limits: {cpu: two}}}": (1, "limits.cpu must be an amount of CPU", "but is 'two'"),
    "defaults: {resources: {limits: {memory: 2 GB}}}": (1, "limits.memory must be an amount of memory", ""),
    "defaults: {resources: {limits: {memory: -5}}}": (1, "limits.memory must be an amount of memory", ""),
    "defaults: {volumes: [{claim: A_B, path: /x}]}": (1, "claim must be a name in Kubernetes", "is 'A_B'"),
    "defaults: {volumes: [{claim: a, path: x}]}": (1, "path must be an absolute path", ""),
    "defaults: {labels: {a: b c}}": (1, "defaults.labels.a must be a label's value", ""),
    "defaults: {tolerations: [{key: a, operator: exists}]}": (1, "operator must be Equal or Exists", ""),
    "images: {pull_policy: Sometimes}": (1, "must be Always, IfNotPresent or Never", ""),
    "images: {replace: {core: other}}": (1, "images.replace.core must be an image with a tag or digest", ""),
    "components:\n  train_gpu: {}\n  train-gpu: {}": (3, "The component 'train-gpu' is there twice.", ""),
    "defaults:\n  resources:\n    requests: {memory: 2Gi}\n    limits: {memory: 2G}": (
        2,
        "The request of memory, 2Gi, is more than its limit, 2G.",
        "Raise the limit.",
    ),
    "defaults: {resources: {limits: {cpu: 500m}}}\ncomponents:\n  a:\n    resources: {requests: {cpu: 1}}": (
        4,
        "The request of cpu, 1, is more than its limit, 500m.",
        "",
    ),
    "defaults: {tolerations: [{effect: NoSchedule}]}": (1, "without a key needs the operator Exists", ""),
    "defaults: {tolerations: [{key: a, operator: Exists, value: b}]}": (1, "takes no value", ""),
    "defaults: {tolerations: [{key: a, seconds: 3}]}": (1, "seconds need the effect NoExecute", ""),
    "defaults:\n  env:\n    DB_PASSWORD: hunter22": (2, "DB_PASSWORD holds a secret", "Kubernetes Secret"),
    "defaults: {cache: false}\n---\ndefaults: {}": (2, "several documents", ""),
    "- a": (1, "The file holds no mapping.", ""),
    "a: [": (1, "This is not YAML", ""),
    "defaults: {cache: true, cache: false}": (1, "'cache' is there twice", ""),
    "a: &x [*x]": (1, "contains itself", ""),
    "a: !!python/object:os.system {}": (1, "The tag", ""),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_its_line(text: str, tmp_path: Path) -> None:
    line, problem, fix = WRONG[text]
    with pytest.raises(ProfileError) as raised:
        read(tmp_path, text)
    assert raised.value.line == line, str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path}/mine.yaml:{line}: ")
    assert problem in str(raised.value)
    assert fix in str(raised.value)
    assert "hunter22" not in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.mkdir()
    with pytest.raises(ProfileError, match="Is a directory"):
        read_profile(file)
