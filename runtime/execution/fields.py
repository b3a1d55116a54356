"""The fields that a caller passes, checked against the model and brought into the form that steps take."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from netc.compiler.ir.dims import lengths_of, names_in
from netc.compiler.ir.types import DTYPES, Type, describe_sample
from netc.dsl.plural import counted
from netc.runtime.data.stored import Array, Bytes, Field, Ragged

if TYPE_CHECKING:
    from netc.compiler.model import Model

Fields = Mapping[str, Field]
RawFields = Mapping[str, Any]  # by name: an array, samples first; for a varying dimension, a list of arrays


class FieldTypes(Struct, frozen=True):
    """The types of a model's fields and named values.

    `varying` is the varying dimension of each that has one; `shorter` are the dimensions that the model computes from
    declared ones, such as `t - 2`, which a short sample may lack.
    """

    model: "Model"
    types: dict[str, Type]
    varying: dict[str, str]
    shorter: list[str]

    @classmethod
    def of(cls, model: "Model") -> "FieldTypes":
        types = {name: value.type for name, value in model.values.items()}
        types |= {**model.inputs, **model.targets}
        varying = {name: str(type_.rows) for name, type_ in types.items() if type_.is_varying}
        dims = {str(value.type.rows) for value in model.graph.values() if value.type.is_varying}
        return cls(model, types, varying, sorted(dim for dim in dims if names_in(dim) not in ((), (dim,))))

    def ready(self, fields: RawFields) -> dict[str, Field]:
        """The fields with lists of arrays as sequences. Raises ValueError where lengths do not fit together."""
        ready: dict[str, Field] = {}
        lengths: dict[str, tuple[str, Array]] = {}
        for name, field in fields.items():
            dim = self.varying.get(name)
            if dim is None:
                ready[name] = np.asarray(field) if isinstance(field, list | tuple) else field
                continue
            sequences = field if isinstance(field, Ragged) else Ragged.of(field, DTYPES[self.types[name].dtype].numpy)
            self._refuse_length(name, dim, sequences.lengths)
            first_name, first_lengths = lengths.setdefault(dim, (name, sequences.lengths))
            if not np.array_equal(first_lengths, sequences.lengths):
                raise ValueError(
                    f"`{name}` and `{first_name}` both have the dimension `{dim}`, and their lengths differ"
                )
            ready[name] = sequences
        if lengths:
            self._refuse_lengths(lengths)
        return ready

    def _refuse_length(self, name: str, dim: str, lengths: Array) -> None:
        """Raises ValueError where a sequence of a field is empty, or longer than its dimension's bound."""
        bound = self.model.bounds.get(dim)
        if bound is not None and lengths.max() > bound:
            raise ValueError(
                f"the field `{name}` has a sequence of {counted(int(lengths.max()), 'step')}: {dim} <= {bound}"
            )
        if not lengths.all():
            raise ValueError(f"the field `{name}` has a sequence of no steps: sample {int(np.argmin(lengths))}")

    def _refuse_lengths(self, fields: Mapping[str, tuple[str, Array]]) -> None:
        """Raises ValueError where a sample has too few steps for what the model does with them, or where lengths that
        the model declares equal differ. `fields` are a field's name and its lengths, by dimension."""
        lengths = {dim: values for dim, (_, values) in fields.items()}
        pairs: list[tuple[str, Array | None, str]] = [
            (dim, values, dim) for dim, values in lengths.items() if names_in(dim) != (dim,)
        ]
        pairs += [(equal.first, None, equal.other) for equal in self.model.equal]
        for dim, values, other in pairs:
            if all(name in lengths for name in (*names_in(dim), *names_in(other))):
                count = len(next(iter(lengths.values())))
                computed = lengths_of(dim, lengths, count) if values is None else values
                if not np.array_equal(computed, lengths_of(other, lengths, count)):
                    raise ValueError(f"`{dim}` and `{other}` are said to be as long, and their lengths differ")
        for dim in self.shorter:
            names = names_in(dim)
            if all(name in lengths for name in names) and (lengths_of(dim, lengths, len(lengths[names[0]])) < 1).any():
                raise ValueError(f"a sample of `{fields[names[0]][0]}` has too few steps: {dim} is at least 1")


def sample_count(fields: Fields, types: Mapping[str, Type], batch: int, most: int | None = None) -> int:
    """The number of samples of the fields.

    Raises ValueError where a field of `types` is missing or has another shape, or if there are more than `most`.
    """
    counts = set()
    for name, type_ in types.items():
        if name not in fields:
            raise ValueError(f"the field `{name}` is missing: {_described(type_)}")
        field = fields[name]
        shape = (len(field), *field.rows.shape[1:]) if isinstance(field, Ragged) else np.shape(field)
        if shape[1:] != type_.dims[1:] or not shape:  # only the first dimension can be a name
            raise ValueError(f"the field `{name}` has the shape {list(shape)}, the model takes {_described(type_)}")
        counts.add(shape[0])
    if not types:  # what is computed reads no field, and is the same for every sample
        counts = {len(field) for field in fields.values()}
    if len(counts) != 1:
        raise ValueError("the fields hold different numbers of samples" if counts else "there is no field to read")
    count = counts.pop()
    if count == 0:
        raise ValueError("the fields have no samples")
    if most is not None and count > most:
        raise ValueError(f"{counted(count, 'sample')} in a batch of at most {batch}")
    return int(count)


def _described(type_: Type) -> str:
    return f"{describe_sample(type_)} for each sample" if type_.is_batched else describe_sample(type_)


def kept_as_bytes(fields: Fields) -> frozenset[str]:
    """The names of the fields that are stored as bytes."""
    return frozenset([name for name, field in fields.items() if isinstance(field, Bytes)])
