"""Findings as a whole: files of any kind, switching rules off, and the formats for other programs."""

import json
from pathlib import Path

import pytest

from kfp_lifecycle.compiler.lint import RULES, Finding, Options, Severity, failing, find_settings, lint
from kfp_lifecycle.compiler.lint.report import to_json, to_sarif
from kfp_lifecycle.components.shared.errors import ParameterError
from tests.compiler.lint.cases import put
from tests.compiler.specs import IMAGE, Spec, changed, container, settings
from tests.compiler.test_reader import REFUSED

ROOT = Path(__file__).resolve().parents[3]

USE = "deploymentSpec/executors/exec-use/container"


def found(content: bytes, folder: Path, options: Options | None = None) -> list[Finding]:
    file = folder / "pipeline.yaml"
    file.write_bytes(content)
    return lint(file, options)


@pytest.mark.parametrize("name", [name for name, (make, _) in REFUSED.items() if len(make()) < 1_000_000])
def test_a_file_that_cannot_be_read_is_one_finding(name: str, tmp_path: Path) -> None:
    make, said = REFUSED[name]
    (finding,) = found(make(), tmp_path)
    assert (finding.rule, finding.severity) == ("KL001", Severity.ERROR)
    assert said.rpartition("f.yaml:")[2].lstrip("123: ") in f"{finding.message} {finding.fix}"


def test_a_missing_file_is_a_finding_too() -> None:
    (finding,) = lint("no/such.yaml")
    assert finding.rule == "KL001"


def test_real_files_of_kfp_have_no_errors(compiled: dict[str, Path]) -> None:
    for name, file in compiled.items():
        errors = failing(lint(file))
        assert errors == [], name


def test_our_own_compiled_files_are_clean() -> None:
    files = sorted((ROOT / "compiled").rglob("*.yaml"))
    assert files
    own = find_settings(RULES, ROOT)
    for file in files:
        assert failing(lint(file, settings=own), Severity.WARNING) == []


def test_findings_are_where_the_line_says(tmp_path: Path) -> None:
    content = changed(put(f"{USE}/image", "python"))
    (finding,) = failing(found(content, tmp_path))
    assert content.decode().splitlines()[finding.line - 1].strip() == "image: python"
    assert finding.place == "use"


def test_a_profile_that_demands_digests(tmp_path: Path) -> None:
    content = changed(put(f"{USE}/image", "python:3.11"))
    assert failing(found(content, tmp_path)) == []
    (finding,) = failing(found(content, tmp_path, Options(require_digests=True)))
    assert (finding.rule, finding.severity) == ("KL303", Severity.ERROR)


@pytest.mark.parametrize(
    ("image", "rules"),
    [
        ("python", {"KL301"}),
        ("registry.example:5000/team/python", {"KL301"}),
        ("", {"KL301", "KL616"}),
        ("python:latest", {"KL302"}),
        ("registry:5000/python:main", {"KL302"}),
        (f"python@{IMAGE.partition('@')[2]}", set()),
        (IMAGE, set()),
        ("{{$.inputs.parameters['image']}}", set()),
        ("python:3.11", {"KL303"}),
        ("argostub/createpvc", set()),
    ],
)
def test_images(image: str, rules: set[str], tmp_path: Path) -> None:
    hits = found(changed(put(f"{USE}/image", image)), tmp_path)
    assert {f.rule for f in hits if f.rule.startswith("KL3") or f.rule == "KL616"} == rules


SECRETS = {
    "AKIAIOSFODNN7EXAMPLE": "an AWS access key",
    "ghp_" + "a1" * 18: "a GitHub token",
    "glpat-" + "a1" * 10: "a GitLab token",
    "xoxb-1234567890-abc": "a Slack token",
    "AIza" + "a1" * 17 + "b": "a Google API key",
    "hf_" + "a1" * 15: "a Hugging Face token",
    "sk-proj-" + "a1" * 16: "an API key",
    "-----BEGIN RSA PRIVATE KEY-----": "a private key",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2ln": "a JSON web token",
    "postgresql://user:hunter2@db/x": "a password in a URL",
}


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_found_by_their_form_and_never_shown(secret: str, tmp_path: Path) -> None:
    source = container("use")["command"]
    for path in (
        put(f"{USE}/args", ["--x", f"value {secret} "]),
        put(f"{USE}/command", [*source[:-1], f"{source[-1]}KEY = '{secret}'\n"]),
        put("root/inputDefinitions/parameters/text/defaultValue", secret),
        put("root/dag/tasks/use/inputs/parameters/text", {"runtimeValue": {"constant": secret}}),
    ):
        hits = [f for f in found(changed(path), tmp_path) if f.rule == "KL401"]
        assert any(SECRETS[secret] in f.message and f.severity is Severity.ERROR for f in hits)
        assert all(secret not in json.dumps(to_json(hits)) for _ in hits)


