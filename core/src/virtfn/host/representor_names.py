"""Gives representors their names, where nobody else has those.

Several are renamed at a time, and one may have a name that another one is to get: that one is then moved out of the way
first. A name that a netdev of somebody else's has stays there, and the representor keeps the one that it has.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass

from virtfn.host.kernel import LinkInfo, Links


@dataclass(slots=True)
class _Renamed:
    index: int
    link: LinkInfo
    name: str
    """What it is to be called."""
    now: str
    """What it is called."""


def rename_representors(links: Links, wanted: Mapping[int, tuple[LinkInfo, str]]) -> tuple[str, ...]:
    """Rename them. Returns which keep their names as another netdev has what is wanted.

    :param wanted: representor and its new name by VF index.
    :raises OSError: what the kernel refused for another reason.
    """
    left = [_Renamed(index, link, name, link.name) for index, (link, name) in sorted(wanted.items())]
    kept = []
    while left:
        names = {one.now for one in left}
        free = next((one for one in left if one.name not in names), None)
        if free is None:  # each has the name that another one is to get
            left[0].now = f"virtfn{left[0].link.ifindex}"
            links.rename(left[0].link.ifindex, left[0].now)
            continue
        left.remove(free)
        try:
            links.rename(free.link.ifindex, free.name)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
            kept.append(f"{free.now}, that of VF {free.index}, keeps its name, as another netdev has {free.name}")
    return tuple(kept)
