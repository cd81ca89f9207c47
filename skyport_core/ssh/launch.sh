# shellcheck shell=sh disable=SC2154
# How a process becomes the job; read by runner.sh, which has its variables and functions ready.

become_job() {
    fill job "$(name_of $$)" || fail "Cannot record the job's process in $own."
    [ -e "$own/stop" ] && exit 143
    . "$own/job.sh"
    settings
    umask "$mask"
    unset LC_ALL OLDPWD
    if [ -n "$workdir" ]; then
        mkdir -p -- "$workdir" && cd -- "$workdir" || give_up workdir "$workdir"
    fi
    open_streams
    set +u
    [ -z "$interpreter" ] || (environment && interpreter) || give_up interpreter "$interpreter"
    environment
    job
}

# The job cannot start, for a reason that the core puts into words.
give_up() {
    (umask 077 && printf '%s %s\n' "$1" "$2" >"$own/trouble")
    exit 126
}

open_streams() {
    if [ -n "$stdin" ]; then
        [ -r "$stdin" ] && [ ! -d "$stdin" ] || give_up stdin "$stdin"
        exec <"$stdin"
    fi
    if [ -n "$stdout" ]; then
        prepare_output stdout "$stdout"
        exec >>"$stdout"
        [ "$merge" = 0 ] || exec 2>&1
    fi
    if [ -n "$stderr" ]; then
        prepare_output stderr "$stderr"
        exec 2>>"$stderr"
    fi
}

# Makes the file $2 empty, and the log of the stream $1 another name of it: what one of the names is
# removed from, or replaced at, is still under the other.
prepare_output() {
    case $2 in
    ?*/*) mkdir -p -- "${2%/*}" ;;
    esac
    if [ -e "$2" ] && [ ! -f "$2" ]; then
        [ -w "$2" ] && [ ! -d "$2" ] || give_up "$1" "$2"
        return # a device or a pipe has nothing that could be read again
    fi
    (: >"$2") || give_up "$1" "$2"
    [ "$2" -ef "$dir/$1.log" ] && return
    if [ -L "$2" ] || ! ln -f -- "$2" "$dir/$1.log" 2>/dev/null; then
        case $2 in
        /*) ln -sf -- "$2" "$dir/$1.log" ;;
        *) ln -sf -- "$(pwd -P)/$2" "$dir/$1.log" ;;
        esac
    fi
}
