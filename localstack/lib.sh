# What the scripts beside this file share. Sourced, not run.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=$(realpath -m "${EVENKEEL_TESTBED:-$(dirname "$here")/.testbed}")
export EVENKEEL_TESTBED=$state
# Its number, where several proving grounds stand on one machine (see paths.py).
export EVENKEEL_TESTBED_NUMBER=${EVENKEEL_TESTBED_NUMBER:-0}
port=$((4566 + EVENKEEL_TESTBED_NUMBER))
endpoint=http://127.0.0.1:$port
# shellcheck disable=SC2034 # used by those who source this
python=$state/venv/bin/python
# Things that LocalStack would otherwise keep for every user of the machine.
export XDG_CACHE_HOME=$state/cache/xdg

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# step WORDS COMMAND...: one line a step, with the seconds it took; its output only if it fails.
step() {
    local words=$1 began=$EPOCHREALTIME output
    shift
    printf '  %-52s' "$words"
    output=$(mktemp)
    if "$@" >"$output" 2>&1 </dev/null; then
        printf '%6.1f s\n' "$(seconds_since "$began")"
        rm -f "$output"
    else
        printf 'failed\n'
        tail -n 20 "$output" >&2
        rm -f "$output"
        exit 1
    fi
}

seconds_since() {
    awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'
}

healthy() {
    curl -fsS --noproxy '*' -m 2 -o /dev/null "$endpoint/_evenkeel/config" 2>/dev/null
}

# running PIDFILE WORD: the pid in the file, if that process is alive and WORD is part of its command line.
running() {
    local pid
    pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "$2" || return 1
    printf '%s\n' "$pid"
}

# gone PID SECONDS: waits until the process has ended.
gone() {
    local tenths=$(($2 * 10))
    while [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; do
        [ "$tenths" -gt 0 ] || return 1
        tenths=$((tenths - 1))
        sleep 0.1
    done
}
