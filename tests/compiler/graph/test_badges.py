"""Badges: what a task asks for, in few words."""

from typing import Any

import pytest

from kfp_lifecycle.compiler.graph.badges import of_task


@pytest.mark.parametrize(
    ("resources", "shown"),
    [
        ({}, ()),
        ({"cpuLimit": 2.0, "memoryLimit": 4.5}, ("2 CPU", "4.5G")),
        ({"cpuLimit": 0.5, "resourceCpuLimit": "500m"}, ("500m CPU",)),
        ({"resourceCpuRequest": "1", "resourceCpuLimit": "2"}, ("1 - 2 CPU",)),
        ({"resourceCpuRequest": "2", "resourceCpuLimit": "2"}, ("2 CPU",)),
        ({"resourceMemoryRequest": "1Gi"}, ("from 1Gi",)),
        ({"accelerator": {"resourceType": "nvidia.com/gpu", "resourceCount": "4"}}, ("4 x nvidia.com/gpu",)),
        ({"accelerator": {"type": "NVIDIA_TESLA_T4", "count": "1"}}, ("1 x NVIDIA_TESLA_T4",)),
        (
            {"resourceCpuLimit": "{{$.inputs.parameters['pipelinechannel--cpus']}}"},
            ("cpus CPU",),
        ),
    ],
)
def test_resources(resources: dict[str, Any], shown: tuple[str, ...]) -> None:
    assert of_task({}, {"container": {"resources": resources}}, {}) == shown


def test_caching_is_said_where_it_is_off() -> None:
    assert of_task({"cachingOptions": {}}, {"container": {}}, {}) == ("not cached",)
    assert of_task({"cachingOptions": {"enableCache": True}}, {"container": {}}, {}) == ()


@pytest.mark.parametrize(
    ("platform", "shown"),
    [
        ({"secretAsEnv": [{}, {}], "secretAsVolume": [{}]}, ("2 secrets", "secret volume")),
        ({"pvcMount": [{}], "emptyDirMounts": [{}, {}]}, ("volume", "2 scratch volumes")),
        ({"activeDeadlineSeconds": "90"}, ("at most 90 s",)),
        ({"activeDeadlineSeconds": "172800"}, ("at most 2 d",)),
        ({"activeDeadlineSeconds": "tomorrow"}, ()),
        ({"activeDeadlineSeconds": "9" * 5000}, ()),
        ({"secretAsEnv": "broken", "nodeSelector": 3}, ()),
    ],
)
def test_what_kubernetes_adds(platform: dict[str, Any], shown: tuple[str, ...]) -> None:
    assert of_task({}, {}, platform) == shown
