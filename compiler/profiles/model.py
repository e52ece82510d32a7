"""What a profile can say. The classes are the format: a key of the file is a field here.

Amounts, durations and names follow Kubernetes; what can be checked without a cluster is checked when the
file is read.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any

from kfp_lifecycle.compiler.profiles.typed import Number, Text

# What KFP's SDK takes as an amount, and the names that Kubernetes takes.
_DNS = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_QUALIFIED = rf"({_DNS}(\.{_DNS})*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?"
_LABEL = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"

Line = Annotated[str, Text(r"[\t\x20-\x7e]*", "printable ASCII text")]
Cpu = Annotated[str, Text(r"([0-9]*\.)?[0-9]+|[0-9]+m", "an amount of CPU such as 2, 0.5 or 500m", True)]
Memory = Annotated[str, Text(r"[0-9]+([EPTGMK]i?)?", "an amount of memory such as 512Mi or 8Gi", True)]
Name = Annotated[
    str, Text(rf"{_DNS}(\.{_DNS})*", "a name in Kubernetes: lower-case letters, digits, - and .")
]
Variable = Annotated[str, Text(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name such as MLFLOW_TRACKING_URI")]
SecretKey = Annotated[str, Text(r"[-._A-Za-z0-9]{1,253}", "a key of a Secret: letters, digits, -, _ and .")]
Key = Annotated[str, Text(_QUALIFIED, "a label's key such as team or example.com/team")]
Label = Annotated[str, Text(_LABEL, "a label's value: at most 63 letters, digits, -, _ and .", True)]
Path = Annotated[str, Text(r"/[\x21-\x7e]+", "an absolute path such as /data")]
Resource = Annotated[str, Text(_QUALIFIED, "a resource of a node such as nvidia.com/gpu")]
Image = Annotated[
    str, Text(r"[a-z0-9][-a-z0-9._:/]*", "a registry or image such as registry.example.com/team")
]
Reference = Annotated[
    str,
    Text(r"[a-z0-9][-a-z0-9._:/]*(:[A-Za-z0-9_][-A-Za-z0-9._]{0,127}|@sha256:[0-9a-f]{64})",
         "an image with a tag or digest such as registry.example.com/team/x:1.2.0"),
]  # fmt: skip
Component = Annotated[str, Text(r"[a-z0-9][-_a-z0-9]{0,127}", "a component's name")]
Operator = Annotated[str, Text(r"Equal|Exists", "Equal or Exists")]
Effect = Annotated[
    str, Text(r"NoExecute|NoSchedule|PreferNoSchedule", "NoExecute, NoSchedule or PreferNoSchedule")
]
PullPolicy = Annotated[str, Text(r"Always|IfNotPresent|Never", "Always, IfNotPresent or Never")]
Positive = Annotated[int, Number(1, 2**31 - 1)]
Natural = Annotated[int, Number(0, 2**31 - 1)]


@dataclass(frozen=True)
class Amounts:
    """CPU in cores, memory in bytes, as Kubernetes writes them."""

    cpu: Cpu | None = None
    memory: Memory | None = None


@dataclass(frozen=True)
class Resources:
    """What a pod is promised, and the most that it gets."""

    requests: Amounts | None = None
    limits: Amounts | None = None


@dataclass(frozen=True)
class Accelerator:
    """GPUs or the like: the name of the node's resource, and how many."""

    type: Resource
    count: Positive = 1


@dataclass(frozen=True)
class Toleration:
    """A taint of nodes that pods bear."""

    key: Key | None = None
    operator: Operator | None = None
    value: Label | None = None
    effect: Effect | None = None
    seconds: Natural | None = None


@dataclass(frozen=True)
class Secret:
    """A Kubernetes Secret whose keys become environment variables.

    Args:
        name: The Secret.
        env: Its key to the variable.
        optional: Whether the pod starts without it.
    """

    name: Name
    env: dict[SecretKey, Variable]
    optional: bool = False


@dataclass(frozen=True)
class Volume:
    """A PersistentVolumeClaim that is there already, and where it is mounted."""

    claim: Name
    path: Path
    sub_path: Line = ""


@dataclass(frozen=True)
class Retry:
    """How often a failed step is tried again, and after how many seconds, each time ``factor`` as many."""

    count: Natural
    backoff_seconds: Natural = 30
    factor: Annotated[float, Number(1, 100)] = 2.0
    longest_seconds: Natural = 3600


@dataclass(frozen=True)
class Settings:
    """What holds for the steps of a component; None where nothing is said."""

    resources: Resources | None = None
    accelerator: Accelerator | None = None
    node_selector: dict[Key, Label] | None = None
    tolerations: tuple[Toleration, ...] | None = None
    secrets: tuple[Secret, ...] | None = None
    env: dict[Variable, Line] | None = None
    volumes: tuple[Volume, ...] | None = None
    shared_memory: Memory | None = None
    retry: Retry | None = None
    cache: bool | None = None
    timeout_seconds: Positive | None = None
    labels: dict[Key, Label] | None = None
    annotations: dict[Key, Line] | None = None


@dataclass(frozen=True)
class Images:
    """Where images come from.

    Args:
        registries: The beginning of an image's name in the code, to another.
        replace: An image's name in the code without its tag, to a whole reference.
        locked: Whether digests come from ``images/images.lock``.
        require_digests: Whether an image without one is an error.
        pull_policy: When nodes pull.
        pull_secrets: Secrets with the registry's credentials.
    """

    registries: dict[Image, Image] = field(default_factory=dict)
    replace: dict[Image, Reference] = field(default_factory=dict)
    locked: bool = False
    require_digests: bool = False
    pull_policy: PullPolicy | None = None
    pull_secrets: tuple[Name, ...] = ()


@dataclass(frozen=True)
class Run:
    """What holds for a whole run: how long it may take, and how long its objects stay afterwards."""

    timeout_seconds: Positive | None = None
    ttl_seconds: Positive | None = None


@dataclass(frozen=True)
class Profile:
    """One environment.

    Args:
        description: What it is for.
        images: Where images come from.
        run: What holds for a whole run.
        defaults: What holds for every component.
        components: What holds for one, by name, beyond that.
    """

    description: Line = ""
    images: Images = field(default_factory=Images)
    run: Run = field(default_factory=Run)
    defaults: Settings = field(default_factory=Settings)
    components: dict[Component, Settings] = field(default_factory=dict)

    def settings(self, component: str) -> Settings:
        """What holds for the component of this name."""
        own = self.components.get(component)
        return self.defaults if own is None else merged(self.defaults, own)


def merged(base: Any, over: Any) -> Any:
    """``base`` with what ``over`` says: records and mappings key by key, everything else as a whole."""
    if base is None or over is None:
        return base if over is None else over
    if isinstance(base, Settings | Resources | Amounts):
        names = (f.name for f in fields(base))
        return replace(base, **{name: merged(getattr(base, name), getattr(over, name)) for name in names})
    return base | over if isinstance(base, dict) else over
