# shellcheck shell=bash disable=SC2154
# scripts/services check: every service is started, used, killed and stopped, in a data folder of its own.

services=$top/scripts/services
topic=checked

ok() { printf 'ok     [%3ds] %s\n' "$SECONDS" "$*"; }

broken() {
    printf 'FAILED %s\n' "$*"
    exit 1
}

runs() { [[ " ${running[*]} " == *" $1 "* ]]; }

# A server that was killed comes back where it was.
kill_and_start() {
    local before
    before=$("$services" status "$1")
    "$services" kill "$1"
    [ "$("$services" status "$1")" = "$1 down" ] || broken "$1 is said to run after it was killed"
    "$services" up "$1" >/dev/null
    [ "$("$services" status "$1")" = "$before" ] || broken "$1 came back elsewhere: $before"
}

# Arguments: brokers, then more for the consumer.
read_committed() {
    local brokers=$1
    shift
    "$services" kafka-run org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$brokers" \
        --topic "$topic" --from-beginning --max-messages 100 --timeout-ms 30000 \
        --command-property isolation.level=read_committed "$@" 2>"$data/stderr" | sort -n >"$data/said" || {
        tail -n 20 "$data/stderr"
        broken "the consumer at $brokers"
    }
    cmp -s "$data/said" "$data/expected" || {
        diff "$data/expected" "$data/said" | head -n 20 || true
        tail -n 5 "$data/stderr"
        broken "the records at $brokers are not those that were written"
    }
}

check_kafka() {
    local wrong=$data/wrong.properties
    "$services" kafka-run org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_BROKERS" \
        --create --topic "$topic" --partitions 3 >/dev/null
    "$services" kafka-run org.apache.kafka.tools.ProducerPerformance --bootstrap-server "$KAFKA_BROKERS" \
        --topic "$topic" --num-records 100 --payload-monotonic --throughput -1 --transactional-id check \
        --transaction-duration-ms 60000 >/dev/null
    seq 0 99 >"$data/expected"
    read_committed "$KAFKA_BROKERS"
    ok "kafka: 100 records of a transaction, read with read_committed"
    read_committed "$KAFKA_TLS_BROKERS" --command-config "$KAFKA_CLIENT_PROPERTIES"
    ok "kafka: the same over TLS with a password"
    sed 's/password="/&not-/' "$KAFKA_CLIENT_PROPERTIES" >"$wrong"
    if "$services" kafka-run org.apache.kafka.tools.TopicCommand --bootstrap-server "$KAFKA_TLS_BROKERS" \
        --command-config "$wrong" --list >"$data/refused" 2>&1; then
        broken "kafka took a wrong password"
    fi
    grep -q SaslAuthenticationException "$data/refused" || broken "kafka refused a wrong password with other words"
    ok "kafka: a wrong password is refused"
    kill_and_start kafka
    read_committed "$KAFKA_BROKERS"
    ok "kafka: the records are there after kill -9"
}

check_registry() {
    local body='{"schema":"\"long\""}' kind='Content-Type: application/vnd.schemaregistry.v1+json' first
    if ! have curl; then
        ok "registry: runs; curl, to try more, is missing"
        return
    fi
    first=$(curl -sS --max-time 20 -H "$kind" -d "$body" "$SCHEMA_REGISTRY_URL/subjects/checked/versions")
    [[ $first == '{"id":'* ]] || broken "registry: a schema is registered with $first"
    kill_and_start registry
    [ "$(curl -sS --max-time 20 -H "$kind" -d "$body" "$SCHEMA_REGISTRY_URL/subjects/checked/versions")" = "$first" ] \
        || broken "registry lost a schema by kill -9"
    ok "registry: a schema has the same id after kill -9"
}

check_postgres() {
    [ "$(psql "$POSTGRES_URL" -XqAtc 'select 1' </dev/null)" = 1 ] || broken "postgres: select 1"
    [ "$(postgres_says headwater 'show wal_level')" = logical ] || broken "postgres: wal_level"
    postgres_says headwater "create table kept as select 42 as answer"
    kill_and_start postgres
    [ "$(postgres_says headwater 'select answer from kept')" = 42 ] || broken "postgres lost a row by kill -9"
    ok "postgres: select 1; a row is there after kill -9"
}

