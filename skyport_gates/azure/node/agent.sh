#!/bin/sh
# Runs on a machine that Sky Port made, as root: hears when Azure is about to take the machine
# back, and ends a machine that everybody has forgotten.
#
# Eviction: the metadata service tells it by a scheduled event some 30 s before. The line
# "notice preempt EPOCH" then goes into the FIFOs ~/.skyport/watch/* of the login, at which the core
# listens; three times, unless ~/.skyport/notices has a line "heard preempt EPOCH". Azure is told to
# go ahead only once a line "done preempt EPOCH" stands there: who acknowledges the event gives up
# the seconds that are left.
#
# Lease: every established connection to sshd renews /var/lib/skyport/lease. When that is older
# than $lease seconds, the machine is deleted, if it has an identity that may do so, and switched
# off in any case. (Azure bills a machine that is only switched off.)
#
# Needs sh, curl or python3, runuser and what every system has. Settings: /etc/skyport/node.conf.

set -u
LC_ALL=C
export LC_ALL
imds=${SKYPORT_IMDS:-http://169.254.169.254}
state=${SKYPORT_STATE:-/var/lib/skyport}
tick=${SKYPORT_TICK:-1}
user= home= lease=0 port=22 identity= arm=
# shellcheck source=/dev/null
. "${SKYPORT_CONF:-/etc/skyport/node.conf}"
[ -n "$home" ] || home=$(getent passwd "$user" | cut -d: -f6)

say() { printf 'skyport-agent: %s\n' "$*" >&2; }

now() { date +%s; }

lower() { tr '[:upper:]' '[:lower:]'; }

# -- HTTP --------------------------------------------------------------------------------------

# http METHOD URL SECONDS [BODY]: the answer's body; fails if its status is not of the 200s.
# Headers come by standard input, one a line: what stands in an argument, every login can read.
http() {
    if command -v curl >/dev/null 2>&1; then
        sed 's/["\\]/\\&/g; s/.*/header = "&"/' |
            curl -q --silent --fail --noproxy '*' --max-time "$3" --request "$1" \
                ${4:+--data "$4"} --config - "$2"
    else
        "$(command -v python3 || echo /usr/libexec/platform-python)" -c '
import sys, urllib.request
method, url, seconds, body = sys.argv[1:]
headers = dict(line.rstrip("\n").split(": ", 1) for line in sys.stdin)
data = body.encode() or None
request = urllib.request.Request(url, data, headers, method=method)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(request, timeout=float(seconds)) as answer:
    sys.stdout.write(answer.read().decode())
' "$1" "$2" "$3" "${4:-}" 2>/dev/null
    fi
}

# metadata METHOD PATH SECONDS [BODY]
metadata() {
    printf '%s\n' 'Metadata: true' 'Content-Type: application/json' |
        http "$1" "$imds/metadata/$2" "$3" "${4:-}"
}

about() { metadata GET "instance/compute/$1?api-version=2021-02-01&format=text" 5; }

# The text of a field of flat JSON on standard input.
field() { sed -n "s/.*\"$1\" *: *\"\\([^\"]*\\)\".*/\\1/p"; }

# -- eviction ----------------------------------------------------------------------------------

events='scheduledevents?api-version=2020-07-01'
name= event= at= told=0 acknowledged=

# Files in the home are touched by their owner alone: a link there leads root astray.
# as_user SCRIPT [ARGUMENTS]
as_user() {
    if [ "$(id -un)" = "$user" ]; then
        timeout 5 sh -c "$@"
    else
        (cd / && exec runuser -u "$user" -- timeout 5 sh -c "$@")
    fi
}

# The file is for a core that comes to listen later. Opened for both ways, a FIFO that nobody reads
# does not block.
tell() {
    as_user '[ -d "$1/.skyport" ] || exit 0
    printf "%s\n" "$2" >"$1/.skyport/notice"
    for fifo in "$1"/.skyport/watch/*; do
        [ -p "$fifo" ] && printf "%s\n" "$2" 1<>"$fifo"
    done' sh "$home" "notice preempt $at"
}

noted() { as_user 'grep -qsxF -e "$2" "$1/.skyport/notices"' sh "$home" "$1 preempt $at"; }

# The events of an answer, one a line; each is flat but for the list of its resources.
separate() {
    tr -d '\n\r' | sed 's/}/}\
/g'
}

# The line of the event, if one evicts this machine.
eviction() {
    printf '%s' "$1" | separate | while read -r line; do
        [ "$(printf '%s\n' "$line" | field EventType)" = Preempt ] || continue
        whom=$(printf '%s\n' "$line" | sed -n 's/.*"Resources" *: *\[\([^]]*\)\].*/\1/p' | lower)
        case $whom in *"\"$name\""*)
            printf '%s\n' "$line"
            break
            ;;
        esac
    done
}

