"""The restricted Pod Security Standard, as a function of a pod template.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ : the fields and the values that it
allows, baseline and restricted. The admission controller that enforces it is a part of the API server and
has no form that runs without one.
"""

from collections.abc import Iterator
from typing import Any

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SECCOMP = {"RuntimeDefault", "Localhost"}
_HANDLERS = ("livenessProbe", "readinessProbe", "startupProbe")


def violations(pod: dict[str, Any]) -> list[str]:
    """What the standard forbids in a pod template, each with its field; empty where it allows the pod."""
    spec = pod["spec"]
    kinds = ("initContainers", "containers", "ephemeralContainers")
    named = [(f"{kind}[{c['name']}]", c) for kind in kinds for c in spec.get(kind, [])]
    found = [*_pod(pod, spec)]
    for where, container in named:
        found += _container(where, container, spec.get("securityContext", {}))
    return found


def _pod(pod: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"{field} is true"
    for volume in spec.get("volumes", []):
        if kinds := set(volume) - {"name"} - _VOLUMES:
            yield f"volumes[{volume['name']}] is a {kinds.pop()}"
    context = spec.get("securityContext", {})
    for sysctl in context.get("sysctls", []):
        if sysctl["name"] not in _SYSCTLS:
            yield f"securityContext.sysctls has {sysctl['name']}"
    for key, value in pod.get("metadata", {}).get("annotations", {}).items():
        if key.startswith("container.apparmor.security.beta.kubernetes.io/") and not (
            value == "runtime/default" or value.startswith("localhost/")
        ):
            yield f"{key} is {value}"
    yield from _context("securityContext", context)


def _container(where: str, container: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext", {})
    yield from _context(f"{where}.securityContext", context)
    if context.get("privileged"):
        yield f"{where} is privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where}.allowPrivilegeEscalation is not false"
    capabilities = context.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{where}.capabilities does not drop ALL"
    if more := set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{where}.capabilities adds {', '.join(sorted(more))}"
    if context.get("procMount") not in (None, "Default"):
        yield f"{where}.procMount is {context['procMount']}"
    if not context.get("runAsNonRoot", pod.get("runAsNonRoot")):
        yield f"{where} may run as root"
    if context.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in _SECCOMP:
        yield f"{where} has no seccompProfile"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"{where} has hostPort {port['hostPort']}"
    handlers = {name: container.get(name, {}) for name in _HANDLERS} | container.get("lifecycle", {})
    for name, handler in handlers.items():
        for way in ("httpGet", "tcpSocket"):
            if handler.get(way, {}).get("host"):
                yield f"{where}.{name} asks another host"


def _context(where: str, context: dict[str, Any]) -> Iterator[str]:
    """What a pod's and a container's security context have in common."""
    if context.get("runAsNonRoot") is False:
        yield f"{where}.runAsNonRoot is false"
    if context.get("runAsUser") == 0:
        yield f"{where}.runAsUser is 0"
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in _SECCOMP:
        yield f"{where}.seccompProfile is {context['seccompProfile']['type']}"
    if context.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in _SECCOMP:
        yield f"{where}.appArmorProfile is {context['appArmorProfile']['type']}"
    if context.get("windowsOptions", {}).get("hostProcess"):
        yield f"{where}.windowsOptions.hostProcess is true"
    selinux = context.get("seLinuxOptions", {})
    if selinux.get("type") not in _SELINUX or selinux.get("user") or selinux.get("role"):
        yield f"{where}.seLinuxOptions"
