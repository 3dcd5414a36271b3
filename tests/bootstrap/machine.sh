#!/bin/bash
# Turns this mount namespace into a machine of its own: machine.sh DIRECTORY STUBS COMMAND. What it writes to /etc,
# /var, /run, /root and /usr/local is in DIRECTORY, and stays; what it mounts goes with it, as with a real one.
set -euo pipefail
directory=$1 stubs=$2

if [ ! -d "$directory/etc" ]; then
    mkdir -p "$directory"/{var/{log,lib,tmp},run/units,root,local/{bin,sbin}}
    ln -s /run "$directory/var/run"
    cp -a /etc "$directory/etc"
    rm -rf "$directory"/etc/{docker,evenkeel,cloud,os-release,systemd/system/docker.service.d}
    : >"$directory/etc/fstab"
    printf '127.0.0.1 localhost\n' >"$directory/etc/hosts"
    # The AMI's default user, and nobody else.
    sed -i '/^[^:]*:[^:]*:1[0-9][0-9][0-9]:/d' "$directory/etc/passwd"
    echo 'admin:x:1000:1000::/var/home/admin:/bin/bash' >>"$directory/etc/passwd"
    sed -i '/^docker:/d' "$directory"/etc/{group,gshadow}
    cp -a "$directory/files/." "$directory/"
fi

# What the host has mounted there would only be hidden, and still be in the table of mounts.
findmnt -rno TARGET | grep -E '^/(etc|var|run|root|usr/local)/' | tac | while read -r target; do
    umount -l "$(printf %b "$target")"
done

# Without an engine of the host's, if there is one, and other tools that the AMI lacks.
mount -t tmpfs tmpfs "$directory/mnt"
mkdir "$directory"/mnt/{upper,work}
for tool in dockerd $(cat "$directory/lacking"); do mknod "$directory/mnt/upper/$tool" c 0 0; done
mount -t overlay -o "lowerdir=/usr/sbin,upperdir=$directory/mnt/upper,workdir=$directory/mnt/work" overlay /usr/sbin

mount -t tmpfs tmpfs /dev
ln -s /proc/self/fd /dev/fd
mknod /dev/null c 1 3
mknod /dev/zero c 1 5
mknod /dev/urandom c 1 9
: >>"$directory/console"
: >/dev/console
mount --bind "$directory/console" /dev/console
while read -r name major minor; do mknod "/dev/$name" b "$major" "$minor"; done <"$directory/devices"

for part in var run root; do mount --bind "$directory/$part" "/$part"; done
mount --bind "$directory/local" /usr/local
mount --bind "$directory/etc" /etc
rm -f /run/docker.sock

export PATH=$stubs:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Python waits a hundredth of the time too.
export PYTHONPATH=$stubs EVENKEEL_GROW_INTERVAL=0.1
user_data() { bash /run/user-data; }
eval "$3"
