#!/bin/sh
# srun, where there is no Slurm: runs a command on this node, -n times side by side.
#
# Each copy finds its number in SLURM_PROCID and SLURM_LOCALID. What asks for more than this node
# can give, or for what is not done here, is refused; what only says how much of the node each copy
# needs, or where on it it runs best, is read and means nothing.

srun_tasks= srun_most= srun_folder= srun_export=ALL srun_label= srun_limit=0 srun_single=
srun_in=all srun_out=all srun_err= srun_mode=truncate

refuse() {
    printf 'srun: %s\n' "$*" >&2
    printf 'srun: this is Sky Port'\''s, which runs a command on this node only\n' >&2
    exit 1
}

number() {
    case $2 in
    '' | *[!0-9]* | 0* | ???????*) refuse "$1 takes a number from 1 to 999999, not '$2'" ;;
    esac
}

one_node() {
    case $1 in
    1 | 1-*) ;;
    *) refuse "--nodes=$1: further nodes are not reached from here; their names are in SKYPORT_NODES" ;;
    esac
}

# M, M:S, H:M:S, D-H, D-H:M or D-H:M:S in seconds.
seconds() {
    printf '%s\n' "$1" | awk '
        !/^[0-9]+(:[0-9]+(:[0-9]+)?)?$/ && !/^[0-9]+-[0-9]+(:[0-9]+(:[0-9]+)?)?$/ { exit 1 }
        {
            days = split($0, part, "-") == 2 ? part[1] : 0
            count = split(part[days == 0 && !/-/ ? 1 : 2], clock, ":")
            if (/-/ || count == 3) seconds = clock[1] * 3600 + clock[2] * 60 + clock[3]
            else seconds = clock[1] * 60 + clock[2]
            seconds += days * 86400
            if (seconds > 1000000000) exit 1
            printf "%d\n", seconds
        }'
}

# -- options -----------------------------------------------------------------------------------

while [ $# -gt 0 ]; do
    # An option and its value, however they were written.
    case $1 in
    --) shift; break ;;
    --*=*) srun_option=${1%%=*} srun_value=${1#*=} srun_joined=1 ;;
    --* | -?) srun_option=$1 srun_value=${2-} srun_joined= ;;
    -*) srun_value=${1#-?} srun_option=${1%"$srun_value"} srun_joined=1 ;;
    *) break ;;
    esac
    srun_flag=
    case $srun_option in
    -n | --ntasks) number "$srun_option" "$srun_value"; srun_tasks=$srun_value ;;
    --ntasks-per-node) number "$srun_option" "$srun_value"; srun_most=$srun_value ;;
    -N | --nodes) one_node "$srun_value" ;;
    -D | --chdir) srun_folder=$srun_value ;;
    -t | --time)
        srun_limit=$(seconds "$srun_value") ||
            refuse "$srun_option takes a time such as 30, 1:30:00 or 2-12, not '$srun_value'"
        ;;
    -c | --cpus-per-task)
        number "$srun_option" "$srun_value"
        SLURM_CPUS_PER_TASK=$srun_value
        export SLURM_CPUS_PER_TASK
        ;;
    --export) srun_export=$srun_value ;;
    -i | --input) srun_in=$srun_value ;;
    -o | --output) srun_out=$srun_value ;;
    -e | --error) srun_err=$srun_value ;;
    --open-mode) srun_mode=$srun_value ;;
    -W | --wait) [ "$srun_value" = 0 ] || srun_single=$srun_option ;;
    --mpi | --gpu-bind) [ "$srun_value" = none ] || srun_single=$srun_option=$srun_value ;;
    --gpus-per-task) srun_single=$srun_option ;;
    --mem | --mem-per-cpu | --mem-per-gpu | -G | --gpus | --gpus-per-node | --gres | --cpu-bind | \
        --mem-bind | --hint | --distribution | -m | -J | --job-name | -A | --account | -p | \
        --partition | --cpu-freq) ;;
    -K | --kill-on-bad-exit)
        [ -z "$srun_joined" ] || [ "$srun_value" != 0 ] || srun_option=
        srun_single=${srun_option:-$srun_single} srun_flag=1
        srun_joined=
        ;;
    -l | --label) srun_label=1 srun_flag=1 ;;
    --pty) srun_single=$srun_option srun_flag=1 ;;
    -u | --unbuffered | --exclusive | --overlap | --exact | --overcommit | -O | -Q | --quiet | -v | \
        --verbose | -s | --oversubscribe) srun_flag=1 ;;
    *) refuse "$srun_option is not understood here" ;;
    esac
    case $srun_flag$srun_joined$srun_option in
    # Flags may stand together: -lu.
    11-[a-zA-Z]) shift; set -- "-$srun_value" "$@"; continue ;;
    esac
    [ -n "$srun_flag$srun_joined" ] || [ $# = 1 ] || shift
    shift
done

[ $# -gt 0 ] || refuse 'there is no command to run'
[ -z "$srun_most" ] || [ "${srun_tasks:-0}" -le "$srun_most" ] ||
    refuse "--ntasks=$srun_tasks with --ntasks-per-node=$srun_most needs more than one node"
srun_tasks=${srun_tasks:-${srun_most:-${SLURM_NTASKS:-1}}}
number SLURM_NTASKS "$srun_tasks"
[ "$srun_tasks" = 1 ] || [ -z "$srun_single" ] ||
    refuse "$srun_single does not work here for more than one task"
case $srun_mode in
a | append | t | truncate) ;;
*) refuse "--open-mode takes append or truncate, not '$srun_mode'" ;;
esac
[ -z "$srun_label" ] || command -v mkfifo >/dev/null 2>&1 ||
    refuse '--label needs the program mkfifo, which this node does not have'
