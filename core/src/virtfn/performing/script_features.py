"""Shell forms of the steps that are not about VFs and their drivers: see `virtfn.performing.script`."""

from __future__ import annotations

import shlex

from virtfn.model import PciAddress, Pf, Step
from virtfn.performing.shell import netdev_of, optional


def set_param(step: Step, _pf: Pf | None) -> list[str]:
    """`devlink dev param set`."""
    args, value = step.args, step.args["value"]
    word = str(value).lower() if isinstance(value, bool) else shlex.quote(str(value))
    target = f"pci/{PciAddress.parse(step.target)}"
    return [optional(f"devlink dev param set {target} name {args['name']} value {word} cmode {args['mode']}", step)]


def reload_driver(step: Step, pf: Pf | None) -> list[str]:
    """`devlink dev reload`, and until its netdev has its name again."""
    lines = [f"devlink dev reload pci/{PciAddress.parse(step.target)}"]
    return [*lines, f"named {shlex.quote(pf.netdev.name)}"] if pf and pf.netdev else lines


def set_inline_mode(step: Step, _pf: Pf | None) -> list[str]:
    """`devlink dev eswitch set ... inline-mode`."""
    mode = shlex.quote(step.args["mode"])
    return [optional(f"devlink dev eswitch set pci/{PciAddress.parse(step.target)} inline-mode {mode}", step)]


def name_representors(step: Step, _pf: Pf | None) -> list[str]:
    """One line a VF."""
    address = PciAddress.parse(step.target)
    names = step.args["names"].items()
    return [optional(f"representor {address} {int(index)} {shlex.quote(name)}", step) for index, name in names]


def set_offload(step: Step, pf: Pf | None) -> list[str]:
    """`ethtool -K`; a host without ethtool goes on without."""
    return [optional(f"ethtool -K {netdev_of(step, pf)} hw-tc-offload {'on' if step.args['enabled'] else 'off'}", step)]


def write_file(step: Step, _pf: Pf | None) -> list[str]:
    """A here-document."""
    path, text = shlex.quote(step.args["path"]), step.args["text"]
    return [f'mkdir -p "$(dirname {path})"', f"cat > {path} <<'END_OF_FILE'", text.rstrip("\n"), "END_OF_FILE"]


def remove_file(step: Step, _pf: Pf | None) -> list[str]:
    """`rm -f`."""
    return [f"rm -f {shlex.quote(step.args['path'])}"]


def reload_udev(step: Step, _pf: Pf | None) -> list[str]:
    """`udevadm control --reload`, and what is there is announced anew; `networkctl reload` if networkd runs."""
    return [
        optional(f"{{ udevadm control --reload && announce {PciAddress.parse(step.target)}; }}", step),
        optional("[ ! -e /run/systemd/netif ] || networkctl reload", step),
    ]


def set_rdma_mode(step: Step, _pf: Pf | None) -> list[str]:
    """`rdma system set`."""
    return [f"rdma system set netns {shlex.quote(step.args['mode'])}"]
