#!/bin/sh
# Runs jobs on a node: sh runner.sh OPERATION JOB_ID [ARGUMENTS]
#
# Needs POSIX sh and its usual companions, and setsid where the shell has no job control.
# All of a job lives in ~/.skyport/jobs/JOB_ID:
#   stdout.log, stderr.log   what the job wrote; links to the files that it wants it in, if any
#   .runner/job.sh           its environment, command and settings, as shell functions
#   .runner/launch.sh        how a process of this program becomes the job
#   .runner/lock             who supervises it; made once by link(2), so a job never runs twice
#   .runner/job              the job's first process, which leads its process group
#   .runner/exit             exit status; written when no process of the job is left
#   .runner/stop             a stop was asked for
#   .runner/started          when it started, in seconds since the epoch
#   .runner/walltime         how long it may run, where that was changed after the staging
#   .runner/timer            the process that ends it then
#   .runner/trouble          why it could not be started: a word for the core, and what it is about
#   .runner/container        the program that can remove the job's container, while there is one
# A process is named by "PID BORN BOOT", so that a reused number is never taken for it.

set -u
LC_ALL=C
export LC_ALL
op=$1
id=$2
root=$HOME/.skyport
dir=$root/jobs/$id
own=$dir/.runner

say() { printf 'skyport-runner %s\n' "$*"; }

fail() {
    printf '%s\n' "$*" >&2
    exit 70
}

pause() { sleep 0.05 2>/dev/null || sleep 1; }

now() { date +%s; }

has_proc() { [ -r "/proc/$$/stat" ]; }

boot() {
    line=-
    { read -r line </proc/sys/kernel/random/boot_id; } 2>/dev/null
    printf '%s\n' "$line"
}

# When a process started; fails for one that is gone or only waits to be reaped.
born() {
    if has_proc; then
        { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
        # shellcheck disable=SC2086
        set -- ${line##*) }
        [ "$1" != Z ] && [ "$1" != X ] || return 1
        shift 19
        printf '%s\n' "$1"
    else
        line=$(ps -o lstart= -p "$1" | tr -s ' ' _)
        [ -n "$line" ] && printf '%s\n' "$line"
    fi
}

name_of() { printf '%s %s %s\n' "$1" "$(born "$1")" "$(boot)"; }

lives() { [ "$1" -gt 0 ] && [ "$3" = "$(boot)" ] && [ "$(born "$1")" = "$2" ]; }

# Reads a record into pid, since and at.
record() { { read -r pid since at <"$own/$1"; } 2>/dev/null; }

supervised() { record lock && lives "$pid" "$since" "$at"; }

report() {
    state=absent
    main=0
    code=-
    timed=0
    if [ ! -f "$own/exit" ] && [ -f "$own/lock" ]; then
        if supervised; then
            state=running
            record job && main=$pid
        elif [ ! -f "$own/exit" ]; then
            state=lost
        fi
    fi
    if [ -f "$own/exit" ]; then
        state=exited
        read -r code timed <"$own/exit"
        # What a node without power left of the record.
        case $code-$timed in
        *[!0-9-]* | -* | *-) state=lost code=- timed=0 ;;
        esac
    elif [ "$state" = absent ] && [ -f "$own/job.sh" ]; then
        state=staged
    fi
    age=-
    # Not the time itself: the clock here may be another than the core's.
    { read -r begun <"$own/started"; } 2>/dev/null || begun=
    case $begun in
    '' | *[!0-9]*) ;;
    *) age=$(($(now) - begun)) ;;
    esac
    trouble=
    { read -r trouble <"$own/trouble"; } 2>/dev/null
    say "$state $main $code $timed $age $trouble"
}

# -- ending processes --------------------------------------------------------------------------

# The job's process group, or 0 if its number may belong to somebody else by now.
group() {
    if [ ! -f "$own/exit" ] && record job && [ "$at" = "$(boot)" ]; then
        present=$(born "$pid")
        if [ -z "$present" ] || [ "$present" = "$since" ]; then
            printf '%s\n' "$pid"
            return
        fi
    fi
    echo 0
}

