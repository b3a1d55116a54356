"""run.json and data.json as typed data.

A run's folder may come from anywhere: what is read has these types, or ValueError says what has not.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from netc.dsl.plural import counted
from netc.dsl.quoting import json_text
from netc.runtime.data.block.declarations import FieldSpec
from netc.runtime.data.source_record import SourceRecord
from netc.runtime.data.steps.data_step import State
from netc.runtime.data.steps.steps import STEPS
from netc.runtime.typed_json import converted, parsed

Scalar = bool | int | float | str
Constant = Scalar | tuple[Scalar | tuple[Scalar, ...], ...]  # a list may have lists, so far and no deeper
States = dict[str, list[State]]  # by field, the state of each step of its pipe


class MemberInfo(msgspec.Struct, kw_only=True):
    """A member of an ensemble: what RunInfo has of the run that it was, with its text and its fitted steps.

    `run` is the folder that it was in.
    """

    run: str
    name: str
    path: str | None
    text: str
    set: dict[str, Constant]
    seed: int
    epochs: int  # that it was trained
    classes: dict[str, int]
    fold: int | None
    from_arrays: bool
    states: States


class RunInfo(msgspec.Struct, kw_only=True):
    """All that a run depends on, besides the text of its model, its fitted steps and its parameters.

    `columns` are the names of the columns of each field of the data; a run of an earlier version has none. `pictures`
    is the height, the width and the channels of its pictures, `dialect` the delimiter, the decimal mark and the mark
    between thousands of its csv. `hashes` are the SHA-256 of files by name, two while one
    text replaces another; `hash` is that of the rest of run.json. An ensemble has `members`, and otherwise what its
    first member has.
    """

    name: str
    path: str | None
    set: dict[str, Constant]
    seed: int
    epochs: int
    classes: dict[str, int]
    versions: dict[str, str]
    hashes: dict[str, list[str]]
    columns: dict[str, tuple[str, ...]] = {}
    pictures: tuple[int, int, int] | None = None
    dialect: tuple[str, str, str] | None = None
    plugins: list[str] = []  # the modules that a command named
    from_arrays: bool = False  # trained on arrays of a Python program, whatever data the file names
    division: int = 1  # the version of the rules by which rows were divided (DIVISION)
    fold: int | None = None  # the validation part of a split into folds
    sources: tuple[SourceRecord, ...] = ()  # the files that the run was trained on, as they were then
    members: tuple[MemberInfo, ...] = ()
    hash: str = ""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_Info = TypeVar("_Info", bound=msgspec.Struct)


def encoded(info: msgspec.Struct) -> bytes:
    """The bytes of run.json, or of a file like it whose last field is `hash`: with a hash of their own."""
    values = msgspec.to_builtins(info)
    return json_text({**values, "hash": _own_hash(values)}, indent=2).encode()


def _own_hash(values: Mapping[str, Any]) -> str:
    return digest(json_text({key: values[key] for key in sorted(values) if key != "hash"}, sort_keys=True).encode())


def decoded(content: bytes) -> RunInfo:
    """run.json. Raises ValueError if it is not JSON of this type, or not as it was written."""
    return decoded_as(content, RunInfo)


def decoded_as(content: bytes, type_: type[_Info], name: str = "it") -> _Info:
    """The data of a file that `encoded` wrote; messages call it `name`.

    Raises ValueError if it is not JSON of this type, or not as it was written.
    """
    values = parsed(content, dict[str, Any])
    info: _Info = converted(values, type_)
    if values.get("hash") != _own_hash(values):
        raise ValueError(f"{name} is not as training left it")
    return info


def decoded_states(content: bytes) -> States:
    """data.json. Raises ValueError if it is not JSON of the states of each field's steps."""
    states: States = parsed(content, States)
    return states


def check_states(fields: Mapping[str, FieldSpec], states: Mapping[str, Sequence[State]]) -> None:
    """Raises ValueError if the state of a step of these fields is missing, or none that the step keeps."""
    for name, field in fields.items():
        if name not in states:
            raise ValueError(f"the states of the steps of `{name}` are missing")
        if len(states[name]) != len(field.steps):
            raise ValueError(f"`{name}` has {counted(len(field.steps), 'step')}, and the states of {len(states[name])}")
        for step, state in zip(field.steps, states[name], strict=True):
            for key, is_right in STEPS[step.name].keeps.items():
                if not is_right(state.get(key)):
                    raise ValueError(f"`{key}` of the step `{step.name}` of `{name}` is not what the step keeps")
