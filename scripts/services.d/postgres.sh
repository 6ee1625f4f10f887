# shellcheck shell=bash disable=SC2154
# PostgreSQL of scripts/services: a cluster of its own, ready for logical replication and two-phase commit.

postgres_user=headwater

# The newest of Debian's versions, else what the path has.
postgres_programs() {
    local found
    found=$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -n 1) || true
    found=${found:-$(command -v postgres || true)}
    [ -n "$found" ] && dirname "$found"
}

postgres_packages() {
    if ! postgres_programs >/dev/null; then echo postgresql; fi
    have psql || echo postgresql-client
}

postgres_missing() {
    local packages
    packages=$(postgres_packages | xargs)
    if [ -n "$packages" ]; then
        printf '%s missing; %s' "$packages" "$(way_out "$packages")"
    elif [ "$(id -u)" -eq 0 ] && ! id postgres >/dev/null 2>&1; then
        printf 'PostgreSQL refuses to run as root and there is no user postgres; useradd --system postgres'
    fi
}

postgres_fetch() { :; }

postgres_stop_signal() { echo INT; }

# PostgreSQL refuses to run as root.
postgres_as() {
    if [ "$(id -u)" -eq 0 ]; then
        echo setpriv --reuid=postgres --regid=postgres --init-groups --
    fi
}

# The build folder, or a place in /var/tmp where user postgres may not go there, such as below /root.
postgres_home() {
    local folder=$data/postgres home=$data/postgres
    if [ -f "$folder/home" ]; then
        cat "$folder/home"
        return
    fi
    if [ "$(id -u)" -eq 0 ]; then
        # shellcheck disable=SC2046
        if ! $(postgres_as) test -x "$data"; then
            home=/var/tmp/headwater-postgres-$(cksum <<<"$folder" | cut -d ' ' -f 1)
            # Of a data folder that is gone: its password went with it.
            rm -rf "$home"
            mkdir -m 700 "$home"
        fi
        chown postgres "$home"
    fi
    echo "$home" | tee "$folder/home"
}

postgres_wipe() {
    if [ -f "$data/postgres/home" ]; then rm -rf "$(cat "$data/postgres/home")"; fi
}

# A new major version begins a cluster of its own: the old one cannot be read.
postgres_cluster() {
    local major
    major=$("$(postgres_programs)/postgres" --version | sed -E 's/[^0-9]*([0-9]+).*/\1/')
    echo "$(postgres_home)/cluster-$major"
}

postgres_initialize() {
    local cluster password
    cluster=$(postgres_cluster)
    [ ! -d "$cluster" ] || return 0
    rm -rf "$cluster.part"
    # A copy that user postgres can read.
    password=$(postgres_home)/password.part
    secret_in "$data/postgres/password" >/dev/null
    cp "$data/postgres/password" "$password"
    if [ "$(id -u)" -eq 0 ]; then chown postgres "$password"; fi
    # shellcheck disable=SC2046
    (cd / && $(postgres_as) "$(postgres_programs)/initdb" --pgdata="$cluster.part" --username="$postgres_user" \
        --auth=scram-sha-256 --pwfile="$password" --encoding=UTF8 --locale=C </dev/null \
        >"$data/postgres/initdb.log" 2>&1) || {
        tail -n 5 "$data/postgres/initdb.log" >&2
        fail "initdb failed: $data/postgres/initdb.log"
    }
    rm "$password"
    mv "$cluster.part" "$cluster"
}

# A killed server whose parent never asks for its end, as in a container without init, looks alive to PostgreSQL.
postgres_forget_zombie() {
    local file pid
    file=$(postgres_cluster)/postmaster.pid
    [ -f "$file" ] || return 0
    pid=$(head -n 1 "$file")
    if is_zombie "$pid"; then rm "$file"; fi
}

postgres_url() {
    echo "postgres://$postgres_user:$(cat "$data/postgres/password")@127.0.0.1:$(cat "$data/postgres/port")/$1"
}

postgres_says() { psql "$(postgres_url "$1")" -XqAtc "$2" </dev/null; }

# The first time the database is not there.
postgres_ready() {
    postgres_says headwater 'select 1' >/dev/null 2>&1 \
        || postgres_says postgres 'create database headwater' >/dev/null 2>&1
}

postgres_start() {
    local port
    port=$(port_in "$data/postgres/port")
    postgres_initialize
    postgres_forget_zombie
    # shellcheck disable=SC2046
    launch postgres $(postgres_as) "$(postgres_programs)/postgres" -D "$(postgres_cluster)" -p "$port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=16MB -c max_connections=60 \
        -c wal_level=logical -c max_wal_senders=10 -c max_replication_slots=20 -c max_prepared_transactions=60 \
        -c max_wal_size=256MB -c min_wal_size=32MB -c jit=off
}

postgres_env() { export_line POSTGRES_URL "$(postgres_url headwater)"; }
