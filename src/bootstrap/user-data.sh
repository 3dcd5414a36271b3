#!/bin/bash
# What user_data() makes the script of an instance from: its own comments go, `#@ NAME` becomes the file of that name,
# and `#@ values` these assignments:
#   stack, layer, hostname, region, log_max_size, log_max_file
#   mounts       an array, device and mount point in turn, parents before what is mounted in them
#   port         what dockerd listens on; empty: on its unix socket alone
#   parameter, ssm_endpoint
# shellcheck disable=SC2154
#@ values
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
log=/var/log/evenkeel-bootstrap.log
daemon=/etc/docker/daemon.json
dropin=/etc/systemd/system/docker.service.d/evenkeel.conf
tls=/etc/evenkeel/tls
step=start
umask 022
exec 3>&1 >>"$log" 2>&1

# fd 3 is what cloud-init prints and keeps; the rest is the log.
say() {
    printf 'evenkeel: %s\n' "$*" >&3
    printf 'evenkeel: %s\n' "$*" >&2
}
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}
# The console is what can be read from outside (GetConsoleOutput), whatever became of the network.
console() {
    { [ ! -w /dev/console ] || printf 'evenkeel: bootstrap %s\n' "$*" >>/dev/console; } 2>/dev/null || :
}
conclude() {
    local code=$? outcome='done' said
    trap - EXIT
    set +e
    if [ "$code" != 0 ]; then
        [ "$step" != engine ] || journalctl -u docker.service -n 4 -o cat --no-pager
        # The last lines since this step, or its last wait, was announced.
        said=$(awk '/^evenkeel: /{n = 0; next} NF{l[n++] = $0}
            END{for (i = n > 5 ? n - 5 : 0; i < n; i++) printf "%s%s", l[i], i < n - 1 ? "; " : ""}' "$log" |
            tr -c '[:print:]' ' ' | tail -c 800)
        outcome="FAILED at $step: ${said:-no word, exit code $code}"
    fi
    console "$outcome"
    say "bootstrap $outcome"
    exit "$code"
}
begin() {
    step=$1
    say "$step"
}
# retry SECONDS WHAT COMMAND...: until it succeeds.
retry() {
    local limit=$1 what=$2 start=$SECONDS told=
    shift 2
    until "$@"; do
        ((SECONDS - start < limit)) || fail "gave up after $limit s: $what"
        [ -n "$told" ] || say "waiting: $what"
        told=1
        sleep $((SECONDS - start < 10 ? 1 : 5))
    done
}
# install_file PATH: standard input; the file is whole at every moment.
install_file() {
    mkdir -p "${1%/*}"
    cat >"$1.new"
    mv "$1.new" "$1"
}

trap conclude EXIT
trap 'exit 143' TERM INT HUP
console begins
say "$hostname of $stack/$layer"

begin hostname
hostnamectl set-hostname "$hostname" || {
    hostname "$hostname"
    printf '%s\n' "$hostname" >/etc/hostname
}
grep -qwF -e "$hostname" /etc/hosts || printf '127.0.1.1 %s\n' "$hostname" >>/etc/hosts
[ ! -d /etc/cloud/cloud.cfg.d ] || echo 'preserve_hostname: true' >/etc/cloud/cloud.cfg.d/99-evenkeel.cfg

