#!/bin/sh
# Runs a job's command in a container on this node:
#   sh container.sh OWN JOB_ID ENGINE IMAGE GPUS WORDS MOUNT... -- NAME[=VALUE]... -- COMMAND...
# OWN is the runner's folder; WORDS counts those of COMMAND; a NAME without a value is passed on
# from the environment, so that no secret stands in an argv.
#
# The environment is the job's, so every variable here has a name that no job uses.

skyport_own=$1
skyport_name=skyport-$2
skyport_wanted=$3
skyport_image=$4
skyport_gpus=$5
skyport_words=$6
shift 6
skyport_stopped=

skyport_say() { printf 'Sky Port: %s\n' "$*" >&2; }

# Ends with a reason that the core puts into words.
skyport_give_up() {
    (umask 077 && printf '%s %s\n' "$2" "$3" >"$skyport_own/trouble")
    [ -z "$skyport_stopped" ] || exit 143
    exit "$1"
}

# Docker's program alone is no engine: its daemon must let this login in.
skyport_usable() {
    command -v "$1" >/dev/null 2>&1 || return 1
    [ "$1" != docker ] || [ "$skyport_wanted" = docker ] || docker version >/dev/null 2>&1
}

skyport_find() {
    case $skyport_wanted in
    auto) set -- podman docker apptainer singularity ;;
    apptainer) set -- apptainer singularity ;;
    *) set -- "$skyport_wanted" ;;
    esac
    for skyport_kind; do
        if skyport_usable "$skyport_kind"; then
            skyport_engine=$(command -v "$skyport_kind")
            return
        fi
    done
    skyport_give_up 127 engine "$skyport_wanted"
}

skyport_have_image() {
    # What rootless podman starts for all containers of the login must not carry this job's mark.
    unset SKYPORT_JOB_ID
    case $skyport_kind in
    podman) "$skyport_engine" image exists "$skyport_image" ;;
    docker) "$skyport_engine" image inspect "$skyport_image" ;;
    *) [ -e "$skyport_image" ] ;;
    esac >/dev/null 2>&1 </dev/null
}

skyport_pull() {
    unset SKYPORT_JOB_ID
    case $skyport_kind in
    podman | docker) "$skyport_engine" pull "$skyport_image" ;;
    *)
        case $skyport_image in
        *://*) skyport_source=$skyport_image ;;
        *) skyport_source=docker://$skyport_image ;;
        esac
        skyport_image=$skyport_own/image.sif
        "$skyport_engine" pull --force "$skyport_image" "$skyport_source"
        ;;
    esac </dev/null
}

# Its progress is seen in the job's log; its last line says why it failed.
skyport_need_image() {
    case $skyport_image in
    -*) skyport_give_up 125 image 'the name of an image does not begin with "-"' ;;
    esac
    (skyport_have_image) && return
    skyport_say "pulling $skyport_image with $skyport_kind"
    {
        (skyport_pull) 2>&1
        echo $? >"$skyport_own/pulled"
    } | tee "$skyport_own/pull.log" >&2
    read -r skyport_code <"$skyport_own/pulled"
    [ "$skyport_code" = 0 ] && [ -z "$skyport_stopped" ] ||
        skyport_give_up 125 image "$(grep . "$skyport_own/pull.log" | tail -n 1 | cut -c 1-300)"
    case $skyport_kind in
    apptainer | singularity) skyport_image=$skyport_own/image.sif ;;
    esac
}

skyport_has_init() {
    [ "$skyport_kind" = docker ] && return
    for skyport_init in /usr/libexec/podman /usr/local/libexec/podman /usr/lib/podman; do
        [ -x "$skyport_init/catatonit" ] && return
    done
    return 1
}

# A container goes on without whoever started it.
skyport_remove() {
    "$skyport_engine" kill --signal KILL "$skyport_name"
    "$skyport_engine" rm --force "$skyport_name" && rm -f "$skyport_own/container"
}

# Nothing ends here before the engine does: only then is the status known.
trap 'skyport_stopped=1' TERM
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}:/usr/sbin:/sbin
skyport_find
skyport_need_image

[ -z "$skyport_stopped" ] || exit 143

# The options gather behind the command; at the end, its words move behind them.
case $skyport_kind in
podman | docker)
    set -- "$@" run --rm --interactive --name "$skyport_name" --entrypoint '' --workdir "$PWD" \
        --network host --log-driver none --security-opt label=disable --user "$(id -u):$(id -g)"
    ! skyport_has_init || set -- "$@" --init
    ;;
*) set -- "$@" exec --pwd "$PWD" ;;
esac
case $skyport_kind:$skyport_gpus in
podman:1) set -- "$@" --device nvidia.com/gpu=all ;;
docker:1) set -- "$@" --gpus all ;;
*:1) set -- "$@" --nv ;;
esac
if [ "$skyport_kind" = podman ] && [ "$(id -u)" != 0 ]; then
    set -- "$@" --userns keep-id
elif [ "$skyport_kind" = docker ]; then
    for skyport_group in $(id -G); do set -- "$@" --group-add "$skyport_group"; done
fi
while [ "$1" != -- ]; do
    case $skyport_kind in
    podman | docker) [ ! -d "$1" ] || set -- "$@" --volume "$1:$1" ;;
    *) [ ! -d "$1" ] || set -- "$@" --bind "$1:$1" ;;
    esac
    shift
done
shift
while [ "$1" != -- ]; do
    case $skyport_kind:$1 in
    podman:* | docker:* | *=*) set -- "$@" --env "$1" ;;
    esac
    shift
done
shift
set -- "$@" "$skyport_image"
while [ "$skyport_words" -gt 0 ]; do
    set -- "$@" "$1"
    shift
    skyport_words=$((skyport_words - 1))
done

case $skyport_kind in
podman | docker) (umask 077 && printf '%s\n' "$skyport_engine" >"$skyport_own/container") ;;
esac
"$skyport_engine" "$@"
skyport_code=$?
case $skyport_kind in
podman | docker)
    skyport_remove >/dev/null 2>&1 </dev/null
    [ "$skyport_code" != 125 ] || skyport_give_up 125 container "$skyport_kind $skyport_image"
    ;;
esac
exit "$skyport_code"