check_mariadb() {
    [[ $MARIADB_URL == mysql://headwater:*@127.0.0.1:*/headwater ]] || broken "mariadb: its URL is $MARIADB_URL"
    [ "$(mariadb_query 'select 1')" = 1 ] || broken "mariadb: select 1"
    mariadb_query 'create table kept as select 42 as answer'
    kill_and_start mariadb
    [ "$(mariadb_query 'select answer from kept')" = 42 ] || broken "mariadb lost a row by kill -9"
    ok "mariadb: select 1; a row is there after kill -9"
}

# The status code of a request to the bucket; more arguments go to curl.
s3_status() {
    # Older curls sign no hash of their own.
    curl -sS -o "$data/body" -w '%{http_code}' --max-time 20 --aws-sigv4 "aws:amz:$S3_REGION:s3" \
        --user "$S3_ACCESS_KEY:$S3_SECRET_KEY" -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
        "$S3_ENDPOINT/$S3_BUCKET/kept" "$@"
}

check_s3() {
    local first second
    if ! have curl; then
        ok "s3: runs; curl, to try more, is missing"
        return
    fi
    first=$(s3_status -X PUT --data-binary 42 -H 'If-None-Match: *')
    second=$(s3_status -X PUT --data-binary 43 -H 'If-None-Match: *')
    [ "$first $second" = '200 412' ] || broken "s3: an object created twice answers $first $second, not 200 412"
    kill_and_start s3
    [ "$(s3_status) $(cat "$data/body")" = '200 42' ] || broken "s3 lost an object by kill -9"
    ok "s3: an object is created once; it is there after kill -9"
}

check_pause() {
    local name=$1 address
    address=$("$services" status "$name")
    "$services" pause "$name"
    [ "$("$services" status "$name")" = "$address (paused)" ] || broken "$name is not paused"
    "$services" resume "$name"
    [ "$("$services" status "$name")" = "$address" ] || broken "$name is not resumed"
    ok "$name: paused and resumed"
}

# Two at a time must find one another's servers.
check_parallel_up() {
    local before name
    before=$(cat "$data"/*/identity)
    "$services" up >/dev/null 2>&1 &
    "$services" up >/dev/null 2>&1
    wait $!
    [ "$(cat "$data"/*/identity)" = "$before" ] || broken "up started anew what was running"
    ok "two more calls of up changed nothing"
}

check_down() {
    local pids pid name
    pids=$(for name in "${running[@]}"; do tree_of "$name"; done)
    "$services" down
    for pid in $pids; do [ ! -e "/proc/$pid" ] || is_zombie "$pid" || broken "process $pid is left running"; done
    for name in "$data"/*/port*; do
        ! is_taken "$(cat "$name")" || broken "somebody listens on the port in $name"
    done
    ok "down: of $(wc -w <<<"$pids") processes none is left"
}

forget_given() {
    local name
    for name in "${all[@]}"; do unset "$(given_name "$name")"; done
}

check() {
    local name word
    running=()
    # Our own servers are tried, whatever is given.
    forget_given
    data=$target/services/check
    export HEADWATER_SERVICES=$data
    mkdir -p "$data"
    exec 7>"$target/services/check.lock"
    flock -w 900 7 || fail "another check has run for 15 minutes: $target/services/check.lock"
    "$services" wipe
    trap 'forget_given; "$services" wipe' EXIT
    "$services" up
    while read -r name word; do
        case $word in 127.0.0.1:*) running+=("$name") ;; esac
    done < <("$services" status)
    [ "${#running[@]}" -gt 0 ] || fail "no service can be had here"
    eval "$("$services" env 2>/dev/null)"
    ok "up: ${running[*]}"
    for name in "${running[@]}"; do
        "check_$name"
        check_pause "$name"
    done
    check_parallel_up
    check_down
    ok "all of ${running[*]}"
}
