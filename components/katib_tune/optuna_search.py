"""The local backend: trials chosen by Optuna, run in worker processes of this machine, kept in a SQLite file.

The parent alone writes to the file, and every trial is in it before it runs. So a search that was killed is
taken up where it was: trials that had ended are not run again, trials that ran are run from their start.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kfp_lifecycle.components.katib_tune.backend import Problem, Progress, Search, Trial, TrialData
from kfp_lifecycle.components.katib_tune.course import Course
from kfp_lifecycle.components.katib_tune.limits import SHARE, cores, free_memory
from kfp_lifecycle.components.katib_tune.optuna_study import check_algorithm, open_study, study_name
from kfp_lifecycle.components.katib_tune.workers import Job, Pool, start_server
from kfp_lifecycle.components.shared.cancel import cancellable
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import TuningError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH
from kfp_lifecycle.components.shared.model_format import library_version
from kfp_lifecycle.components.shared.storage import fetch

log = logging.getLogger(__name__)

#: By trainer, what its trials import, which takes seconds.
_IMPORTED = {
    "train": "kfp_lifecycle.components.katib_tune.fold_trials",
    "train-gpu": "kfp_lifecycle.components.train_gpu.fitting",
}
#: By trainer, the packages that decide what a trial gives.
_PACKAGES = {"train": ("scikit-learn",), "train-gpu": ("scikit-learn", "torch")}


@dataclass(frozen=True)
class LocalSearch:
    """Searches on this machine.

    Args:
        storage: The SQLite file that holds the searches.
        cores: Workers at most; 0 is as many as there are cores.
        memory: Bytes for all workers together; 0 is most of what is free.
        told: Called with each trial that has ended, those of an interrupted search first; returns the id of
            its MLflow run.
    """

    storage: Path
    cores: int = 0
    memory: int = 0
    told: Callable[[Trial], str] = field(default=lambda _: "")

    def search(self, problem: Problem, progress: Callable[[Progress], None]) -> Search:
        """Runs all trials; see :class:`.backend.Backend`.

        Raises:
            Cancelled: The step was cancelled; the search can be taken up.
            TuningError: Optuna does not have the algorithm; more trials failed than may; none gave a value;
                another process does this search just now.
            SplitError: There can be no folds.
            StorageError: The data cannot be read, or no scratch space can be written.
        """
        check_algorithm(problem.settings)
        start_server(_IMPORTED[problem.trainer])
        with cancellable(), tempfile.TemporaryDirectory(prefix="katib-tune-") as place:
            here = replace(problem, data=_fetched(problem.data, Path(place)))
            job = _make_job(here, Path(place))
            name = study_name(problem, _digest(here.data, problem.trainer))
            with _alone(self.storage, name):
                return self._searched(problem, job, name, progress)

    def _searched(
        self, problem: Problem, job: Job, name: str, progress: Callable[[Progress], None]
    ) -> Search:
        study, storage = open_study(self.storage, name, problem)
        try:
            return self._run(Course(problem, (study, storage), job.steps, progress, self.told), problem, job)
        finally:
            storage.remove_session()

    def _run(self, course: Course, problem: Problem, job: Job) -> Search:
        count = self._workers(problem)
        memory = (self.memory or int(SHARE * free_memory())) // count
        if course.goes_on():
            with Pool(job, count, memory) as pool:
                course.run(pool)
        return course.result()

    def _workers(self, problem: Problem) -> int:
        wanted, there = problem.settings.parallel_trials, self.cores or cores()
        if wanted > there:
            log.info("%d trials at a time instead of %d: a core each", there, wanted)
        return min(wanted, there)


def _fetched(data: TrialData, place: Path) -> TrialData:
    """The data as local paths."""
    here = zip(data.uris, ("rows", "schema.json", "plan.json"), strict=True)
    return TrialData(*(str(fetch(uri, place / name)) for uri, name in here))


def _make_job(problem: Problem, place: Path) -> Job:
    """What the trials have in common, and their data in files that all workers read."""
    if problem.trainer == "train":
        from kfp_lifecycle.components.katib_tune import fold_trials

        return fold_trials.make_job(problem, place)
    from kfp_lifecycle.components.katib_tune import network_trials

    return network_trials.make_job(problem, place)


def _digest(data: TrialData, trainer: str) -> str:
    """Of all that trials are judged by."""
    versions = [importlib.metadata.version(name) for name in _PACKAGES[trainer]]
    found = hashlib.sha256(" ".join([library_version(), *versions]).encode())
    found.update(scan(Path(data.rows)).select(ROW_HASH).collect()[ROW_HASH].to_numpy().tobytes())
    for file in (data.schema, data.plan):
        found.update(_in_order(json.loads(Path(file).read_bytes())).encode())
    return found.hexdigest()


def _in_order(value: Any) -> str:
    """JSON that is the same whatever the order of keys and entries: KFP shuffles a dict like ``derive``."""
    if isinstance(value, dict):
        return json.dumps({key: _in_order(value[key]) for key in sorted(value)})
    return json.dumps(sorted(map(_in_order, value))) if isinstance(value, list) else json.dumps(value)


@contextmanager
def _alone(storage: Path, name: str) -> Iterator[None]:
    """Keeps a second process from the same search for as long as this one does it, however it ends."""
    storage.parent.mkdir(parents=True, exist_ok=True)
    file = storage.with_name(f".{storage.name}.{name}.lock")
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TuningError(
                f"Another process does the search {name} in {storage} just now.", "Wait until it has ended."
            ) from None
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