[ "$srun_limit" = 0 ] || command -v timeout >/dev/null 2>&1 ||
    refuse '--time needs the program timeout, which this node does not have'
[ -z "$srun_folder" ] || cd -- "$srun_folder" || exit 1

# -- one task ----------------------------------------------------------------------------------

# The file that $1 (a name with patterns, a task's number, all or none) means for the task $2, ""
# for what srun itself has. Sets srun_path.
place() {
    srun_path= srun_rest=$1
    case $1 in
    '' | all) return ;;
    none) srun_path=/dev/null; return ;;
    *[!0-9]*) ;;
    *) [ "$1" -eq "$2" ] || srun_path=/dev/null; return ;;
    esac
    while :; do
        srun_path=$srun_path${srun_rest%%"%"*}
        case $srun_rest in
        *%*) srun_rest=${srun_rest#*"%"} ;;
        *) return ;;
        esac
        case $srun_rest in
        %*) srun_word=% ;;
        t*) srun_word=$2 ;;
        n* | s*) srun_word=0 ;;
        j*) srun_word=${SLURM_JOB_ID-} ;;
        J*) srun_word=${SLURM_JOB_ID-}.0 ;;
        A*) srun_word=${SLURM_ARRAY_JOB_ID-} ;;
        a*) srun_word=${SLURM_ARRAY_TASK_ID-} ;;
        N*) srun_word=${SLURMD_NODENAME:-$(uname -n)} ;;
        u*) srun_word=${USER:-$(id -un)} ;;
        x*) srun_word=${SLURM_JOB_NAME-} ;;
        *) refuse "%$srun_rest in the file name $1 is not understood here" ;;
        esac
        srun_path=$srun_path$srun_word srun_rest=${srun_rest#?}
    done
}

