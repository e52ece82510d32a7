"""What can be wrong with a repository that is to be compiled."""

from kfp_lifecycle.components.shared.errors import LifecycleError


class CompileError(LifecycleError):
    """A component or pipeline cannot be compiled, or what it would give breaks a rule of the project."""


class FileError(LifecycleError):
    """Something is wrong in a file, at a line of it.

    Args:
        file: The file's name as the user gave it.
        problem: What is wrong.
        fix: What to do about it.
        line: Where, counted from 1; 0 where no one line is to blame.
    """

    def __init__(self, file: str, problem: str, fix: str = "", line: int = 0) -> None:
        super().__init__(f"{file}:{line}: {problem}" if line else f"{file}: {problem}", fix)
        self.file = file
        self.detail = problem
        self.line = line


class CompiledFileError(FileError):
    """A file is not a compiled KFP v2 pipeline, or cannot be read as one safely."""


class ProfileError(FileError):
    """A profile, or the lock file of the images that it names, says something that cannot be."""


class ImageError(LifecycleError):
    """An image cannot be built, pushed or found: no engine, a full disk, no login, a digest that is gone."""