begin volumes
# Where a volume shows up: under its declared name (links of the AMI's udev rules), as Xen names it, or as the NVMe
# device whose controller tells that name ("Map Amazon EBS volumes to NVMe device names", Amazon EBS User Guide).
find_device() {
    local name
    for name in "$1" "/dev/xvd${1#/dev/sd}"; do
        [ ! -b "$name" ] || { readlink -f "$name" && return; }
    done
    python3 - "$1" <<'END'
#@ nvme.py
END
}
# All of it zero from OFFSET on, for a megabyte.
blank() {
    local code=0
    cmp -s -n 1048576 -i "$2:0" "$1" /dev/zero || code=$?
    [ "$code" -lt 2 ] || fail "$1 cannot be read"
    return "$code"
}
# The type of the file system on a device; made only where there is certainly nothing.
file_system() {
    local found code=0 size
    found=$(blkid -p -o export "$1") || code=$?
    if [ "$code" = 2 ]; then
        size=$(blockdev --getsize64 "$1")
        if ! blank "$1" 0 || ! blank "$1" $((size - 1048576)); then
            fail "$1 for $2 has no signature known here, and is not blank either: it is left as it is." \
                "If nothing on it is needed, clear it (blkdiscard or dd) and start a new instance."
        fi
        found=${2#/}
        found=${found//\//-}
        # XFS as OpsWorks made them, where the AMI can, which Amazon Linux and Ubuntu can.
        if command -v mkfs.xfs >/dev/null; then
            mkfs.xfs -q -L "${found:0:12}" "$1" >&2
            echo xfs
        else
            mkfs.ext4 -q -L "${found:0:16}" -E lazy_itable_init=1,lazy_journal_init=1 "$1" >&2
            echo ext4
        fi
    elif [ "$code" != 0 ]; then
        fail "blkid cannot tell what is on $1 for $2 (exit code $code): it is left as it is"
    elif grep -qx USAGE=filesystem <<<"$found"; then
        sed -n 's/^TYPE=//p' <<<"$found"
    else
        fail "$1 for $2 holds something other than a file system ($(grep TYPE= <<<"$found" | paste -sd ' ')):" \
            "it is left as it is"
    fi
}
mount_volume() {
    local device type uuid options=defaults,nofail path
    [[ $2 != *[[:cntrl:]]* ]] || fail "the mount point ${2@Q} has control characters"
    device=$(retry 300 "$1 for $2 to be attached" find_device "$1")
    if mountpoint -q "$2"; then
        [ "$(mountpoint -d "$2")" = "$(mountpoint -x "$device")" ] || fail "something else than $device is mounted on $2"
    else
        mkdir -p "$2"
        [ -z "$(ls -A "$2")" ] || fail "$2 is not empty, and its volume would hide what is in it. Has Docker run already?" \
            "Use an AMI in which Docker is disabled (systemctl disable docker docker.socket) and $2 is empty."
    fi
    type=$(file_system "$device" "$2")
    # Unused inode tables need no zeroes: a volume's burst credits are for its data.
    [ "$type" != ext4 ] || options+=,noinit_itable
    mountpoint -q "$2" || mount -t "$type" -o "$options" "$device" "$2"
    uuid=$(blkid -p -s UUID -o value "$device")
    path=${2//\\/\\134}
    grep -q "^UUID=$uuid " /etc/fstab ||
        printf 'UUID=%s %s %s %s 0 2\n' "$uuid" "${path// /\\040}" "$type" "$options" >>/etc/fstab
}
for ((i = 0; i < ${#mounts[@]}; i += 2)); do
    mount_volume "${mounts[i]}" "${mounts[i + 1]}"
done

begin docker
apt_install() {
    apt-get -q -o DPkg::Lock::Timeout=120 update && apt-get -q -y -o DPkg::Lock::Timeout=120 install "$@"
}
if ! command -v dockerd; then
    # shellcheck source=/dev/null
    distribution=$(. /etc/os-release && echo "$ID ${VERSION_ID:-}")
    case $distribution in
    "amzn 2023"*) retry 600 "dnf install docker" dnf install -y docker ;;
    ubuntu* | debian*) retry 600 "apt-get install docker.io" apt_install docker.io ;;
    *) fail "Docker is missing, and how to install it on '$distribution' (ID and VERSION_ID of /etc/os-release) is not" \
        "known: use Amazon Linux 2023, Ubuntu or Debian, or an AMI with Docker in it" ;;
    esac
fi

#@ transport

begin configuration
mkdir -p "${daemon%/*}"
python3 - "$daemon" "$log_max_size" "$log_max_file" "$port" "$tls" <<'END'
#@ daemon.py
END
# The unit as the distribution has it, less its -H: hosts are in daemon.json, and dockerd refuses both.
command=$(systemctl cat docker.service | sed -E -e ':a' -e '/\\$/{N;s/\\\n//;ta' -e '}' |
    sed -nE 's/ (-H|--host)[ =]?[^ ]+//g; s/^ExecStart=(.+)/\1/p' | tail -n 1)
[ -n "$command" ] || fail "docker.service has no ExecStart"
{
    # Without its volumes the engine does not start: it would write to the root volume.
    echo '[Unit]'
    for ((i = 1; i < ${#mounts[@]}; i += 2)); do
        path=${mounts[i]//\\/\\\\}
        path=${path//\"/\\\"}
        printf 'RequiresMountsFor="%s"\n' "${path//%/%%}"
    done
    echo '[Service]'
    # dockerd reads certificates only when it starts; if none can be fetched then, those of last time stay.
    [ -z "$port" ] || echo 'ExecStartPre=-/usr/local/sbin/evenkeel-certs 20'
    printf 'ExecStart=\nExecStart=%s\n' "$command"
} | install_file "$dropin"

begin engine
engine_answers() {
    python3 -c '
import socket, sys
engine = socket.socket(socket.AF_UNIX)
engine.settimeout(5)
engine.connect("/var/run/docker.sock")
engine.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
sys.exit(b" 200 " not in engine.recv(64))'
}
systemctl daemon-reload
systemctl enable docker.service
# Restarted only if it runs with another configuration.
wanted=$(cat "$daemon" "$dropin" | sha256sum)
if ! systemctl is-active docker.service || [ "$wanted" != "$(cat /etc/evenkeel/engine 2>/dev/null)" ]; then
    systemctl restart docker.service
fi
retry 60 "the engine to answer on /var/run/docker.sock" engine_answers
install_file /etc/evenkeel/engine <<<"$wanted"

if ((${#mounts[@]})); then
    begin growth
    for ((i = 1; i < ${#mounts[@]}; i += 2)); do printf '%s\n' "${mounts[i]}"; done | install_file /etc/evenkeel/mounts
    install_file /usr/local/sbin/evenkeel-grow <<'END'
#@ grow.sh
END
    chmod 755 /usr/local/sbin/evenkeel-grow
    install_file /etc/systemd/system/evenkeel-grow.service <<'END'
[Unit]
Description=Grows file systems when their EBS volumes have grown

[Service]
ExecStart=/usr/local/sbin/evenkeel-grow
Restart=always
RestartSec=15

[Install]
WantedBy=multi-user.target
END
    systemctl daemon-reload
    systemctl enable --now evenkeel-grow.service
fi
