#!/bin/sh
# Process 1 of the guest once its root is in place. Reads what to do from the share and leaves the result there:
# modules-dir, binds, modules, environment, cmd -> timing, rc.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
stamp() { read -r up _ < /proc/uptime; echo "$1 $up" >> /run/vm/timing; }
stamp root
exec > /dev/hvc0 2>&1
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs vartmp /var/tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t debugfs debug /sys/kernel/debug
hostname vmguest
ip link set lo up

mkdir -p /lib/modules
mount --bind "/run/host$(cat /run/vm/modules-dir)" /lib/modules

# What lies under the guest's own tmpfs mounts is brought back from the host, writable in the guest only.
n=0
while IFS= read -r dir; do
    n=$((n + 1))
    mkdir -p "$dir" "/run/over/$n/u" "/run/over/$n/w"
    mount -t overlay -o "lowerdir=/run/host$dir,upperdir=/run/over/$n/u,workdir=/run/over/$n/w" overlay "$dir"
done < /run/vm/binds

while IFS= read -r module; do
    modprobe $module || echo "modprobe $module failed"
done < /run/vm/modules

if [ -e /run/vm/host-network ]; then
    modprobe virtio_net
    for dev in /sys/class/net/*; do
        [ "$(cat "$dev/address")" = "$(cat /run/vm/host-network)" ] || continue
        ip addr add 10.0.2.15/24 dev "${dev##*/}"
        ip link set "${dev##*/}" up
    done
fi

stamp command
. /run/vm/environment
sh /run/vm/cmd < /dev/null
echo $? > /run/vm/rc
stamp end
sync -f /run/vm/rc
mkfifo /run/never
echo o > /proc/sysrq-trigger
read -r _ < /run/never  # no program can be started from here on, and process 1 must not end