@pytest.mark.parametrize(
    ("name", "value", "hit"),
    [
        ("password", "hunter22", True),
        ("dbPassword", "hunter22", True),
        ("MLFLOW_TRACKING_TOKEN", "hunter22", True),
        ("api_key", "hunter22", True),
        ("password", "", False),
        ("password", "{{$.inputs.parameters['x']}}", False),
        ("password", "$PASSWORD", False),
        ("password", "none", False),
        ("client_secret", "hunter22", True),
        ("secret", "my-secret", False),
        ("secret_name", "my-secret", False),
        ("token_column", "text", False),
        ("max_tokens", "20000", False),
        ("monkey", "business", False),
    ],
)
def test_secrets_are_found_by_their_name(name: str, value: str, hit: bool, tmp_path: Path) -> None:
    content = changed(put(f"{USE}/env", [{"name": name, "value": value}]))
    assert [f.rule for f in found(content, tmp_path) if f.rule == "KL401"] == ["KL401"] * hit


def test_a_literal_given_to_a_secret_in_code_is_a_warning(tmp_path: Path) -> None:
    source = container("use")["command"]
    content = changed(put(f"{USE}/command", [*source[:-1], source[-1] + "password = 'hunter2hunter2'\n"]))
    (finding,) = (f for f in found(content, tmp_path) if f.rule == "KL401")
    assert finding.severity is Severity.WARNING


def test_a_rule_that_hits_everywhere_is_not_told_in_full(tmp_path: Path) -> None:
    def many(spec: Spec, platform: Spec) -> None:
        spec["root"]["inputDefinitions"]["parameters"] |= {
            f"x{n}": {"parameterType": "STRING"} for n in range(500)
        }

    hits = [f for f in found(changed(many), tmp_path) if f.rule == "KL701"]
    assert len(hits) == 51
    assert hits[-1].message == "The same in 450 more places, of which this is the first."


def test_the_size_grows_with_tasks_and_a_huge_one_is_an_error(tmp_path: Path) -> None:
    def huge(spec: Spec, platform: Spec) -> None:
        spec["deploymentSpec"]["executors"]["exec-use"]["container"]["args"] = ["x" * 2_000_000]

    (finding,) = (f for f in found(changed(huge), tmp_path) if f.rule == "KL201")
    assert finding.severity is Severity.ERROR
    assert "MiB" in finding.message


# Switching rules off


def repository(folder: Path, table: str, file: str = "pyproject.toml") -> Path:
    (folder / file).write_text(table)
    (folder / "compiled").mkdir()
    return folder


IGNORE = """
[[tool.kfp-lifecycle.lint.ignore]]
files = ["compiled/*.yaml"]
rules = ["KL303", "KL502"]
tasks = ["use"]
reason = "Built here, and never pushed twice."
"""


