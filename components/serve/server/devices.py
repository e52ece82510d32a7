"""Where a model runs: a network on a GPU if there is one, everything else on the CPU."""

import logging
from typing import Any

from kfp_lifecycle.components.shared.errors import ServingError

log = logging.getLogger(__name__)

#: Takes a GPU where there is one.
AUTO = "auto"


def move(estimator: Any, device: str) -> None:
    """Has a network run on a device from now on.

    Args:
        estimator: A model's estimator; what is no network stays on the CPU.
        device: :data:`AUTO`, or PyTorch's name of a device: ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        ServingError: There is no such device here.
    """
    # By name and method: the class is that of the model's own code, which may be of an older version.
    if type(estimator).__name__ != "ExportedNetwork" or not hasattr(estimator, "to"):
        if device not in (AUTO, "cpu"):
            log.warning("%s runs on the CPU; only networks run on %s", type(estimator).__name__, device)
        return
    import torch

    if device == AUTO:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return
    try:
        estimator.to(device)
        said = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ServingError(
            f"--device is {device!r}, but PyTorch {torch.__version__} cannot run a network there: {reason}.",
            "Give --device cpu, or start the server where the GPU is.",
        ) from error
    log.info("the network runs on %s", said)