# watch SECONDS: look once.
watch() {
    if [ -z "$name" ]; then
        name=$(about name | lower)
        [ -n "$name" ] || return 0
    fi
    answer=$(metadata GET "$events" "$1") || return 0
    heard_once=1
    case $answer in *Preempt*) ;; *) return 0 ;; esac
    line=$(eviction "$answer")
    [ -n "$line" ] || return 0
    id=$(printf '%s\n' "$line" | field EventId)
    if [ "$id" != "$event" ]; then
        event=$id told=0 acknowledged=
        when=$(printf '%s\n' "$line" | field NotBefore)
        # Without a time the event has begun.
        at=$(now)
        [ -z "$when" ] || at=$(date -u -d "$when" +%s 2>/dev/null) || at=$(($(now) + 30))
        say "Azure takes this machine back at $at ($id)"
    fi
    if [ "$told" -lt 3 ] && ! noted heard; then
        tell
        told=$((told + 1))
    fi
    if [ -z "$acknowledged" ] && noted 'done'; then
        metadata POST "$events" 5 "{\"StartRequests\": [{\"EventId\": \"$id\"}]}" >/dev/null &&
            acknowledged=1
    fi
}

# -- lease -------------------------------------------------------------------------------------

looked=$(now)

boot() { cat /proc/sys/kernel/random/boot_id; }

renew() { printf '%s %s\n' "$(boot)" "$(now)" >"$state/lease"; }

# Whether anybody is connected to sshd: state 01 is ESTABLISHED.
connected() {
    door=$(printf ':%04X' "$port")
    for table in /proc/net/tcp /proc/net/tcp6; do
        [ -r "$table" ] || continue
        while read -r _ mine _ how _; do
            case $how$mine in 01*"$door") return 0 ;; esac
        done <"$table"
    done
    return 1
}

expired() {
    time=$(now)
    gap=$((time - looked))
    looked=$time
    # A clock that was set, or a machine that slept, says nothing about who was here.
    if connected || [ "$gap" -lt 0 ] || [ "$gap" -gt 300 ]; then renew; fi
    read -r where since <"$state/lease" && [ "$where" = "$(boot)" ] || {
        renew
        return 1
    }
    [ $((time - since)) -ge "$lease" ]
}

delete_itself() {
    itself=$(about resourceId) && [ -n "$itself" ] || return 1
    whom="resource=$arm&msi_res_id=$identity"
    token=$(metadata GET "identity/oauth2/token?api-version=2018-02-01&$whom" 30 |
        field access_token)
    [ -n "$token" ] || return 1
    printf 'Authorization: Bearer %s\n' "$token" |
        http DELETE "$arm$itself?api-version=2024-07-01&forceDeletion=true" 60 >/dev/null
}

leave() {
    say "nobody has logged in for $lease s; this machine ends"
    if [ -n "$identity" ]; then delete_itself || say "it could not delete itself"; fi
    shutdown -P now || poweroff
}

# -- main --------------------------------------------------------------------------------------

mkdir -p "$state"
every=$((lease / 10 > 10 ? 10 : lease / 10))
[ "$every" -gt 0 ] || every=1
heard_once=
count=0
while :; do
    # Azure takes up to two minutes to answer who asks for the first time.
    watch $((${heard_once:-0} ? 5 : 150))
    if [ "$lease" -gt 0 ] && [ "$count" -le 0 ]; then
        count=$every
        if expired; then leave; fi
    fi
    count=$((count - 1))
    sleep "$tick"
done