@pytest.mark.parametrize("name", ["pyproject.toml", "kfp-lifecycle.toml"])
def test_a_rule_is_switched_off_for_a_file_and_a_task(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = IGNORE if name == "pyproject.toml" else IGNORE.replace("tool.kfp-lifecycle.", "")
    repository(tmp_path, table, name)

    def two(spec: Spec, platform: Spec) -> None:
        for task in ("make", "use"):
            spec["deploymentSpec"]["executors"][f"exec-{task}"]["container"]["image"] = "python:3.11"

    for file in ("compiled/a.yaml", "other.yaml"):
        (tmp_path / file).write_bytes(changed(two))
    monkeypatch.chdir(tmp_path / "compiled")
    own = find_settings(RULES)
    hits = {f.place: f for f in lint("a.yaml", settings=own) if f.rule == "KL303"}
    assert hits["use"].suppressed == "Built here, and never pushed twice."
    assert hits["make"].suppressed is None
    assert all(f.suppressed is None for f in lint("../other.yaml", settings=own))
    assert hits["use"] not in failing(list(hits.values()), Severity.NOTE)


def test_what_a_repository_demands_of_all_its_files(tmp_path: Path) -> None:
    repository(tmp_path, '[tool.kfp-lifecycle.lint]\nrequire-digests = true\nbackend = "2.5"\n')
    own = find_settings(RULES, tmp_path / "compiled")
    assert (own.require_digests, own.backend) == (True, (2, 5))


def test_no_settings_at_all(tmp_path: Path) -> None:
    own = find_settings(RULES, tmp_path)
    assert (own.ignores, own.require_digests, own.backend) == ((), False, None)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[tool.kfp-lifecycle.lint", "cannot be read"),
        ("[tool.kfp-lifecycle.lint]\nrequire-digest = true", "no setting 'require-digest'. Did you mean"),
        ("[tool.kfp-lifecycle.lint]\nrequire-digests = 1", "is not true or false"),
        ('[tool.kfp-lifecycle.lint]\nbackend = "new"', "no version of an API server"),
        ("[tool.kfp-lifecycle.lint]\nignore = [5]", "ignore number 1 is no table"),
        (IGNORE.replace("KL303", "KL30"), "there is no rule 'KL30'. Did you mean"),
        (IGNORE.replace('reason = "Built here, and never pushed twice."', ""), "has no reason. Say why"),
        (IGNORE.replace("Built here, and never pushed twice.", "  "), "has no reason"),
        (IGNORE.replace('files = ["compiled/*.yaml"]', ""), "has no files"),
        (IGNORE.replace('["use"]', "[5]"), "tasks is no list of texts"),
        (IGNORE.replace("tasks", "task"), "no setting 'task'. Did you mean 'tasks'?"),
    ],
)
def test_wrong_settings_are_declared_errors(table: str, said: str, tmp_path: Path) -> None:
    repository(tmp_path, table)
    with pytest.raises(ParameterError) as caught:
        find_settings(RULES, tmp_path)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value) or "version" in said


# Formats


def some(folder: Path) -> list[Finding]:
    repository(folder, IGNORE)

    def several(spec: Spec, platform: Spec) -> None:
        spec["deploymentSpec"]["executors"]["exec-use"]["container"]["image"] = "python:3.11"
        spec["deploymentSpec"]["executors"]["exec-make"]["container"]["image"] = "python"
        del spec["root"]["dag"]["tasks"]["make"]["retryPolicy"]
        settings(platform, "exec-gone")

    (folder / "compiled/a b.yaml").write_bytes(changed(several))
    return lint(folder / "compiled/a b.yaml", settings=find_settings(RULES, folder))


def test_json(tmp_path: Path) -> None:
    findings = some(tmp_path)
    report = json.loads(json.dumps(to_json(findings)))
    assert report["format"] == 1
    assert report["errors"] == len(failing(findings)) == 2
    assert (report["warnings"], report["suppressed"]) == (1, 1)
    assert len(report["findings"]) == len(findings)
    assert {key for item in report["findings"] for key in item} == {
        *("rule", "name", "severity", "file", "line", "place", "message", "fix", "suppressed"),
    }


def test_sarif(tmp_path: Path) -> None:
    """What SARIF 2.1.0 demands of the parts that are written, and GitHub's code scanning of it."""
    findings = some(tmp_path)
    log = json.loads(json.dumps(to_sarif(findings, "1.2.3")))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("kfp-lifecycle", "1.2.3")
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")
    assert len(run["results"]) == len(findings)
    for result, finding in zip(run["results"], findings, strict=True):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == finding.rule
        assert result["level"] == finding.severity
        assert finding.message in result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"].endswith("compiled/a%20b.yaml")
        assert location["physicalLocation"]["region"]["startLine"] >= 1
        assert ("suppressions" in result) is (finding.suppressed is not None)
    assert any("logicalLocations" in result["locations"][0] for result in run["results"])