# Leaves the task's environment those variables that --export names, and what tells of the job.
export_only() {
    [ "$srun_export" != ALL ] || return 0
    srun_kept=,$srun_export,
    srun_rest=$srun_export,
    while [ -n "$srun_rest" ]; do
        srun_word=${srun_rest%%,*} srun_rest=${srun_rest#*,}
        case $srun_word in
        [!A-Za-z_]*=* | *[!A-Za-z0-9_]*=*)
            case ${srun_word%%=*} in
            [!A-Za-z_]* | *[!A-Za-z0-9_]*) refuse "--export=$srun_word names no variable" ;;
            esac
            ;;
        esac
        case $srun_word in
        *=*) export "$srun_word"; srun_kept=$srun_kept${srun_word%%=*}, ;;
        esac
    done
    case $srun_kept in
    *,ALL,*) return ;;
    esac
    # shellcheck disable=SC2013
    for srun_word in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
        case $srun_kept$srun_word in
        *,"$srun_word",* | *,SLURM_* | *,SLURMD_* | *,SKYPORT_*) ;;
        *) unset "$srun_word" 2>/dev/null ;;
        esac
    done
}

# Where a program is: the task's environment may have no PATH.
program() {
    srun_rest=$PATH:
    while [ -n "$srun_rest" ]; do
        srun_word=${srun_rest%%:*}/$1 srun_rest=${srun_rest#*:}
        [ ! -x "$srun_word" ] || [ -d "$srun_word" ] || break
        srun_word=$1
    done
    printf '%s\n' "$srun_word"
}

# Becomes the command.
become() {
    case $srun_export,$1 in
    ALL,* | *,*/*) ;;
    *)
        srun_path=$(program "$1")
        shift
        set -- "$srun_path" "$@"
        ;;
    esac
    if [ "$srun_limit" -gt 0 ]; then
        srun_path=$(program timeout)
        set -- "$srun_path" -k 30 "$srun_limit" "$@"
    fi
    export_only
    exec "$@"
}

# Writes what it is told where task $1 is to write.
open_output() {
    place "$srun_out" "$1"
    if [ -n "$srun_path" ]; then
        exec >>"$srun_path" || exit 1
        [ -n "$srun_err" ] || exec 2>&1
    fi
    place "$srun_err" "$1"
    [ -z "$srun_path" ] || exec 2>>"$srun_path" || exit 1
}

# Copies what task $1 writes to $2 (out or err), with the task's number before each line.
label() {
    # The task may still say something when it is told to end.
    trap '' HUP INT QUIT TERM
    open_output "$1"
    [ "$2" = out ] || exec >&2
    srun_words="s/^/$(printf "%0${#srun_last}d" "$1"): /"
    srun_option=-u
    sed -u p </dev/null >/dev/null 2>&1 || srun_option=
    exec sed $srun_option "$srun_words" <"$srun_pipes/$2$1"
}

# Becomes task $1 of the command.
task() {
    SLURM_PROCID=$1 SLURM_LOCALID=$1
    if [ -n "$srun_label" ]; then
        exec >"$srun_pipes/out$1" 2>"$srun_pipes/err$1"
    else
        open_output "$1"
    fi
    place "$srun_in" "$1"
    [ -z "$srun_path" ] || exec <"$srun_path" || exit 1
    shift
    become "$@"
}

# -- all tasks ---------------------------------------------------------------------------------

srun_last=$((srun_tasks - 1))
SLURM_NTASKS=$srun_tasks SLURM_NPROCS=$srun_tasks SLURM_STEP_NUM_TASKS=$srun_tasks SLURM_NODEID=0
export SLURM_NTASKS SLURM_NPROCS SLURM_STEP_NUM_TASKS SLURM_NODEID SLURM_PROCID SLURM_LOCALID

srun_task=0
while [ "$srun_task" -lt "$srun_tasks" ]; do
    for srun_each in "$srun_out" "$srun_err"; do
        place "$srun_each" "$srun_task"
        case $srun_mode,$srun_path in
        a*,* | *, | *,/dev/*) ;;
        *) : >"$srun_path" || exit 1 ;;
        esac
    done
    srun_task=$((srun_task + 1))
done

[ "$srun_tasks$srun_label" != 1 ] || task 0 "$@"

srun_started= srun_readers= srun_copier= srun_pipes= srun_copied= srun_signal= srun_passed=
srun_ending=

# Hands a signal on to the tasks. Shells have INT and QUIT ignored by what they start beside
# themselves, so that the tasks get TERM for these.
pass() {
    srun_signal=1 srun_passed=$1
    for srun_each in $srun_started; do kill -s "$1" "$srun_each" 2>/dev/null; done
}

trap '[ -z "$srun_pipes" ] || rm -rf -- "$srun_pipes"' EXIT
trap 'srun_ending=129; pass HUP' HUP
trap 'srun_ending=130; pass TERM' INT
trap 'srun_ending=131; pass TERM' QUIT
trap 'srun_ending=143; pass TERM' TERM
trap 'pass USR1' USR1
trap 'pass USR2' USR2

# Waits for the process $1, whatever signals come meanwhile; sets srun_code.
await() {
    wait "$1"
    srun_code=$?
    while [ -n "$srun_signal" ] && [ "$srun_code" -gt 128 ]; do
        srun_signal=
        wait "$1"
        srun_next=$?
        # One that the first wait was right about is not known any more.
        [ "$srun_next" = 127 ] || srun_code=$srun_next
    done
}

# Each task reads all of the standard input, as Slurm has it; of a device, as /dev/null is one,
# what it gets by itself.
exec 3<&0
if [ "$srun_tasks" -gt 1 ] && [ "$srun_in" = all ] && { [ -t 0 ] || ! [ -c /dev/stdin ]; }; then
    if command -v mkfifo >/dev/null 2>&1 && command -v tee >/dev/null 2>&1; then
        srun_copied=1
    else
        echo 'srun: the tasks have nothing to read: there is no mkfifo or no tee here' >&2
        exec 3</dev/null
    fi
fi
if [ -n "$srun_label$srun_copied" ]; then
    srun_pipes=${SKYPORT_JOB_DIR:-${TMPDIR:-/tmp}}/srun.$$
    (umask 077 && mkdir -- "$srun_pipes") || exit 1
fi

srun_task=0
while [ "$srun_task" -lt "$srun_tasks" ] && [ -z "$srun_ending" ]; do
    if [ -n "$srun_label" ]; then
        mkfifo "$srun_pipes/out$srun_task" "$srun_pipes/err$srun_task" || exit 1
        (label "$srun_task" out) 3<&- &
        srun_readers="$srun_readers $!"
        (label "$srun_task" err) 3<&- &
        srun_readers="$srun_readers $!"
    fi
    if [ -n "$srun_copied" ]; then
        mkfifo "$srun_pipes/in$srun_task" || exit 1
        (task "$srun_task" "$@") <"$srun_pipes/in$srun_task" 3<&- &
    else
        (task "$srun_task" "$@") <&3 3<&- &
    fi
    srun_started="$srun_started $!"
    # A signal may have come when this one was not known yet.
    [ -z "$srun_passed" ] || kill -s "$srun_passed" "$!" 2>/dev/null
    srun_passed=
    srun_task=$((srun_task + 1))
done
if [ -n "$srun_copied" ] && [ -z "$srun_ending" ]; then
    # One that has ended, or reads no more, must not end it for the others.
    (trap '' PIPE && exec tee "$srun_pipes"/in*) <&3 3<&- >/dev/null 2>&1 &
    srun_copier=$!
fi
exec 3<&-

srun_worst=0
[ "$srun_task" -ge "$srun_tasks" ] || srun_worst=$srun_ending
for srun_task in $srun_started; do
    await "$srun_task"
    srun_started=${srun_started#*" $srun_task"}
    [ "$srun_code" -le "$srun_worst" ] || srun_worst=$srun_code
done
for srun_task in $srun_readers; do await "$srun_task"; done
[ -z "$srun_copier" ] || kill "$srun_copier" 2>/dev/null
exit "$srun_worst"