# A process that nobody reaps would keep its group forever: zombies do not count.
group_lives() {
    [ "$1" -gt 0 ] && kill -0 -- "-$1" 2>/dev/null || return 1
    has_proc || return 0
    wanted=$1
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        # shellcheck disable=SC2086
        set -- ${line##*) }
        [ "${3:-}" = "$wanted" ] && [ "$1" != Z ] && return 0
    done
    return 1
}

# Processes of the job in sessions of their own, as Jupyter's kernels are: they carry its mark.
marked() {
    has_proc || return 0
    grep -ls "SKYPORT_JOB_ID=$id" /proc/[0-9]*/environ 2>/dev/null |
        while read -r line; do
            line=${line#/proc/}
            printf '%s ' "${line%/environ}"
        done
}

# A container goes on without those who asked for it.
end_container() {
    { read -r engine <"$own/container"; } 2>/dev/null || return 0
    "$engine" kill --signal KILL "skyport-$id" >/dev/null 2>&1
    "$engine" rm --force "skyport-$id" >/dev/null 2>&1
    rm -f "$own/container"
}

# TERM, then KILL after $1 seconds; returns once nothing of the job lives.
terminate() {
    pgid=$(group)
    deadline=$(($(now) + $1))
    signal=TERM
    warned=
    [ "$pgid" -gt 0 ] && kill -s TERM -- "-$pgid" 2>/dev/null
    while :; do
        leader=0
        group_lives "$pgid" && leader=1
        others=$(marked)
        if [ "$leader" = 0 ] && [ -z "$others" ]; then
            end_container
            return 0
        fi
        if [ "$signal" = TERM ] && [ "$(now)" -ge "$deadline" ]; then
            signal=KILL
            deadline=$(($(now) + 15))
        elif [ "$signal" = KILL ] && [ "$(now)" -ge "$deadline" ]; then
            return 1
        fi
        if [ "$signal" = KILL ]; then
            [ "$leader" = 1 ] && kill -s KILL -- "-$pgid" 2>/dev/null
            end_container
            # shellcheck disable=SC2086
            [ -n "$others" ] && kill -s KILL $others 2>/dev/null
        elif [ "$leader" = 0 ] && [ -z "$warned" ]; then
            # The group had its chance to end these in good order.
            # shellcheck disable=SC2086
            kill -s TERM $others 2>/dev/null
            warned=1
        fi
        pause
    done
}

# -- running a job -----------------------------------------------------------------------------

# Runs an operation of this program on its own. Twice setsid: the first makes this process a group
# leader if it is not, so the second forks and its parent returns. With "&" instead, the shell would
# make the job ignore SIGINT for good.
detached() {
    if command -v setsid >/dev/null 2>&1; then
        setsid setsid sh "$own/runner.sh" "$@"
    else
        set -m
        sh "$own/runner.sh" "$@" &
    fi </dev/null >/dev/null
}

# The supervisor's standard error is a pipe to here until it holds the lock.
spawn() {
    said=$(detached supervise "$id" "$mask" 2>&1)
    [ -z "$said" ] || printf '%s\n' "$said" >&2
}

# Takes the lock with the record $1; fails if it is taken.
take_lock() {
    printf '%s\n' "$1" >"$own/lock.$$" || return 2
    ln "$own/lock.$$" "$own/lock" 2>/dev/null
    taken=$?
    rm -f "$own/lock.$$"
    return "$taken"
}

# Blanks that the real record overwrites in place: it can be written on a full disk too.
reserve() { printf '%80s\n' '' >"$own/$1.new"; }

fill() { printf '%-78s\n' "$2" 1<>"$own/$1.new" && mv -f "$own/$1.new" "$own/$1"; }

write_exit() { fill exit "$1 $2"; }

# Seconds until the job's time is over; fails where it has no limit.
time_left() {
    limit=$walltime
    { read -r limit <"$own/walltime"; } 2>/dev/null
    { read -r begun <"$own/started"; } 2>/dev/null || begun=$(now)
    [ "$limit" -gt 0 ] && printf '%s\n' "$((begun + limit - $(now)))"
}

# Ends the job when its time is over; $1: sleep so long before the first look, "" for not. A newer
# timer takes the place of an older one, which goes.
limit_time() {
    nap=
    trap '[ -z "$nap" ] || kill "$nap" 2>/dev/null; exit 0' TERM
    older='0 0 -'
    { read -r older <"$own/timer"; } 2>/dev/null
    name_of $$ >"$own/timer.$$" && mv -f "$own/timer.$$" "$own/timer"
    # shellcheck disable=SC2086
    lives $older && kill -s TERM "${older%% *}"
    # The clock has whole seconds: none is taken from the job.
    left=${1:-$(($(time_left || echo -1) + 1))}
    while [ "$left" -gt 0 ] && [ ! -f "$own/exit" ]; do
        sleep "$left" &
        nap=$!
        wait "$nap"
        nap=
        left=$(time_left) || return 0
    done
    [ ! -f "$own/exit" ] && time_left >/dev/null || return 0
    : >"$own/timed_out"
    terminate "$grace"
}

# Has a new timer keep to the walltime, in the place of whatever timer there is; $1: seconds since
# the job's start, for a job of a runner that did not note it.
renew_timer() {
    while [ ! -f "$own/job" ] && [ ! -f "$own/exit" ] && supervised; do pause; done
    # The runner that started the job may be older than this text, and know no timers.
    program >"$own/runner.sh.$$" && mv -f "$own/runner.sh.$$" "$own/runner.sh" || exit 1
    [ -f "$own/started" ] || printf '%s\n' "$(($(now) - $1))" >"$own/started" || exit 1
    older=
    { read -r older <"$own/timer"; } 2>/dev/null
    detached limit "$id" "$mask" 2>/dev/null
    deadline=$(($(now) + 10))
    while [ ! -f "$own/exit" ] && supervised; do
        newer=
        { read -r newer <"$own/timer"; } 2>/dev/null
        if [ "$newer" != "$older" ]; then
            end_built_in_timer
            return
        fi
        [ "$(now)" -lt "$deadline" ] || fail "The timer of the job's walltime did not start."
        pause
    done
}

# Older runners had a copy of the supervisor wait for the end of the time.
end_built_in_timer() {
    record lock && has_proc || return 0
    wanted=$pid
    for stat in /proc/[0-9]*/stat; do
        { read -r line <"$stat"; } 2>/dev/null || continue
        copy=${stat%/stat}
        # shellcheck disable=SC2086
        set -- ${line##*) }
        [ "${2:-}" = "$wanted" ] || continue
        case $(tr '\0' ' ' <"$copy/cmdline" 2>/dev/null) in
        *"/runner.sh supervise $id "*) kill -s TERM "${copy#/proc/}" 2>/dev/null ;;
        esac
    done
}

stop_timer() { record timer && lives "$pid" "$since" "$at" && kill -s TERM "$pid" 2>/dev/null; }

supervise() {
    trap '' HUP
    . "$own/job.sh"
    settings
    reserve exit && reserve job && reserve started || exit 1
    : >>"$dir/stdout.log"
    : >>"$own/supervisor.log"
    take_lock "$(name_of $$)" || exit 0
    exec 2>>"$own/supervisor.log"
    fill started "$(now)"
    trap : TERM INT
    if left=$(time_left); then
        sh "$own/runner.sh" limit "$id" "$mask" "$left" &
    fi
    session=
    command -v setsid >/dev/null 2>&1 && session=setsid || set -m
    if [ "$merge" = 1 ]; then
        launch >>"$dir/stdout.log" 2>&1
    else
        launch >>"$dir/stdout.log" 2>>"$dir/stderr.log"
    fi
    code=$?
    [ -e "$own/timed_out" ] || stop_timer
    terminate 2
    timed=0
    [ -e "$own/timed_out" ] && timed=1
    write_exit "$code" "$timed"
    stop_timer # one that was made meanwhile
    tell_watchers
}

# Only here, in a subshell, can the signals be reset that the supervisor ignores.
launch() (
    trap - HUP TERM INT
    exec $session env -i HOME="$HOME" USER="${USER:-$(id -un)}" LOGNAME="${USER:-$(id -un)}" \
        PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}" SHELL="${SHELL:-/bin/sh}" \
        LANG="${LANG:-C.UTF-8}" SKYPORT_JOB_ID="$id" \
        sh "$own/runner.sh" launch "$id" "$mask" </dev/null
)

# A job whose lock is taken by nobody never starts. Fails for want of room only.
forbid() {
    [ -f "$own/lock" ] && return 0
    reserve exit || return 1
    take_lock '0 0 -'
    case $? in
    0) write_exit 143 0 ;;
    2) return 1 ;;
    esac
}

