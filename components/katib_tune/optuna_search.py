"""The local backend: trials chosen by Optuna, run in worker processes of this machine, kept in a SQLite file.

The parent alone writes to the file, and every trial is in it before it runs. So a search that was killed is
taken up where it was: trials that had ended are not run again, trials that ran are run from their start.
"""

import fcntl
import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from kfp_lifecycle.components.katib_tune.backend import Problem, Progress, Search, Trial
from kfp_lifecycle.components.katib_tune.course import Course
from kfp_lifecycle.components.katib_tune.limits import SHARE, cores, free_memory
from kfp_lifecycle.components.katib_tune.optuna_study import check_algorithm, open_study, study_name
from kfp_lifecycle.components.katib_tune.workers import Job, Pool, start_server
from kfp_lifecycle.components.shared.cancel import cancellable
from kfp_lifecycle.components.shared.dataset import scan
from kfp_lifecycle.components.shared.errors import TuningError
from kfp_lifecycle.components.shared.inference.schema import ROW_HASH, TableSchema
from kfp_lifecycle.components.shared.inference.transform import FeatureTransform
from kfp_lifecycle.components.shared.model_format import library_version
from kfp_lifecycle.components.shared.storage import fetch

log = logging.getLogger(__name__)


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
        if problem.trainer != "train":
            raise TuningError(
                f"Trials of {problem.trainer} are searched by Katib alone.", "Search with where: katib."
            )
        start_server()
        with cancellable(), tempfile.TemporaryDirectory(prefix="katib-tune-") as place:
            job, digest = _make_job(problem, Path(place))
            name = study_name(problem, digest)
            with _alone(self.storage, name):
                return self._searched(problem, job, name, progress)

    def _searched(
        self, problem: Problem, job: Job, name: str, progress: Callable[[Progress], None]
    ) -> Search:
        study, storage = open_study(self.storage, name, problem)
        try:
            return self._run(Course(problem, (study, storage), job.count, progress, self.told), problem, job)
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


def _make_job(problem: Problem, place: Path) -> tuple[Job, str]:
    """The folds on disk, and a digest of all that trials are judged by."""
    from kfp_lifecycle.components.train.fold_files import write_folds
    from kfp_lifecycle.components.train.folds import make_folds
    from kfp_lifecycle.components.train.training import TrainingOptions, target_values

    data, options = problem.data, dict(problem.options)
    schema_file, plan_file = fetch(data.schema, place / "schema.json"), fetch(data.plan, place / "plan.json")
    schema, plan = TableSchema.load(schema_file), FeatureTransform.load(plan_file)
    rows = scan(fetch(data.rows, place / "rows")).collect()
    count = int(options.pop("folds", 5))
    y = target_values(rows, schema)
    folds = make_folds(rows, y, schema, count, problem.seed)
    write_folds(place / "folds", plan, schema, rows, y, folds)
    training = TrainingOptions(
        estimator=options.get("estimator", "auto"),
        estimator_parameters=dict(problem.fixed),
        class_weight=options.get("class_weight", "none"),
        seed=problem.seed,
    )
    return Job(place / "folds", len(folds), schema_file, plan_file, training), _digest(
        rows, schema_file, plan_file
    )


def _digest(rows: pl.DataFrame, *files: Path) -> str:
    import sklearn

    found = hashlib.sha256(f"{library_version()} {sklearn.__version__}".encode())
    found.update(rows[ROW_HASH].to_numpy().tobytes())
    for file in files:
        found.update(_in_order(json.loads(file.read_bytes())).encode())
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
