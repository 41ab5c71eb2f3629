"""A plan as a shell script that a person can read and run as root: the same writes, without virtfn."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from virtfn.model import Inventory, PciAddress, Pf, Plan, Step, steps
from virtfn.performing import script_features
from virtfn.performing.bridges import BRIDGE_SHELL
from virtfn.performing.shell import HELPERS, netdev_of, optional, vf_of

_PREAMBLE = """\
#!/bin/sh
# {title}
# Run as root. It stops at the first command that fails.
set -eu
"""


def shell_lines(step: Step, pf: Pf | None) -> list[str]:
    """The commands of one step.

    :param pf: its PF, as far as it is known when the commands are run; None: they ask for its name.
    """
    return _SHELL.get(step.op, _foreign)(step, pf)


def shell_script(plan: Plan, inventory: Inventory) -> str:
    """The script. A plugin's own step has no shell form: the script then stops there and says so."""
    title = f"{len(plan.steps)} steps, disruption {plan.disruption.name}"
    lines = [_PREAMBLE.replace("{title}", title) + HELPERS]
    for problem in plan.problems:
        lines.append(f"# {problem.severity}: {_comment(str(problem))}")
    for number, step in enumerate(plan.steps, start=1):
        pf = None if step.target == steps.NODE else _pf(step, inventory)
        lines.append(f"\n# {number}. {step.op} {step.target} [{step.disruption.name}] {_comment(step.why)}")
        lines += shell_lines(step, pf)
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return " ".join(text.split())


def _pf(step: Step, inventory: Inventory) -> Pf | None:
    return next((pf for pf in inventory.pfs() if str(pf.address) == step.target), None)


def _load_module(step: Step, _pf: Pf | None) -> list[str]:
    return [optional(f"modprobe {shlex.quote(step.args['module'])}", step)]


def _set_num_vfs(step: Step, pf: Pf | None) -> list[str]:
    folder = f'"$pci/{PciAddress.parse(step.target)}"'
    count = int(step.args["count"])
    lines = [f"echo 0 > {folder}/sriov_numvfs"]
    if count:
        quiet = not step.args.get("probe", True) and (pf is None or pf.drivers_autoprobe is not False)
        lines += [f"echo 0 > {folder}/sriov_drivers_autoprobe"] if quiet else []
        make, back = f"echo {count} > {folder}/sriov_numvfs", f"echo 1 > {folder}/sriov_drivers_autoprobe"
        lines += [f"{make} || {{ {back}; false; }}", back] if quiet else [make]
    return lines


def _set_autoprobe(step: Step, _pf: Pf | None) -> list[str]:
    value = int(bool(step.args["enabled"]))
    return [f'echo {value} > "$pci/{PciAddress.parse(step.target)}/sriov_drivers_autoprobe"']


def _set_eswitch_mode(step: Step, _pf: Pf | None) -> list[str]:
    return [f"devlink dev eswitch set pci/{PciAddress.parse(step.target)} mode {shlex.quote(step.args['mode'])}"]


def _set_link(step: Step, pf: Pf | None) -> list[str]:
    words = [f"mtu {int(step.args['mtu'])}"] if step.args.get("mtu") is not None else []
    words += ["up" if step.args["up"] else "down"] if step.args.get("up") is not None else []
    device = f'"$(netdev {vf_of(step)})"' if "vf" in step.args else netdev_of(step, pf)
    return [f"ip link set dev {device} {' '.join(words)}"]


_VF_WORDS: Mapping[str, Callable[[object], str]] = {
    "mac": lambda value: f"mac {value}",
    "vlan": lambda value: f"vlan {value}",
    "qos": lambda value: f"qos {value}",
    "vlan_proto": lambda value: f"proto {value}",
    "trust": lambda value: f"trust {'on' if value else 'off'}",
    "spoof_check": lambda value: f"spoofchk {'on' if value else 'off'}",
    "link_state": lambda value: f"state {value}",
    "min_tx_rate": lambda value: f"min_tx_rate {value}",
    "max_tx_rate": lambda value: f"max_tx_rate {value}",
    "node_guid": lambda value: f"node_guid {value}",
    "port_guid": lambda value: f"port_guid {value}",
}
"""`ip link set PF vf N ...`, in the order ip(8) wants: qos and proto belong to the vlan before them."""


