"""Which of the two backends searches, and what each is told beyond the problem."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from kfp_lifecycle.components.katib_tune.backend import TRAINERS, Backend, Problem, Trial, TrialData
from kfp_lifecycle.components.katib_tune.limits import parse_memory
from kfp_lifecycle.components.shared.errors import ParameterError, TuningError
from kfp_lifecycle.components.shared.parameters import one_of

WHERE = ("auto", "katib", "local")
#: Where trials of the Experiment that a local search would be would find the data.
ELSEWHERE = TrialData("s3://bucket/train", "s3://bucket/schema", "s3://bucket/plan")


@dataclass(frozen=True)
class Places:
    """Where a search runs; each is a parameter of the component.

    Args:
        where: ``auto``, ``katib`` or ``local``.
        storage: SQLite file of local searches.
        memory_limit: Memory of all local workers together, such as ``4Gi``; empty is most of what is free.
        trial_image: Image of Katib's trials.
        namespace: Namespace of the Experiment; empty is the pod's own.
        service_account: Service account of trials; empty is the namespace's default.
        keep_experiment: Whether the Experiment stays on the cluster when the search has ended.
        run_id: The KFP run that it is for.
        trainer: The component that trials run.
    """

    where: str = "auto"
    storage: str = "tuning.db"
    memory_limit: str = ""
    trial_image: str = ""
    namespace: str = ""
    service_account: str = ""
    keep_experiment: bool = False
    run_id: str = ""
    trainer: str = "train"

    def __post_init__(self) -> None:
        one_of(self.where, WHERE, "where")
        one_of(self.trainer, TRAINERS, "trainer")

    @property
    def on_cluster(self) -> bool:
        """Whether Katib searches: auto is Katib in a pod of a cluster, and Optuna elsewhere."""
        in_pod = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
        return self.where == "katib" or (self.where == "auto" and in_pod)


def make_backend(places: Places, told: Callable[[Trial], str]) -> Backend:
    """The backend that searches.

    Args:
        places: Where.
        told: Called with each trial of a local search that has ended. On a cluster trials log themselves,
            and it is called with those that could not.

    Raises:
        ParameterError: The memory limit is no quantity, or no image is given.
        ClusterError: There is no way to a cluster from here.
    """
    if places.on_cluster:
        if not places.trial_image:
            raise ParameterError(
                "Parameter 'trial_image' is empty, and Katib's trials need an image.",
                f"Give the image of the component {places.trainer}.",
            )
        from kfp_lifecycle.components.katib_tune.katib import KatibSearch
        from kfp_lifecycle.components.katib_tune.trial_job import TrialPod
        from kfp_lifecycle.components.shared.cluster import connect

        pod = TrialPod.of_profile(places.trial_image, places.trainer, places.service_account)
        return KatibSearch(connect(places.namespace), pod, places.run_id, places.keep_experiment, told)
    from kfp_lifecycle.components.katib_tune.optuna_search import LocalSearch

    memory = parse_memory(places.memory_limit, "memory_limit")
    return LocalSearch(Path(places.storage).absolute(), memory=memory, told=told)


def would_be_experiment(problem: Problem, places: Places) -> str:
    """Katib's Experiment for what was searched locally, as YAML; a comment where Katib could not do it."""
    try:
        from kfp_lifecycle.components.katib_tune.experiment import experiment
        from kfp_lifecycle.components.katib_tune.trial_job import TrialPod
    except ImportError:
        return "# kubeflow-katib-api is not installed here: pip install 'kfp-lifecycle[cluster]'\n"
    try:
        elsewhere = replace(problem, data=ELSEWHERE, parent_run="")
        body = experiment(elsewhere, TrialPod(places.trial_image), places.namespace or "default")
    except TuningError as error:
        return f"# No Experiment of Katib's can be this search. {error}\n"
    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)
    return f"# What Katib would be sent for this search, which Optuna has done.\n{text}"
