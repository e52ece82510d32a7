"""The Kubernetes-native form: a pipeline as the objects that a cluster keeps it in.

Kubeflow Pipelines can store pipelines as ``Pipeline`` and ``PipelineVersion`` objects of
``pipelines.kubeflow.org/v2beta1``; ``kubectl apply`` and GitOps tools then take the place of uploads.
"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from kfp_lifecycle.compiler.compile import Compiled
from kfp_lifecycle.compiler.errors import CompileError
from kfp_lifecycle.compiler.files import GeneratedFile
from kfp_lifecycle.compiler.serialize import IrDumper, body, from_yaml

#: What Kubernetes takes as the name of these objects, and of a namespace.
_OBJECT = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
MAX_OBJECT, MAX_NAMESPACE = 253, 63

#: What a label can hold: the server labels each version with its pipeline's name.
MAX_PIPELINE = 63

#: etcd takes no object of more than 1.5 MiB.
MAX_OBJECT_BYTES = 3 * 2**19


def kubernetes_file(compiled: Compiled, namespace: str = "") -> GeneratedFile:
    """The objects of one component or pipeline: a Pipeline, and a PipelineVersion ``NAME-VERSION``.

    Args:
        compiled: What was compiled.
        namespace: Where the objects go; empty leaves that to who applies them.

    Returns:
        The file, with the path that the compiled file has below ``compiled/``.

    Raises:
        CompileError: Kubernetes takes no object of that name or size.
    """
    name = compiled.definition.source.name
    version = f"{name}-{compiled.definition.version}"
    _check_names(name, version, namespace)
    documents = _objects(compiled, name, version, namespace)
    # KFP's own have the spec without descriptions and digest, and 42 as 42.0.
    documents[-1]["spec"]["pipelineSpec"] = compiled.spec
    if compiled.platform:
        documents[-1]["spec"]["platformSpec"] = compiled.platform
    text = body(documents, IrDumper)
    if len(text) > MAX_OBJECT_BYTES:
        raise CompileError(
            f"{version} is an object of {len(text) / 2**20:.1f} MiB; Kubernetes takes 1.5.",
            "Split the pipeline.",
        )
    return GeneratedFile(compiled.path, text)


def _objects(
    compiled: Compiled, name: str, version: str, namespace: str
) -> list[dict[str, dict[str, object]]]:
    from kfp.compiler import Compiler
    from kfp.compiler.compiler_utils import KubernetesManifestOptions

    options = KubernetesManifestOptions(
        pipeline_name=name,
        pipeline_version_name=version,
        pipeline_version_display_name=compiled.definition.version,
        namespace=namespace or None,
        include_pipeline_manifest=True,
    )
    with TemporaryDirectory() as folder:
        file = Path(folder) / "objects.yaml"
        Compiler().compile(
            compiled.definition.component,
            str(file),
            kubernetes_manifest_format=True,
            kubernetes_manifest_options=options,
        )
        return from_yaml(file.read_text(encoding="utf-8"))


def _check_names(name: str, version: str, namespace: str) -> None:
    for text, pattern, longest, what in (
        (name, _OBJECT, MAX_PIPELINE, "a Pipeline that its versions are labelled with"),
        (version, _OBJECT, MAX_OBJECT, "a PipelineVersion"),
        (namespace or "default", _NAMESPACE, MAX_NAMESPACE, "a namespace"),
    ):
        if not pattern.fullmatch(text) or len(text) > longest:
            raise CompileError(
                f"Kubernetes takes {text!r} for no name of {what}.",
                f"Use at most {longest} lower-case letters, digits, dashes and dots, with a letter or "
                "digit at both ends of each part.",
            )
