#!/bin/bash
# Makes each file system as large as its device: ModifyVolume grows a volume in place and tells nobody here.
set -u
export PATH=$PATH:/usr/sbin:/sbin
declare -A grown=()
while :; do
    while IFS= read -r mount_point; do
        read -r device type < <(findmnt -rn -o SOURCE,FSTYPE -M "$mount_point") || continue
        size=$(blockdev --getsize64 "$device") || continue
        [ "$size" != "${grown[$mount_point]:-}" ] || continue
        # Neither does anything where nothing is to be done.
        case $type in
        ext*) resize2fs "$device" ;;
        xfs) xfs_growfs -d "$mount_point" ;;
        *) echo "how to grow $type on $mount_point is not known" ;;
        esac && grown[$mount_point]=$size
    done </etc/evenkeel/mounts
    sleep "${EVENKEEL_GROW_INTERVAL:-15}"
done
