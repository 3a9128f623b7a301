"""What all sections of the configuration are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def refuse_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number, not a yes or no")  # noqa: TRY004 - pydantic reads ValueError
    return value


Whole = Annotated[int, BeforeValidator(refuse_bool)]
Number = Annotated[float, BeforeValidator(refuse_bool), Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, BeforeValidator(refuse_bool), Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A group of keys; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)
