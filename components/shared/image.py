"""Where the component images are: one setting in one place.

Imported when components are defined, never at run time. There is no public registry yet; a profile
names a team's own.
"""

REGISTRY = "kfp-lifecycle"
TAG = "0.1.0"


def image(name: str) -> str:
    """The full reference of one of this project's images, such as ``core``."""
    return f"{REGISTRY}/python-{name}:{TAG}"


CORE_IMAGE = image("core")
TORCH_IMAGE = image("torch")
TUNE_IMAGE = image("tune")
SERVE_IMAGE = image("serve")
MONITOR_IMAGE = image("monitor")
FEAST_IMAGE = image("feast")
