# shellcheck shell=bash disable=SC2154
# MariaDB of scripts/services: a data folder of its own, with a binary log of rows.

mariadb_user=headwater

mariadb_server() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mariadbd; }

mariadb_client() { command -v mariadb || command -v mysql; }

# The packages without a system service. Before Debian 12 and Ubuntu 24.04 their names end in a version.
mariadb_packages() {
    local part
    for part in server client; do
        if "mariadb_$part" >/dev/null; then continue; fi
        { apt-cache pkgnames "mariadb-$part-core" 2>/dev/null || true; } | sort -V | tail -n 1 \
            | grep . || echo "mariadb-$part-core"
    done
}

mariadb_missing() {
    local packages
    packages=$(mariadb_packages | xargs)
    [ -z "$packages" ] || printf '%s missing; %s' "$packages" "$(way_out "$packages")"
}

mariadb_fetch() { :; }

mariadb_stop_signal() { echo TERM; }

mariadb_initialize() {
    local folder=$data/mariadb
    [ ! -d "$folder/data" ] || return 0
    rm -rf "$folder/data.part"
    mariadb-install-db --no-defaults --datadir="$folder/data.part" --user="$(id -un)" --skip-test-db \
        --auth-root-authentication-method=socket --innodb-buffer-pool-size=16M --innodb-log-file-size=16M \
        >"$folder/install.log" 2>&1 </dev/null || {
        tail -n 5 "$folder/install.log" >&2
        fail "mariadb-install-db failed: $folder/install.log"
    }
    mv "$folder/data.part" "$folder/data"
}

# Run at every start, so that it also heals a first start that was cut short.
mariadb_users() {
    cat <<END
CREATE DATABASE IF NOT EXISTS headwater;
CREATE OR REPLACE USER $mariadb_user@'127.0.0.1' IDENTIFIED BY '$(secret_in "$data/mariadb/password")';
GRANT ALL ON *.* TO $mariadb_user@'127.0.0.1' WITH GRANT OPTION;
END
}

mariadb_query() {
    MYSQL_PWD=$(cat "$data/mariadb/password") "$(mariadb_client)" --no-defaults --protocol=tcp --host=127.0.0.1 \
        --port="$(cat "$data/mariadb/port")" --user="$mariadb_user" --batch --skip-column-names headwater -e "$1" \
        </dev/null
}

mariadb_ready() { mariadb_query 'select 1' >/dev/null 2>&1; }

mariadb_start() {
    local folder=$data/mariadb port
    port=$(port_in "$folder/port")
    mariadb_initialize
    mariadb_users >"$folder/users.sql"
    # The socket's path is relative to the data folder: a long path would be refused.
    launch mariadb "$(mariadb_server)" --no-defaults --user="$(id -un)" --datadir="$folder/data" \
        --bind-address=127.0.0.1 --port="$port" --socket=mariadb.sock --pid-file="$folder/mariadb.pid" \
        --init-file="$folder/users.sql" --skip-name-resolve --performance-schema=OFF --innodb-use-native-aio=0 \
        --innodb-buffer-pool-size=16M --innodb-log-file-size=16M --key-buffer-size=1M --max-connections=60 \
        --server-id=1 --log-bin=binlog --binlog-format=ROW --binlog-row-image=FULL --binlog-row-metadata=FULL \
        --character-set-server=utf8mb4
}

mariadb_env() {
    export_line MARIADB_URL \
        "mysql://$mariadb_user:$(cat "$data/mariadb/password")@127.0.0.1:$(cat "$data/mariadb/port")/headwater"
}