def _set_vf(step: Step, pf: Pf | None) -> list[str]:
    words = [word(step.args[name]) for name, word in _VF_WORDS.items() if step.args.get(name) is not None]
    command = f"ip link set dev {netdev_of(step, pf)} vf {int(step.args['vf'])} {' '.join(words)}"
    return [optional(command, step)]


def _bind_driver(step: Step, _pf: Pf | None) -> list[str]:
    driver = step.args["driver"]
    lines = [f"vf={vf_of(step)}", 'unbind "$vf"']
    if driver is None:
        return [*lines, 'echo > "$pci/$vf/driver_override"', 'echo "$vf" > /sys/bus/pci/drivers_probe']
    name = shlex.quote(driver)
    return [
        *lines,
        f'echo {name} > "$pci/$vf/driver_override"',
        f'echo "$vf" > /sys/bus/pci/drivers/{name}/bind || {{ echo > "$pci/$vf/driver_override"; false; }}',
        'echo > "$pci/$vf/driver_override"',
    ]


def _unbind_driver(step: Step, _pf: Pf | None) -> list[str]:
    return [f"unbind {vf_of(step)}"]


def _add_vdpa(step: Step, _pf: Pf | None) -> list[str]:
    name = shlex.quote(step.args["name"]) if step.args.get("name") else '"vdpa:$vf"'
    command = f'vdpa dev add name {name} mgmtdev "pci/$vf"'
    return [f"vf={vf_of(step)}", f"{command} max_vqp 32 2>/dev/null || {command}"]


def _bind_vdpa(step: Step, _pf: Pf | None) -> list[str]:
    lines = [
        f"vf={vf_of(step)}",
        'vdpa=$(vdpa_of "$vf")',
        '[ ! -e "$vdpa/driver" ] || basename "$vdpa" > "$vdpa/driver/unbind"',
    ]
    if step.args["driver"] is None:
        return lines
    driver = shlex.quote(step.args["driver"])
    return [
        *lines,
        f'echo {driver} > "$vdpa/driver_override"',
        f'basename "$vdpa" > /sys/bus/vdpa/drivers/{driver}/bind || {{ echo > "$vdpa/driver_override"; false; }}',
        'echo > "$vdpa/driver_override"',
    ]


def _remove_vdpa(step: Step, _pf: Pf | None) -> list[str]:
    return [f"vf={vf_of(step)}", '[ ! -e "/sys/bus/vdpa/devices/vdpa:$vf" ] || vdpa dev del "vdpa:$vf"']


def _foreign(step: Step, _pf: Pf | None) -> list[str]:
    return [f"echo {shlex.quote(f'{step.op} on {step.target} can only be done by virtfn apply')} >&2", "exit 1"]


_SHELL: Mapping[str, Callable[[Step, Pf | None], list[str]]] = {
    steps.LOAD_MODULE: _load_module,
    steps.SET_NUM_VFS: _set_num_vfs,
    steps.SET_AUTOPROBE: _set_autoprobe,
    steps.SET_ESWITCH_MODE: _set_eswitch_mode,
    steps.SET_LINK: _set_link,
    steps.SET_VF: _set_vf,
    steps.BIND_DRIVER: _bind_driver,
    steps.UNBIND_DRIVER: _unbind_driver,
    **BRIDGE_SHELL,
    steps.ADD_VDPA: _add_vdpa,
    steps.BIND_VDPA: _bind_vdpa,
    steps.REMOVE_VDPA: _remove_vdpa,
    steps.SET_PARAM: script_features.set_param,
    steps.RELOAD: script_features.reload_driver,
    steps.SET_INLINE_MODE: script_features.set_inline_mode,
    steps.NAME_REPRESENTORS: script_features.name_representors,
    steps.SET_OFFLOAD: script_features.set_offload,
    steps.WRITE_FILE: script_features.write_file,
    steps.REMOVE_FILE: script_features.remove_file,
    steps.RELOAD_UDEV: script_features.reload_udev,
    steps.SET_RDMA_MODE: script_features.set_rdma_mode,
}
