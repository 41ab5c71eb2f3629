"""Shell forms of the steps that are not about VFs and their drivers: see `virtfn.performing.script`."""

from __future__ import annotations

import shlex

from virtfn.model import PciAddress, Pf, Step

HELPERS = """\
# whether a netdev stands for a VF: is_representor NETDEV
is_representor() {
    case "$(cat "/sys/class/net/$1/phys_port_name" 2>/dev/null)" in *pf*vf*) return 0 ;; *) return 1 ;; esac
}
# wait for a netdev to have its name: named NETDEV
named() {
    tries=0
    until [ -e "/sys/class/net/$1" ]; do
        tries=$((tries + 1)); [ "$tries" -le 100 ] || { echo "no netdev $1" >&2; return 1; }
        sleep 0.1
    done
}
# give a VF's representor a name, waited for; one that is in use keeps its own: representor PF INDEX NAME
representor() {
    tries=0
    while :; do
        uplink=$(netdev "$1") || return 1
        port=$(cat "/sys/class/net/$uplink/phys_port_name" 2>/dev/null) || return 1
        switch=$(cat "/sys/class/net/$uplink/phys_switch_id" 2>/dev/null) || return 1
        for one in /sys/class/net/*; do
            [ "$(cat "$one/phys_port_name" 2>/dev/null)" = "pf${port#p}vf$2" ] || continue
            [ "$(cat "$one/phys_switch_id" 2>/dev/null)" = "$switch" ] || continue
            one=${one##*/}
            [ "$one" != "$3" ] || return 0
            case "$one" in *_h) return 0 ;; esac
            [ ! -e "/sys/class/net/$one/master" ] || return 0
            [ $(($(cat "/sys/class/net/$one/flags") & 1)) -eq 0 ] || return 0
            ip link set dev "$one" name "$3"
            return
        done
        tries=$((tries + 1)); [ "$tries" -le 100 ] || { echo "$1: no representor of VF $2" >&2; return 1; }
        sleep 0.1
    done
}
"""


def set_param(step: Step, _pf: Pf | None) -> list[str]:
    """`devlink dev param set`."""
    args, value = step.args, step.args["value"]
    word = str(value).lower() if isinstance(value, bool) else shlex.quote(str(value))
    target = f"pci/{PciAddress.parse(step.target)}"
    return [_optional(f"devlink dev param set {target} name {args['name']} value {word} cmode {args['mode']}", step)]


def reload_driver(step: Step, pf: Pf | None) -> list[str]:
    """`devlink dev reload`, and until its netdev has its name again."""
    lines = [f"devlink dev reload pci/{PciAddress.parse(step.target)}"]
    return [*lines, f"named {shlex.quote(pf.netdev.name)}"] if pf and pf.netdev else lines


def set_inline_mode(step: Step, _pf: Pf | None) -> list[str]:
    """`devlink dev eswitch set ... inline-mode`."""
    mode = shlex.quote(step.args["mode"])
    return [_optional(f"devlink dev eswitch set pci/{PciAddress.parse(step.target)} inline-mode {mode}", step)]


def name_representors(step: Step, _pf: Pf | None) -> list[str]:
    """One line a VF."""
    address = PciAddress.parse(step.target)
    names = step.args["names"].items()
    return [_optional(f"representor {address} {int(index)} {shlex.quote(name)}", step) for index, name in names]


def set_offload(step: Step, pf: Pf | None) -> list[str]:
    """`ethtool -K`; a host without ethtool goes on without."""
    name = shlex.quote(pf.netdev.name) if pf and pf.netdev else f'"$(netdev {PciAddress.parse(step.target)})"'
    return [_optional(f"ethtool -K {name} hw-tc-offload {'on' if step.args['enabled'] else 'off'}", step)]


def write_file(step: Step, _pf: Pf | None) -> list[str]:
    """A here-document."""
    path, text = shlex.quote(step.args["path"]), step.args["text"]
    return [f'mkdir -p "$(dirname {path})"', f"cat > {path} <<'END_OF_FILE'", text.rstrip("\n"), "END_OF_FILE"]


def remove_file(step: Step, _pf: Pf | None) -> list[str]:
    """`rm -f`."""
    return [f"rm -f {shlex.quote(step.args['path'])}"]


def reload_udev(step: Step, _pf: Pf | None) -> list[str]:
    """`udevadm control --reload`."""
    return [_optional("udevadm control --reload", step)]


def set_rdma_mode(step: Step, _pf: Pf | None) -> list[str]:
    """`rdma system set`."""
    return [f"rdma system set netns {shlex.quote(step.args['mode'])}"]


def _optional(command: str, step: Step) -> str:
    return f"{command} || true  # not every host and driver can" if step.optional else command
