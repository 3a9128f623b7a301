"""What all sections of the configuration are made of."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number, not a yes or no")  # noqa: TRY004 - pydantic reads ValueError
    return value


Whole = Annotated[int, BeforeValidator(refuse_bool)]
Number = Annotated[float, BeforeValidator(refuse_bool), Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, BeforeValidator(refuse_bool), Field(gt=0, allow_inf_nan=False)]


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def read_size(value: Any) -> Any:
    """`1.5 GB` as bytes; anything but text is left alone."""
    refuse_bool(value)
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", value.strip())
    unit = None if found is None else _UNITS.get(found[2].lower())
    if found is None or unit is None:
        raise ValueError("a size such as 500MB or 1GB")
    return int(float(found[1]) * unit)


Size = Annotated[int, BeforeValidator(read_size)]


class Section(BaseModel):
    """A group of keys; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)
