"""Which device trains, in which precision, and what it says of itself."""

import logging
import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from kfp_lifecycle.components.shared.errors import DeviceError
from kfp_lifecycle.components.train_gpu.options import NetworkOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A device and how it is used.

    Args:
        torch: What PyTorch calls it, such as ``cuda:0``.
        name: What people call it, such as ``NVIDIA H100 80GB HBM3``.
        bf16: Whether matrices are multiplied in bfloat16 (mixed precision).
    """

    torch: torch.device
    name: str
    bf16: bool

    @property
    def precision(self) -> str:
        """``bf16 mixed`` or ``fp32``."""
        return "bf16 mixed" if self.bf16 else "fp32"


def choose_device(options: NetworkOptions, local_rank: int = 0) -> Device:
    """The GPU of this rank where there is one, the CPU else; the log says which.

    Raises:
        DeviceError: ``require_gpu`` is set and there is none, or there is none for this rank.
    """
    if torch.cuda.is_available():
        device = _gpu(options, local_rank)
    elif options.require_gpu:
        raise DeviceError(
            f"Parameter 'require_gpu' is true, but PyTorch {torch.__version__} finds no GPU here.",
            _why_no_gpu(),
        )
    else:
        device = Device(torch.device("cpu"), f"CPU ({_cpu_name()})", options.precision == "bf16")
    threads = f", {torch.get_num_threads()} threads" if device.torch.type == "cpu" else ""
    log.info("training on %s in %s%s", device.name, device.precision, threads)
    return device


def _gpu(options: NetworkOptions, local_rank: int) -> Device:
    there = torch.cuda.device_count()
    if local_rank >= there:
        raise DeviceError(
            f"Process {local_rank} of this machine finds {there} GPUs only, and each needs one.",
            f"Set devices to {there}, or ask for more.",
        )
    if options.deterministic:  # read when cuBLAS starts
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.cuda.set_device(local_rank)
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if options.precision == "bf16" and not has_bf16:
        log.warning("this GPU only emulates bf16, which is slower than fp32")
    bf16 = options.precision == "bf16" or (options.precision == "auto" and has_bf16)
    device = torch.device("cuda", local_rank)
    return Device(device, torch.cuda.get_device_name(device), bf16)


def _why_no_gpu() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return "It is a build for the CPU: install the CUDA build, or set require_gpu to false."
    return "Ask for one in the profile (the gpu profile does), or set require_gpu to false."


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory_mb(device: torch.device) -> float:
    """The most memory used so far: of the device, or of this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def utilisation(device: torch.device) -> float | None:
    """Share of the last moments in which the GPU was busy, 0 to 1; None where that cannot be asked."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.utilization(device) / 100
    except (ModuleNotFoundError, RuntimeError):  # nvidia-ml-py is not installed, or the driver refuses
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, or PyTorch on the CPU, could not get the memory it asked for."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Only operations that give the same bits in each run, for the block; others raise ``RuntimeError``."""
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.backends.cudnn.benchmark = benchmark
