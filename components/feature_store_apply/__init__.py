"""The ``feature-store-apply`` component.

The KFP face is loaded on first use only: a running step imports the logic beside it, and defining a
component there would cost half a second and fail under ``_KFP_RUNTIME``.
"""

from kfp_lifecycle.components.shared.lazy import lazy_component

__getattr__ = lazy_component(__name__)
