"""An object that is partly malformed, read as far as it goes.

One wrong field must not hide what is wrong with the others: what pydantic complains of is noted and taken out, until
the rest can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from virtfn.model.wire import WireModel
from virtfn.policy.reading import Fault, faults_of

M = TypeVar("M", bound=WireModel)

_ROUNDS = 64
"""Of unknown fields one is told a round."""
_STAND_INS: Mapping[str, Any] = {
    "spec": {},
    "resourceName": "none",
    "nodeSelector": {},
    "nicSelector": {},
    "numVfs": 1,
    "key": "none",
    "operator": "Exists",
}
"""What stands for a required field that is not given. Rules that read the field are not applied."""


class Read(NamedTuple):
    """What could be read."""

    model: Any
    """None: nothing."""
    faults: tuple[Fault, ...]


def read_as_far_as_it_goes(data: Any, model: type[M]) -> Read:
    """The object without its malformed parts, and the faults of those."""
    try:
        rest = deepcopy(data)
    except RecursionError:
        return Read(None, (Fault("", "is nested too deeply to be read"),))
    faults: dict[Fault, None] = {}
    for _ in range(_ROUNDS):
        try:
            return Read(model.model_validate(rest), tuple(faults))
        except ValidationError as error:
            faults.update(dict.fromkeys(faults_of(error)))
            details = error.errors(include_url=False)
            # from the back, so that places in lists stay what they are
            done = [_take_out(rest, detail) for detail in sorted(details, key=_place, reverse=True)]
            if not any(done):
                break
    return Read(None, tuple(faults))


def _place(detail: Any) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (-1, part) for part in detail["loc"]]


def _take_out(data: Any, detail: Any) -> bool:
    """Whether something was changed."""
    place: Sequence[int | str] = detail["loc"]
    if detail["type"] == "unknown_field":
        place = (*place, str(detail["ctx"]["name"]))
    holder, last = _find(data, place)
    if last is None:
        return False
    if isinstance(holder, dict):
        given = holder.pop(last, None)
        stand_in = _STAND_INS.get(str(last)) if detail["type"] != "unknown_field" else None
        if stand_in is not None and given != stand_in:
            holder[last] = deepcopy(stand_in)
    else:
        del holder[last]
    return True


def _find(data: Any, place: Sequence[int | str]) -> tuple[Any, Any]:
    """Container and key of what is at the place, or as near to it as data goes; (None, None): it is the whole."""
    holder: Any = None
    key: Any = None
    here = data
    for number, part in enumerate(place):
        if isinstance(here, dict):
            holder, key = here, next((name for name in here if str(name) == str(part)), part)
            if key not in here:
                if number == len(place) - 1:
                    return holder, key  # it is missing
                break
            here = here[key]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            holder, key = here, part
            here = here[part]
        else:
            break  # pydantic's words for parts of a value, not places in the data
    return holder, key