# A job that will not start needs its files no more.
discard() {
    rm -f "$own/job.sh" "$own/job.sh.new" "$own/runner.sh" "$own/launch.sh" "$own/container.sh"
    for entry in "$dir"/*; do rm -rf -- "$entry"; done
}

tell_watchers() {
    for fifo in "$root/watch/$(uname -n)".*; do
        # Opened for both ways, a FIFO that nobody reads does not block.
        [ -p "$fifo" ] && printf '%s\n' "$id" 1<>"$fifo"
    done
}

# -- operations --------------------------------------------------------------------------------

where() { say "dir $(pwd -P)/.skyport/jobs/$id"; }

cd -- "$HOME" || exit 71
mask=$(umask)
umask 077

case $op in
prepare)
    mkdir -p -- "$own" || exit 1
    chmod 700 "$root" "$root/jobs" "$dir" || exit 1
    where
    report
    ;;
where)
    where
    report
    ;;
start)
    [ -f "$own/job.sh" ] && [ ! -f "$own/lock" ] && spawn
    while [ ! -f "$own/job" ] && [ ! -f "$own/exit" ] && supervised; do
        sleep 0.01 2>/dev/null || sleep 1
    done
    report
    ;;
supervise)
    mask=$3
    supervise
    ;;
launch)
    mask=$3
    . "$own/launch.sh"
    become_job
    ;;
limit)
    . "$own/job.sh"
    settings
    limit_time "${4:-}"
    ;;
status) report ;;
walltime)
    # Again is no harm: what counts is the file, and the newest timer.
    if [ ! -f "$own/job.sh" ] && [ ! -f "$own/exit" ] && supervised; then
        fail "The job's own description is gone from $own."
    elif [ -f "$own/job.sh" ] && [ ! -f "$own/exit" ]; then
        printf '%s\n' "$3" >"$own/walltime.$$" && mv -f "$own/walltime.$$" "$own/walltime" ||
            exit 1
        ! supervised || renew_timer "$4"
    fi
    report
    ;;
stop)
    mkdir -p -- "$own"
    (: >"$own/stop")
    if [ ! -f "$own/lock" ]; then
        forbid || { discard; forbid; } || fail "Cannot forbid the job's start."
    fi
    while [ ! -f "$own/job" ] && [ ! -f "$own/exit" ] && supervised; do pause; done
    terminate "$3" || fail "Processes of the job cannot be killed: $(marked)"
    deadline=$(($(now) + 20))
    while [ ! -f "$own/exit" ] && supervised && [ "$(now)" -lt "$deadline" ]; do pause; done
    report
    ;;
remove)
    [ ! -f "$own/exit" ] && supervised && fail "The job still runs."
    rm -rf -- "$dir"
    [ -e "$dir" ] && exit 1
    report
    ;;
room)
    dd if=/dev/zero of="$own/room" bs=1024 count="$3"
    code=$?
    rm -f "$own/room"
    say "room $code"
    ;;
watch)
    mkdir -p -- "$root/watch" || exit 1
    fifo=$root/watch/$(uname -n)
    for old in "$fifo".*; do
        kill -0 "${old##*.}" 2>/dev/null || rm -f "$old"
    done
    fifo=$fifo.$$
    rm -f "$fifo"
    mkfifo "$fifo" || exit 1
    exec 4<>"$fifo"
    # A notice that came while nobody listened; one of a time that is over means nothing any more.
    { read -r line <"$root/notice"; } 2>/dev/null && [ "${line##* }" -gt "$(now)" ] 2>/dev/null &&
        printf '%s\n' "$line"
    # Said before the reader starts: if the connection is gone by now, this ends here, and alone.
    printf 'skyport-watch ready\n'
    cat <&4 &
    # The connection's end is the end of standard input.
    while read -r line; do :; done
    kill $!
    rm -f "$fifo"
    ;;
*) fail "Unknown operation $op." ;;
esac
