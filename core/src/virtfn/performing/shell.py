"""What the shell forms of several steps share: words for devices, and the functions that the commands call.

Files of sysfs are read by the shell itself: to start a program for each takes minutes where there are hundreds of
netdevs.
"""

from __future__ import annotations

import shlex

from virtfn.model import PciAddress, Pf, Step

HELPERS = """\
pci=/sys/bus/pci/devices
# the first line of a file, or nothing if it cannot be read, as $line: look FILE
look() { line=; { read -r line < "$1"; } 2> /dev/null || true; }
# address of a VF: vf PF INDEX
vf() { basename "$(readlink -e "$pci/$1/virtfn$2")"; }
# whether a netdev stands for another function: is_representor NETDEV
is_representor() {
    look "/sys/class/net/$1/phys_port_name"
    case "$line" in pf* | c[0-9]*pf*) return 0 ;; *) return 1 ;; esac
}
# name of a function's own netdev, waited for: netdev ADDRESS
netdev() {
    tries=0
    while :; do
        for name in "$pci/$1"/net/*; do
            [ -e "$name" ] && ! is_representor "${name##*/}" && { echo "${name##*/}"; return; }
        done
        tries=$((tries + 1)); [ "$tries" -le 100 ] || { echo "$1: no netdev" >&2; return 1; }
        sleep 0.1
    done
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
        look "/sys/class/net/$uplink/phys_port_name"; port=${line#p}
        look "/sys/class/net/$uplink/phys_switch_id"; switch=$line
        for one in "$pci/$1"/net/* /sys/class/net/*; do
            look "$one/phys_port_name"
            case "$one $line" in "$pci"/*" pf"*"vf$2" | /sys/class/*" pf${port}vf$2") ;; *) continue ;; esac
            look "$one/phys_switch_id"; [ "$line" = "$switch" ] || continue
            [ "${one##*/}" != "$3" ] || return 0
            case "$one" in *_h) return 0 ;; esac
            [ ! -e "$one/master" ] || return 0
            look "$one/flags"; [ $((line & 1)) -eq 0 ] || return 0
            ip link set dev "${one##*/}" name "$3"
            return
        done
        tries=$((tries + 1)); [ "$tries" -le 100 ] || { echo "$1: no representor of VF $2" >&2; return 1; }
        sleep 0.1
    done
}
# take a function from its driver: unbind ADDRESS
unbind() { [ ! -e "$pci/$1/driver" ] || echo "$1" > "$pci/$1/driver/unbind"; }
# have udev look again at what is there: announce PF
announce() {
    for one in "$pci/$1"/virtfn*/net/* "$pci/$1"/net/*; do
        case "$one" in "$pci/$1"/virtfn*) ;; *) is_representor "${one##*/}" || continue ;; esac
        [ ! -e "$one/uevent" ] || echo change > "$one/uevent"
    done
}
# folder of a function's vDPA device: vdpa_of ADDRESS
vdpa_of() {
    for device in "/sys/bus/vdpa/devices/vdpa:$1" /sys/bus/vdpa/devices/*; do
        case "$(readlink -e "$device")" in */"$1"/*) echo "$device"; return ;; esac
    done
    echo "$1: no vDPA device" >&2; return 1
}
"""
"""In sh."""


def netdev_of(step: Step, pf: Pf | None) -> str:
    """The PF's netdev by the name it has: in switchdev mode representors stand beside it in its folder."""
    if pf is not None and pf.netdev is not None:
        return shlex.quote(pf.netdev.name)
    return f'"$(netdev {PciAddress.parse(step.target)})"'


def vf_of(step: Step) -> str:
    """The address of the step's VF."""
    return f'"$(vf {PciAddress.parse(step.target)} {int(step.args["vf"])})"'


def optional(command: str, step: Step) -> str:
    """The command, whose failure is none where the step is optional."""
    return f"{command} || true  # not every host and driver can" if step.optional else command
