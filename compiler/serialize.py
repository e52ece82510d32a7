"""Compiled files as text, the same bytes on every machine, readable and good to diff."""

from collections.abc import Sequence
from typing import Any

import yaml

from kfp_lifecycle.compiler.spec import Spec

# libyaml writes several times as fast. Both write the same bytes for printable ASCII, which is all we write;
# tests/compiler/test_serialize.py holds them to it. They differ in a last line "...", which says nothing.
_Dumper: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

WIDTH = 110


class IrDumper(_Dumper):  # type: ignore[misc]
    """Writes texts of several lines, such as a component's source, as they are; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Anchors say nothing here and some servers refuse them."""
        return True


def _text(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


IrDumper.add_representer(str, _text)


def to_yaml(spec: Spec, platform: Spec, description: str) -> str:
    """The text of a compiled file: KFP's comment header, the spec and, if there is one, the platform spec."""
    from kfp.compiler import pipeline_spec_builder

    # KFP's own header, from the sorted spec: from protobuf's maps it differs from process to process.
    header = pipeline_spec_builder.extract_comments_from_pipeline_spec(spec, description)
    return str(header) + body([spec, platform] if platform else [spec], IrDumper)


def body(documents: Sequence[Spec], dumper: type[Any]) -> str:
    """Documents as YAML, with sorted keys."""
    text = str(yaml.dump_all(documents, Dumper=dumper, sort_keys=True, width=WIDTH))
    return text.removesuffix("...\n") if text.endswith("\n...\n") else text


def from_yaml(text: str) -> list[Any]:
    """The documents in a YAML text. Raises ``yaml.YAMLError``."""
    return list(yaml.load_all(text, Loader=_Loader))
