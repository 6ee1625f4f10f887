# shellcheck shell=bash disable=SC2154
# An S3 gateway of scripts/services: versitygw, built from its Go module, with a folder behind it.

s3_module=github.com/versity/versitygw/cmd/versitygw
s3_version=v1.8.0
s3_key=headwater

# One that is installed will do as well.
s3_program() {
    local built=$downloads/versitygw-$s3_version/versitygw
    if [ -x "$built" ]; then echo "$built"; else command -v versitygw; fi
}

# Go 1.21 and newer fetch the Go that a module asks for; Debian 12 has an older one, so nothing is installed.
s3_go() { have go && [ "$(go env GOVERSION | sed -E 's/^go1\.([0-9]+).*/\1/')" -ge 21 ]; }

s3_packages() { :; }

s3_missing() {
    if s3_program >/dev/null || s3_go; then return; fi
    printf 'versitygw missing, and Go 1.21 to build it; https://go.dev/dl or https://github.com/versity/versitygw'
}

s3_stop_signal() { echo TERM; }

s3_fetch() {
    local into=$downloads/versitygw-$s3_version
    if s3_program >/dev/null; then return; fi
    lock_downloads
    if s3_program >/dev/null; then return; fi
    say "building versitygw $s3_version from source (two minutes of CPU time, once)"
    mkdir -p "$into"
    GOBIN=$into/part nice go install "$s3_module@$s3_version" >"$into/log" 2>&1 </dev/null || {
        tail -n 5 "$into/log" >&2
        say "Go could not build versitygw ($into/log). Is https://proxy.golang.org reachable?"
        return 1
    }
    mv "$into/part/versitygw" "$into/versitygw" || return 1
    exec 8>&-
}

s3_ready() { answers "$(cat "$data/s3/port")"; }

s3_start() {
    local folder=$data/s3 port
    port=$(port_in "$folder/port")
    # Beside the objects, not in extended attributes, which some file systems do not have.
    mkdir -p "$folder/buckets/headwater" "$folder/attributes"
    ROOT_ACCESS_KEY=$s3_key ROOT_SECRET_KEY=$(secret_in "$folder/password") GOMEMLIMIT=128MiB GOMAXPROCS=2 \
        launch s3 "$(s3_program)" --port "127.0.0.1:$port" --quiet --keep-alive --max-connections 1000 \
        --max-requests 1000 posix --concurrency 100 --sidecar "$folder/attributes" "$folder/buckets"
}

s3_env() {
    export_line S3_ENDPOINT "http://127.0.0.1:$(cat "$data/s3/port")"
    export_line S3_BUCKET headwater
    export_line S3_REGION us-east-1
    export_line S3_ACCESS_KEY "$s3_key"
    export_line S3_SECRET_KEY "$(cat "$data/s3/password")"
}
