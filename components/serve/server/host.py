"""Which model answers: the stable one, and during a rollout a candidate with its share of the requests."""

from kfp_lifecycle.components.serve.server.failures import ConflictError, UnknownModelError
from kfp_lifecycle.components.serve.server.models import ServedModel


class Host:
    """The stable model, and perhaps a candidate.

    A request holds the model that was chosen for it, so one that is replaced answers what it has begun and is
    freed after the last. All calls come from the event loop's thread.

    Args:
        stable: The model that answers.
    """

    def __init__(self, stable: ServedModel) -> None:
        self.stable = stable
        self.candidate: ServedModel | None = None
        self.share = 0.0
        self._owed = 0.0

    @property
    def name(self) -> str:
        """The name of the model in URLs."""
        return self.stable.name

    @property
    def models(self) -> list[ServedModel]:
        """What is loaded, the stable model first."""
        return [self.stable] if self.candidate is None else [self.stable, self.candidate]

    def choose(self, name: str, version: str = "") -> ServedModel:
        """The model for the next request.

        Without a version the candidate gets its share, evenly: at 10% each tenth request.

        Raises:
            UnknownModelError: There is no such model or version here.
        """
        if version or self.candidate is None or name != self.stable.name:
            return self.find(name, version)
        self._owed += self.share
        if self._owed < 100:
            return self.stable
        self._owed -= 100
        return self.candidate

    def find(self, name: str, version: str = "") -> ServedModel:
        """The model of that name and version, the stable one without a version; no request is counted.

        Raises:
            UnknownModelError: There is no such model or version here.
        """
        if name != self.stable.name:
            raise UnknownModelError(f"There is no model {name[:200]!r} here; this server has {self.name!r}.")
        return self._version(version) if version else self.stable

    def share_of(self, model: ServedModel) -> float:
        """The percentage of the requests that a loaded model gets."""
        return self.share if model is self.candidate else 100.0 - self.share

    def offer(self, candidate: ServedModel) -> None:
        """Puts a candidate beside the stable model, with no share of the requests yet.

        Raises:
            ConflictError: There is one already.
        """
        if self.candidate is not None:
            raise ConflictError(f"Version {self.candidate.version} is a candidate already; unload it first.")
        self.candidate, self.share, self._owed = candidate, 0.0, 0.0

    def shift(self, share: float) -> None:
        """Gives the candidate this percentage of the requests.

        Raises:
            ConflictError: There is no candidate.
        """
        if self.candidate is None:
            raise ConflictError("There is no candidate to give requests to; load one first.")
        self.share = share

    def promote(self) -> ServedModel:
        """Makes the candidate the stable model, and returns the one before.

        Raises:
            ConflictError: There is no candidate.
        """
        if self.candidate is None:
            raise ConflictError("There is no candidate to promote; load one first.")
        before, self.stable = self.stable, self.candidate
        self.drop()
        return before

    def drop(self) -> None:
        """Removes the candidate, if there is one."""
        self.candidate, self.share = None, 0.0

    def replace(self, model: ServedModel) -> ServedModel:
        """Puts a new stable model in place of the present one, and returns that."""
        before, self.stable = self.stable, model
        return before

    def _version(self, version: str) -> ServedModel:
        for model in self.models:
            if model.version == version:
                return model
        known = ", ".join(model.version for model in self.models)
        raise UnknownModelError(f"There is no version {version!r} of {self.name!r} here, but {known}.")
