# shellcheck shell=bash disable=SC2154
# A schema registry of scripts/services: Apicurio, which answers to the calls of Confluent's, from Maven Central.

# The newest that runs on Java 17.
registry_version=3.0.9
registry_artifact=io.apicurio:apicurio-registry-app:$registry_version:tar.gz:all

registry_program() { echo "$downloads/apicurio-$registry_version/apicurio-registry-app-$registry_version-runner.jar"; }

registry_packages() {
    { have java && [ "$(java_major)" -ge 17 ]; } || echo default-jre-headless
    have mvn || [ -f "$(registry_program)" ] || echo maven
}

registry_missing() {
    local packages
    packages=$(registry_packages | xargs)
    [ -z "$packages" ] || printf '%s missing (Java 17 or newer is needed); %s' "$packages" "$(way_out "$packages")"
}

registry_stop_signal() { echo TERM; }

registry_fetch() {
    local into=$downloads/apicurio-$registry_version
    if [ -f "$(registry_program)" ]; then return; fi
    lock_downloads
    if [ -f "$(registry_program)" ]; then return; fi
    say "fetching Apicurio Registry $registry_version from Maven Central (109 MB, once)"
    rm -rf "$into.part"
    mkdir -p "$into.part"
    # Newer ones of this plugin want its parent's descriptor, which Maven Central does not have.
    if ! mvn -B -q -Dstyle.color=never org.apache.maven.plugins:maven-dependency-plugin:2.8:copy \
        -Dartifact="$registry_artifact" -DoutputDirectory="$into.part" </dev/null >"$into.log" 2>&1; then
        grep -m 1 ERROR "$into.log" >&2 || true
        say "Maven could not fetch the registry ($into.log). Is https://repo.maven.apache.org reachable?"
        return 1
    fi
    tar -xzf "$into.part/apicurio-registry-app-$registry_version-all.tar.gz" -C "$into.part" || return 1
    rm "$into.part/apicurio-registry-app-$registry_version-all.tar.gz"
    rm -rf "$into"
    mv "$into.part" "$into" || return 1
    exec 8>&-
}

registry_ready() {
    local port
    port=$(cat "$data/registry/port")
    answers "$port" || return 1
    # Its database may not be ready yet.
    exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf 'GET /apis/ccompat/v7/subjects HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    head -n 1 <&3 | grep -q ' 200 '
    local result=$?
    exec 3>&-
    return "$result"
}

registry_start() {
    local folder=$data/registry port
    port=$(port_in "$folder/port")
    APICURIO_DATASOURCE_URL="jdbc:h2:file:$folder/data/registry;DB_CLOSE_ON_EXIT=FALSE" QUARKUS_HTTP_HOST=127.0.0.1 \
        QUARKUS_HTTP_PORT=$port launch registry java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -jar "$(registry_program)"
}

registry_env() {
    export_line SCHEMA_REGISTRY_URL "http://127.0.0.1:$(cat "$data/registry/port")/apis/ccompat/v7"
}
