# shellcheck shell=bash
# What scripts/services gets from Debian or Ubuntu when it may: as root, or with sudo without a password.

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() { [ "${HEADWATER_INSTALL:-1}" != 0 ] && have apt-get && as_root true 2>/dev/null; }

# The way out that goes with a missing package.
way_out() { printf 'as root: apt-get install -y --no-install-recommends %s' "$*"; }

apt_install() {
    say "installing $*"
    # Never at the price of another package, such as another database server.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends --no-remove "$@" \
        </dev/null >/dev/null
}

install_for() {
    local packages
    read -ra packages <<<"$("${1}_packages" | xargs)"
    if [ "${#packages[@]}" -eq 0 ] || ! may_install; then return; fi
    as_root apt-get update -qq </dev/null >/dev/null || true
    if [ "$1" = postgres ]; then
        install_postgres "${packages[@]}"
    else
        apt_install "${packages[@]}" || true
    fi
}

# Without the cluster that Debian would make with the package, and start: nothing of the system's shall run.
install_postgres() {
    local settings=/etc/postgresql-common/createcluster.conf
    apt_install postgresql-common || return 0
    if grep -qs '^create_main_cluster' "$settings"; then
        apt_install "$@" || true
        return
    fi
    as_root pg_conftool "$settings" set create_main_cluster off || true
    apt_install "$@" || true
    as_root pg_conftool "$settings" remove create_main_cluster || true
}
