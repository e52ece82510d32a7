"""Profiles: what differs between a laptop, a CPU cluster and a GPU cluster, applied when compiling."""

from kfp_lifecycle.compiler.profiles.find import LOCAL, ProfileFile, find_profile, profile_names
from kfp_lifecycle.compiler.profiles.images import ImageNames
from kfp_lifecycle.compiler.profiles.model import Profile, Settings
from kfp_lifecycle.compiler.profiles.tracing import Tracing, applied

__all__ = [
    "LOCAL",
    "ImageNames",
    "Profile",
    "ProfileFile",
    "Settings",
    "Tracing",
    "applied",
    "find_profile",
    "profile_names",
]
