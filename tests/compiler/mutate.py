"""Damages compiled files: their bytes, or their data with the YAML kept whole."""

import copy
import random
from typing import Any

import yaml

#: Texts that parsers and programs stumble over.
TEXTS = [
    *(
        "",
        " ",
        "\n",
        "-",
        "---",
        "...",
        "{",
        "}",
        "[",
        "]",
        "{{$",
        "{{$}}",
        "%s",
        "${x}",
        "*",
        "&a",
        "!!python/none",
    ),
    *(
        "\x1b[31m",
        "\u202e",
        "\ufeff",
        "\x00",
        "é",
        "\U0001d4b3",
        "a" * 5000,
        "../" * 50,
        "null",
        "yes",
        "0x1f",
        "1e999",
        ".nan",
    ),
    *(
        "root",
        "comp-use",
        "exec-use",
        "pipelinechannel--x",
        "STRING",
        "LIST",
        "inputs.parameter_values['x']",
        "12:30",
    ),
    *(
        "AKIA" + "A" * 16,
        "postgres://a:b@c/d",
        "password = 'hunter2hunter2'",
        "9" * 400,
        "2024-01-01",
        "<<",
        "=",
        "~",
    ),
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**63,
    2**70,
    1.5,
    float("inf"),
    float("nan"),
    [],
    {},
    [[]],
    [{}],
]
SNIPPETS = [
    *(
        b"\n",
        b"  ",
        b"\t",
        b":",
        b"- ",
        b"? ",
        b"{",
        b"[",
        b"'",
        b'"',
        b"|",
        b">",
        b"#",
        b"&a ",
        b"*a",
        b"!!str ",
    ),
    *(
        b"%YAML 1.1\n",
        b"\n---\n",
        b"\n...\n",
        b"<<: *a",
        b"\xff",
        b"\xc3\x28",
        b"\x00",
        b"\xe2\x80\xae",
        b": : :",
    ),
]
#: Fields that the messages of a compiled file have, so that a mutation lands in another place that is known.
FIELDS = [
    *(
        "dag",
        "tasks",
        "inputs",
        "outputs",
        "parameters",
        "artifacts",
        "componentRef",
        "name",
        "dependentTasks",
    ),
    *(
        "triggerPolicy",
        "parameterIterator",
        "artifactIterator",
        "items",
        "raw",
        "inputParameter",
        "itemInput",
    ),
    *(
        "runtimeValue",
        "constant",
        "taskOutputParameter",
        "producerTask",
        "outputParameterKey",
        "executorLabel",
    ),
    *(
        "container",
        "image",
        "command",
        "env",
        "resources",
        "accelerator",
        "importer",
        "artifactUri",
        "platforms",
    ),
    *(
        "kubernetes",
        "deploymentSpec",
        "executors",
        "secretAsEnv",
        "tolerations",
        "pipelineConfig",
        "literals",
    ),
    *(
        "defaultValue",
        "isOptional",
        "parameterType",
        "artifactType",
        "metadata",
        "cachingOptions",
        "retryPolicy",
    ),
]


def mutated(seeds: list[bytes], rng: random.Random) -> bytes:
    """One of ``seeds``, damaged."""
    content = rng.choice(seeds)
    if rng.random() < 0.4:
        return _bytes(content, seeds, rng)
    documents = list(yaml.load_all(content, Loader=yaml.CSafeLoader))
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        documents = _data(documents, rng)
    text: bytes = yaml.dump_all(documents, Dumper=yaml.CSafeDumper, encoding="utf-8", allow_unicode=True)
    return _bytes(text, seeds, rng) if rng.random() < 0.1 else text


def _bytes(content: bytes, seeds: list[bytes], rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        until = min(len(data), at + rng.choice((1, 1, 4, 32, 512)))
        kind = rng.randrange(6)
        if kind == 0:
            del data[at:until]
        elif kind == 1:
            data[at:at] = rng.choice(SNIPPETS)
        elif kind == 2:
            data[at:until] = rng.choice(SNIPPETS) * rng.choice((1, 1, 3, 200))
        elif kind == 3:
            data[at:at] = data[at:until] * rng.choice((1, 2, 50))
        elif kind == 4 and at < len(data):
            data[at] = rng.randrange(256)
        else:
            other = rng.choice(seeds)
            start = rng.randrange(len(other))
            data[at:until] = other[start : start + rng.choice((8, 64, 1024))]
    return bytes(data)


def _data(documents: Any, rng: random.Random) -> Any:
    holders = _holders(documents)
    holder = rng.choice(holders)
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    if not keys:
        return documents
    key, kind = rng.choice(keys), rng.randrange(7)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    elif kind == 2:
        holder[key] = rng.choice(TEXTS)
    elif kind == 3 and isinstance(holder, dict):
        holder[rng.choice(FIELDS + TEXTS)] = holder.pop(key)
    elif kind == 4:
        # The same object twice: the dumper writes an anchor and an alias. Never below itself.
        other = rng.choice([h for h in holders if not _holds(h, holder)] or [None])
        holder[key] = other
    elif kind == 5 and isinstance(holder, dict):
        holder[rng.choice(FIELDS)] = copy.deepcopy(rng.choice([*VALUES, *TEXTS, holder[key]]))
    elif isinstance(holder[key], str):
        text = holder[key]
        at = rng.randrange(len(text) + 1)
        holder[key] = text[:at] + rng.choice(TEXTS) + text[at:]
    return documents


def _holders(documents: Any) -> list[Any]:
    """Every mapping and list that has something in it, once."""
    found, seen = [documents], {id(documents)}
    for holder in found:
        for value in holder.values() if isinstance(holder, dict) else holder:
            if isinstance(value, (dict, list)) and value and id(value) not in seen:
                seen.add(id(value))
                found.append(value)
    return found


def _holds(holder: Any, wanted: Any) -> bool:
    """Whether ``wanted`` is ``holder`` or somewhere below it."""
    pending, seen = [holder], set()
    while pending:
        item = pending.pop()
        if item is wanted:
            return True
        if isinstance(item, (dict, list)) and id(item) not in seen:
            seen.add(id(item))
            pending += item.values() if isinstance(item, dict) else item
    return False
