"""What an API server makes of a merge patch: for those who stand in for one."""

from __future__ import annotations

from typing import Any


def merged(live: Any, patch: Any) -> Any:
    """The object after the patch, as RFC 7386 says in section 2. Neither of them is changed."""
    if not isinstance(patch, dict):
        return patch
    made = dict(live) if isinstance(live, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merged(made.get(name), value)
    return made
