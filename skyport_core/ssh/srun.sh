#!/bin/sh
# srun, where there is no Slurm: runs a command on this node, -n times side by side.
#
# Each copy finds its number in SLURM_PROCID and SLURM_LOCALID. What asks for more than this node
# can give is refused; what only says how much of it each copy needs is read and means nothing.

srun_tasks=${SLURM_NTASKS:-1}
srun_folder=

refuse() {
    printf 'srun: %s\n' "$*" >&2
    printf 'srun: this is Sky Port'\''s, which runs a command on this node only\n' >&2
    exit 1
}

number() {
    case $2 in
    '' | *[!0-9]* | 0*) refuse "$1 takes a number from 1 on, not '$2'" ;;
    esac
}

one_node() {
    case $1 in
    1 | 1-*) ;;
    *) refuse "--nodes=$1: further nodes are not reached from here; their names are in SKYPORT_NODES" ;;
    esac
}

while [ $# -gt 0 ]; do
    # An option and its value, however they were written.
    case $1 in
    --) shift; break ;;
    --*=*) srun_option=${1%%=*} srun_value=${1#*=} srun_joined=1 ;;
    --* | -?) srun_option=$1 srun_value=${2-} srun_joined= ;;
    -*) srun_value=${1#-?} srun_option=${1%"$srun_value"} srun_joined=1 ;;
    *) break ;;
    esac
    case $srun_option in
    -n | --ntasks) number "$srun_option" "$srun_value"; srun_tasks=$srun_value ;;
    -N | --nodes) one_node "$srun_value" ;;
    -D | --chdir) srun_folder=$srun_value ;;
    -c | --cpus-per-task | --ntasks-per-node | --mem | --mem-per-cpu | --mem-per-gpu | -G | --gpus | \
        --gpus-per-task | --gpus-per-node | --gres | --cpu-bind | --gpu-bind | --mem-bind | --mpi | \
        --hint | --distribution | -m | -J | --job-name | -t | --time | -A | --account | -p | \
        --partition | --export | --kill-on-bad-exit | -K | --cpu-freq | -W | --wait) ;;
    -u | --unbuffered | --exclusive | --overlap | --exact | --overcommit | -O | --pty | -Q | --quiet | \
        -v | --verbose | -s | --oversubscribe) srun_joined=1 ;;
    *) refuse "$srun_option is not understood here" ;;
    esac
    case $srun_option:$srun_joined in
    -K: | --kill-on-bad-exit:) srun_joined=1 ;;
    esac
    [ -n "$srun_joined" ] || [ $# = 1 ] || shift
    shift
done

[ $# -gt 0 ] || refuse 'there is no command to run'
number SLURM_NTASKS "$srun_tasks"
[ -z "$srun_folder" ] || cd -- "$srun_folder" || exit 1

SLURM_NTASKS=$srun_tasks SLURM_NPROCS=$srun_tasks SLURM_STEP_NUM_TASKS=$srun_tasks SLURM_NODEID=0
export SLURM_NTASKS SLURM_NPROCS SLURM_STEP_NUM_TASKS SLURM_NODEID SLURM_PROCID SLURM_LOCALID
if [ "$srun_tasks" = 1 ]; then
    SLURM_PROCID=0 SLURM_LOCALID=0
    exec "$@"
fi

srun_started=
srun_task=0
while [ "$srun_task" -lt "$srun_tasks" ]; do
    SLURM_PROCID=$srun_task SLURM_LOCALID=$srun_task
    "$@" &
    srun_started="$srun_started $!"
    srun_task=$((srun_task + 1))
done

srun_worst=0
for srun_each in $srun_started; do
    wait "$srun_each"
    srun_code=$?
    [ "$srun_code" -le "$srun_worst" ] || srun_worst=$srun_code
done
exit "$srun_worst"
