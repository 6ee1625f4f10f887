# shellcheck shell=bash disable=SC2154
# Kafka of scripts/services: one process, broker and controller, from Maven Central.

kafka_parts=$top/scripts/services.d/kafka
kafka_user=headwater

kafka_version() { sed -n 's#.*<kafka.version>\(.*\)</kafka.version>.*#\1#p' "$kafka_parts/pom.xml"; }

kafka_libraries() { echo "$downloads/kafka-$(kafka_version)"; }

kafka_fetched() { cmp -s "$kafka_parts/pom.xml" "$(kafka_libraries)/pom.xml"; }

java_major() { java -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p'; }

kafka_packages() {
    { have java && [ "$(java_major)" -ge 17 ]; } || echo default-jre-headless
    have openssl || echo openssl
    have mvn || kafka_fetched || echo maven
}

kafka_missing() {
    local packages
    packages=$(kafka_packages | xargs)
    [ -z "$packages" ] || printf '%s missing (Java 17 or newer is needed); %s' "$packages" "$(way_out "$packages")"
}

kafka_stop_signal() { echo TERM; }

# Into a folder of its own first: a broken download must not look like a whole one.
kafka_fetch() {
    local into
    into=$(kafka_libraries)
    if kafka_fetched; then return; fi
    lock_downloads
    if kafka_fetched; then return; fi
    say "fetching Kafka $(kafka_version) from Maven Central (45 MB, once)"
    rm -rf "$into.part"
    mkdir -p "$into.part"
    if ! mvn -B -q -Dstyle.color=never -f "$kafka_parts/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$into.part" </dev/null >"$into.log" 2>&1; then
        grep -m 1 ERROR "$into.log" >&2 || true
        say "Maven could not fetch Kafka ($into.log). Is https://repo.maven.apache.org reachable?"
        return 1
    fi
    cp "$kafka_parts/pom.xml" "$into.part/pom.xml" || return 1
    rm -rf "$into"
    mv "$into.part" "$into" || return 1
    exec 8>&-
}

# A short-lived Java program: little heap, no second compiler.
kafka_java() {
    java -Xmx192m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        -cp "$(kafka_libraries)/*" "$@"
}

kafka_run() {
    local missing
    missing=$(kafka_missing)
    [ -z "$missing" ] || fail "$missing"
    kafka_fetch || fail "Kafka's programs are not here"
    kafka_java "$@"
}

# An authority, and a certificate of it for 127.0.0.1 and localhost.
kafka_certificates() {
    local folder=$data/kafka/tls
    [ ! -f "$folder/broker.pem" ] || return 0
    rm -rf "$folder"
    mkdir "$folder"
    {
        openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=headwater test authority" \
            -addext "keyUsage=critical,keyCertSign" -keyout "$folder/authority.key" -out "$folder/ca.pem"
        openssl req -newkey rsa:2048 -nodes -subj "/CN=localhost" \
            -keyout "$folder/broker.key" -out "$folder/broker.csr"
        openssl x509 -req -in "$folder/broker.csr" -CA "$folder/ca.pem" -CAkey "$folder/authority.key" \
            -CAcreateserial -days 3650 -out "$folder/broker.crt" \
            -extfile <(echo "subjectAltName=DNS:localhost,IP:127.0.0.1")
    } >"$folder/openssl.log" 2>&1 || fail "openssl could not make certificates: $folder/openssl.log"
    cat "$folder/broker.key" "$folder/broker.crt" "$folder/ca.pem" >"$folder/broker.pem"
}

# For --command-config of Kafka's own tools.
kafka_client_properties() {
    cat <<END
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location=$data/kafka/tls/ca.pem
sasl.mechanism=SCRAM-SHA-256
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
username="$kafka_user" password="$(cat "$data/kafka/password")";
END
}

# Ports before all else: who names one that is taken must not have changed anything.
kafka_configure() {
    local folder=$data/kafka port tls_port controller_port behind_port proxy_port
    port=$(port_in "$folder/port")
    tls_port=$(port_in "$folder/port-tls")
    controller_port=$(port_in "$folder/port-controller")
    # Clients of the port behind a proxy are told the port of the proxy, which nobody listens on unless a test does.
    behind_port=$(port_in "$folder/port-behind")
    proxy_port=$(cat "$folder/port-proxy" 2>/dev/null || port_in "$folder/port-proxy")
    secret_in "$folder/password" >/dev/null
    kafka_certificates
    sed -e "s#@FOLDER@#$folder#g; s#@PORT@#$port#g; s#@TLS_PORT@#$tls_port#g" \
        -e "s#@CONTROLLER_PORT@#$controller_port#g; s#@BEHIND_PORT@#$behind_port#g; s#@PROXY_PORT@#$proxy_port#g" \
        -e "s#@USER@#$kafka_user#g; s#@PASSWORD@#$(cat "$folder/password")#g" \
        "$kafka_parts/server.properties" >"$folder/server.properties"
    kafka_client_properties >"$folder/client.properties"
}

kafka_format() {
    local folder=$data/kafka
    [ ! -f "$folder/data/meta.properties" ] || return 0
    rm -rf "$folder/data"
    kafka_java kafka.tools.StorageTool format --cluster-id "$(kafka_java kafka.tools.StorageTool random-uuid)" \
        --config "$folder/server.properties" \
        --add-scram "SCRAM-SHA-256=[name=$kafka_user,password=$(cat "$folder/password")]" \
        >"$folder/format.log" 2>&1 </dev/null || {
        tail -n 5 "$folder/format.log" >&2
        fail "Kafka could not prepare its data folder: $folder/format.log"
    }
}

kafka_ready() {
    grep -qs "Kafka Server started" "$data/kafka/log" && answers "$(cat "$data/kafka/port")" \
        && answers "$(cat "$data/kafka/port-tls")"
}

kafka_start() {
    kafka_configure
    kafka_format
    launch kafka java -Xms64m -Xmx320m -XX:MaxDirectMemorySize=64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dorg.slf4j.simpleLogger.showDateTime=true '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS' \
        -cp "$(kafka_libraries)/*" kafka.Kafka "$data/kafka/server.properties"
}

kafka_env() {
    local folder=$data/kafka
    export_line KAFKA_BROKERS "127.0.0.1:$(cat "$folder/port")"
    export_line KAFKA_BEHIND_PROXY "127.0.0.1:$(cat "$folder/port-behind")"
    export_line KAFKA_PROXY "127.0.0.1:$(cat "$folder/port-proxy")"
    export_line KAFKA_TLS_BROKERS "127.0.0.1:$(cat "$folder/port-tls")"
    export_line KAFKA_CA "$folder/tls/ca.pem"
    export_line KAFKA_USER "$kafka_user"
    export_line KAFKA_PASSWORD "$(cat "$folder/password")"
    export_line KAFKA_CLIENT_PROPERTIES "$folder/client.properties"
}
