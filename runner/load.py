"""Compiled files as they are run."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from kfp_lifecycle.compiler.reader import read
from kfp_lifecycle.compiler.spec import Spec, parameters
from kfp_lifecycle.compiler.versions import VERSION
from kfp_lifecycle.runner.errors import PipelineFileError


@dataclass(frozen=True)
class RunnableFile:
    """A compiled pipeline or component that can be run.

    Args:
        path: The file.
        spec: The pipeline spec.
        platform: The platform spec; empty where the file has none.
        sha256: Digest of the file's bytes, hexadecimal.
    """

    path: Path
    spec: Spec
    platform: Spec
    sha256: str

    @property
    def name(self) -> str:
        """The name that the spec gives itself."""
        return str(self.spec["pipelineInfo"].get("name", ""))

    @property
    def version(self) -> str:
        """The version that the file's name says; empty for a file that is named otherwise."""
        return self.path.stem if VERSION.fullmatch(self.path.stem) else ""

    @property
    def inputs(self) -> Spec:
        """The parameters that it takes: name to definition."""
        return parameters(self.spec["root"], "inputDefinitions")


def load(path: Path) -> RunnableFile:
    """Reads a compiled file; KFP itself is not imported.

    Raises:
        CompiledFileError: The file is missing, unreadable, not YAML, or not compiled by KFP v2.
        PipelineFileError: It has no task or no name, or the API server would refuse it.
    """
    compiled = read(path)
    if compiled.refused:
        problem = compiled.refused[0]
        raise PipelineFileError(f"{path}:{problem.line}: {problem.text}", "Compile the pipeline again.")
    if not compiled.name or not compiled.spec["root"].get("dag", {}).get("tasks"):
        raise PipelineFileError(f"{path} has no task, or no name.", "Compile the pipeline again.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return RunnableFile(path, compiled.spec, compiled.platform, digest)
