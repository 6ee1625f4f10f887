# shellcheck shell=bash disable=SC2154
# Processes and ports of scripts/services: who runs, whether it is ours, how it stops.
# A service has a folder with `identity` (pid, boot, start time), `port` and `log`.

# When process $1 was started, in clock ticks since boot; a pid used anew has another.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name in parentheses may hold blanks; start time is the 20th field behind it.
    awk '{ print $20 }' <<<"${stat##*) }"
}

boot() { cat /proc/sys/kernel/random/boot_id; }

# The pid of service $1, when the process is the one that we started.
pid_of() {
    local pid boot_then start_then
    read -r pid boot_then start_then 2>/dev/null <"$data/$1/identity" || return 1
    [ "$boot_then" = "$(boot)" ] && [ "$(start_time "$pid")" = "$start_then" ] && ! is_zombie "$pid" && echo "$pid"
}

is_zombie() { [ "$(state "$1")" = Z ]; }

state() { sed -nE 's/^State:[[:space:]]*(.).*/\1/p' "/proc/$1/status" 2>/dev/null || true; }

alive() { pid_of "$1" >/dev/null; }

is_paused() { [ "$(state "$(pid_of "$1")")" = T ]; }

# The process of service $1 and all below it, the oldest first.
tree_of() {
    local pid
    pid=$(pid_of "$1") || return 0
    # Pid and parent out of `pid (name) state parent ..`; ps is not everywhere. Who ends meanwhile is no error.
    { cat /proc/[0-9]*/stat 2>/dev/null || true; } \
        | sed -nE 's/^([0-9]+) \(.*\) . ([0-9]+) .*/\1 \2/p' | awk -v root="$pid" '
        { parent[$1] = $2 }
        END {
            below[root] = 1
            do { more = 0
                for (p in parent) if (!(p in below) && (parent[p] in below)) { below[p] = 1; more = 1 }
            } while (more)
            print root
            for (p in below) if (p != root) print p
        }'
}

signal_all() {
    local pid
    for pid in $(tree_of "$1"); do kill -s "$2" "$pid" 2>/dev/null || true; done
}

# Stopped first, so that nothing forks while the others are found.
kill_all() {
    local pids pid
    signal_all "$1" STOP
    pids=$(tree_of "$1")
    for pid in $pids; do kill -s KILL "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait_gone "$pid" 30 || fail "$1: process $pid does not end although it was killed"; done
    rm -f "$data/$1/identity"
}

wait_gone() {
    local end=$((SECONDS + $2))
    while [ -e "/proc/$1" ] && ! is_zombie "$1"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# Asks service $1 to end with signal $2; kills it when it has not after 30 seconds.
stop() {
    local pids pid
    alive "$1" || return 0
    pids=$(tree_of "$1")
    signal_all "$1" CONT
    kill -s "$2" "$(pid_of "$1")" 2>/dev/null || true
    if ! wait_gone "$(head -n 1 <<<"$pids")" 30; then
        say "$1 did not stop within 30 seconds and is killed"
        kill_all "$1"
    fi
    for pid in $pids; do wait_gone "$pid" 30 || fail "$1: process $pid does not end"; done
    rm -f "$data/$1/identity"
}

# Runs a command as service $1, away from our terminal, signals and lock; its words go to the log.
launch() {
    local name=$1 folder=$data/$1
    shift
    [ ! -f "$folder/log" ] || mv "$folder/log" "$folder/log.before"
    (
        cd "$folder" || exit
        exec 7>&- 8>&- 9>&- </dev/null >"$folder/log" 2>&1
        # The identity is written by the process itself before it becomes the server: none can be lost.
        # shellcheck disable=SC2016
        exec setsid bash -c '
            stat=$(cat /proc/$$/stat)
            start=$(awk "{ print \$20 }" <<<"${stat##*) }")
            echo "$$ $(cat /proc/sys/kernel/random/boot_id) $start" >identity.part
            mv identity.part identity
            exec "$@"' launch "$@"
    ) &
    launched=$!
}

# Waits until service $1 is ready, for three minutes.
wait_ready() {
    local name=$1 end=$((SECONDS + 180)) pid=${launched:-}
    pid=${pid:-$(pid_of "$name")}
    while ! "${name}_ready"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 20 "$data/$name/log" >&2
            fail "$name ended while it started; the whole log: $data/$name/log"
        fi
        if [ "$SECONDS" -ge "$end" ]; then
            tail -n 20 "$data/$name/log" >&2
            stop "$name" TERM
            fail "$name was not ready in time; the whole log: $data/$name/log"
        fi
        sleep 0.1
    done
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Whether anybody listens on port $1, on whatever address.
is_taken() {
    local hex
    hex=$(printf '%04X' "$1")
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port=":$hex" '$4 == "0A" && $2 ~ port "$" { found = 1 }
        END { exit !found }'
}

# The port in file $1, chosen at the first start. Below the ports that the system gives to clients.
port_in() {
    local port
    if [ -f "$1" ]; then
        port=$(cat "$1")
        # A server that was just killed may still have it for a moment.
        for _ in {1..50}; do
            if ! is_taken "$port"; then break; fi
            sleep 0.1
        done
        if is_taken "$port"; then
            fail "port $port ($1) is used by another program. Stop that, or choose anew: rm $1"
        fi
    else
        for _ in {1..100}; do
            port=$((RANDOM % 10000 + 21000))
            if ! is_taken "$port"; then break; fi
        done
        echo "$port" >"$1"
    fi
    echo "$port"
}

# The secret in file $1, made at the first start.
secret_in() {
    [ -f "$1" ] || (umask 077 && od -An -N12 -tx1 /dev/urandom | tr -d ' \n' >"$1")
    cat "$1"
}
