#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Private PostgreSQL and MariaDB servers for tests: started in a temporary folder on a Unix socket
# and a free TCP port of 127.0.0.1, with the durability settings of production.
#
# Source it and call the functions, or run it:
#
#   databases.sh start postgres|mariadb [OWNER_PID]   prints DIR, then the settings as shell words
#   databases.sh stop DIR
#   databases.sh create DIR NAME                      a new empty database
#   databases.sh sql DIR NAME STATEMENT               as administrator; prints bare values
#   databases.sh kill-connections DIR                 cuts every client, returns when they are gone
#   databases.sh crash DIR / restart DIR              kill -9 / bring up again on the same data
#
# Every server has a keeper, a process of its own session which waits for the end of the owner (the
# caller by default), even by SIGKILL, and then stops the server and removes the folder. So nothing
# is left behind by a test that crashes.
#
# DIR holds: data/, log, server.pid, settings (kind, user, host, port, socket). The data folder is
# unpacked from build/databases/*.tar, made at the first start.
#
# Extra server settings: DATABASE_OPTIONS="--max_connections=20 ..." (both kinds take --name=value).

DATABASES_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
DATABASES_SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/$(basename "${BASH_SOURCE[0]}")
DATABASES_CACHE=${DATABASES_CACHE:-$DATABASES_ROOT/build/databases}
DATABASES_WAIT_S=${DATABASES_WAIT_S:-60}

databases_fail()
{
    echo "databases: $*" >&2
    return 1
}

# The folder of PostgreSQL's programs, which Debian keeps out of PATH.
databases_postgres_bin()
{
    local bin
    bin=$(find /usr/lib/postgresql/*/bin /usr/pgsql-*/bin -name initdb 2>/dev/null | sort -V | tail -1)
    bin=${bin:-$(command -v initdb)} || return 1
    dirname "$bin"
}

# Servers refuse to run as root: there, the words that switch to a plain user; otherwise nothing.
databases_as()
{
    local kind=$1 user=postgres
    [ "$(id -u)" = 0 ] || return 0
    [ "$kind" = postgres ] || user=mysql
    getent passwd "$user" >/dev/null || user=nobody
    echo setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups
}

databases_user()
{
    if [ "$1" = postgres ]; then echo postgres; else echo root; fi
}

databases_free_port()
{
    local port try
    for try in {1..50}; do
        port=$((20000 + (RANDOM * 32768 + RANDOM + try) % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return 0
        fi
    done
    databases_fail "no free port"
}

# databases_initialise KIND DIR: makes DIR/data from scratch.
databases_initialise()
{
    local kind=$1 dir=$2 as
    read -r -a as <<<"$(databases_as "$kind")"
    if [ "$kind" = postgres ]; then
        "${as[@]}" "$(databases_postgres_bin)/initdb" --pgdata="$dir/data" --username=postgres \
            --auth=trust --encoding=UTF8 --no-locale --no-instructions
    else
        "${as[@]}" mariadb-install-db --no-defaults --datadir="$dir/data" \
            --auth-root-authentication-method=normal --skip-test-db
    fi >"$dir/log" 2>&1 || databases_fail "cannot initialise $kind: $(tail -3 "$dir/log")"
}

# databases_unpack KIND DIR: makes DIR/data, from the cached archive when there is one.
databases_unpack()
{
    local kind=$1 dir=$2 as archive
    archive=$DATABASES_CACHE/$kind-$(databases_version "$kind").tar
    read -r -a as <<<"$(databases_as "$kind")"
    if mkdir -p "$DATABASES_CACHE" 2>/dev/null && [ -w "$DATABASES_CACHE" ]; then
        (
            flock 9
            [ -e "$archive" ] && exit 0
            databases_initialise "$kind" "$dir" || exit 1
            tar -C "$dir" --sparse -cf "$archive.tmp" data && mv "$archive.tmp" "$archive"
        ) 9>"$archive.lock" || return 1
        [ -d "$dir/data" ] || "${as[@]}" tar -C "$dir" -xf - <"$archive"
    else
        databases_initialise "$kind" "$dir"
    fi
}

databases_version()
{
    if [ "$1" = postgres ]; then
        "$(databases_postgres_bin)/postgres" --version | sed 's/[^0-9]*\([0-9.]*\).*/\1/'
    else
        mariadbd --version | sed 's/.*Ver \([0-9.]*\).*/\1/'
    fi
}

# The server's command line, one word per line.
databases_command()
{
    local dir=$1 kind port word
    kind=$(databases_get "$dir" kind)
    port=$(databases_get "$dir" port)
    if [ "$kind" = postgres ]; then
        printf '%s\n' "$(databases_postgres_bin)/postgres" -D "$dir/data" \
            "--listen_addresses=127.0.0.1" "--port=$port" "--unix_socket_directories=$dir"
    else
        printf '%s\n' "$(command -v mariadbd || command -v mysqld)" --no-defaults \
            "--datadir=$dir/data" "--socket=$dir/mysql.sock" "--pid-file=$dir/data/server.pid" \
            --bind-address=127.0.0.1 "--port=$port" --skip-name-resolve
    fi
    for word in $DATABASE_OPTIONS; do
        echo "$word"
    done
}

databases_get()
{
    sed -n "s/^$2=//p" "$1/settings"
}

# Runs one client command line: databases_client DIR NAME SQL.
databases_client()
{
    local dir=$1 name=$2 sql=$3
    if [ "$(databases_get "$dir" kind)" = postgres ]; then
        PGCONNECT_TIMEOUT=5 PGOPTIONS='-c client_min_messages=warning' psql -X -q -A -t \
            -v ON_ERROR_STOP=1 -h "$dir" -p "$(databases_get "$dir" port)" -U postgres \
            -d "${name:-postgres}" -c "$sql"
    else
        mariadb --no-defaults --batch --skip-column-names --connect-timeout=5 \
            --socket="$dir/mysql.sock" --user=root ${name:+"$name"} --execute="$sql"
    fi
}

databases_ready()
{
    databases_client "$1" "" 'SELECT 1' >/dev/null 2>&1
}

# The keeper: starts the server as its child, ends it and the folder with the owner.
databases_keep()
{
    local dir=$1 owner=$2 kind server as words
    kind=$(databases_get "$dir" kind)
    read -r -a as <<<"$(databases_as "$kind")"
    mapfile -t words < <(databases_command "$dir")
    # The signal of a keeper that dies itself: the hardest stop that each server survives.
    "${as[@]}" setpriv --pdeathsig QUIT "${words[@]}" </dev/null >>"$dir/log" 2>&1 9>&- &
    server=$!
    echo "$server" >"$dir/server.pid"
    while kill -0 "$owner" 2>/dev/null && kill -0 "$server" 2>/dev/null; do
        sleep 0.2
    done
    if kill -0 "$owner" 2>/dev/null; then
        return 0 # crashed or stopped by somebody else: the folder is still wanted
    fi
    databases_end "$kind" "$server"
    rm -rf "$dir"
}

# Ends a server process: fast, then by force.
databases_end()
{
    local kind=$1 server=$2 signal=TERM try
    [ "$kind" = postgres ] && signal=INT
    kill -s "$signal" "$server" 2>/dev/null || return 0
    for try in {1..100}; do
        kill -0 "$server" 2>/dev/null || return 0
        [ "$try" != 60 ] || kill -s QUIT "$server" 2>/dev/null
        sleep 0.1
    done
    kill -9 "$server" 2>/dev/null
}

# databases_launch DIR OWNER: starts the keeper and waits until the server answers.
databases_launch()
{
    local dir=$1 owner=$2 deadline
    rm -f "$dir/server.pid"
    setsid "$DATABASES_SELF" keep "$dir" "$owner" </dev/null >>"$dir/log" 2>&1 9>&- &
    deadline=$((SECONDS + DATABASES_WAIT_S))
    until databases_ready "$dir"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            databases_fail "no answer after $DATABASES_WAIT_S s: $(tail -3 "$dir/log")"
            return 1
        fi
        if [ -s "$dir/server.pid" ] && ! kill -0 "$(cat "$dir/server.pid")" 2>/dev/null; then
            databases_fail "the server ended: $(tail -3 "$dir/log")"
            return 1
        fi
        sleep 0.1
    done
}

# database_start KIND [OWNER_PID]: prints the folder. Fails when the programs are not installed.
database_start()
{
    local kind=$1 owner=${2:-$$} dir as try socket
    case $kind in
    postgres) databases_postgres_bin >/dev/null || { databases_fail "no initdb found"; return 1; } ;;
    mariadb)
        command -v mariadb-install-db mariadbd >/dev/null ||
            { databases_fail "no mariadb-install-db or mariadbd found"; return 1; }
        ;;
    *) databases_fail "unknown kind $kind"; return 1 ;;
    esac
    dir=$(mktemp -d "${TMPDIR:-/tmp}/strait-$kind.XXXXXX") || return 1
    chmod 755 "$dir"
    read -r -a as <<<"$(databases_as "$kind")"
    if [ ${#as[@]} -gt 0 ]; then
        chown "${as[1]#--reuid=}" "$dir"
    fi
    socket=$dir
    [ "$kind" = postgres ] || socket=$dir/mysql.sock
    for try in 1 2 3; do
        rm -rf "$dir/data"
        databases_unpack "$kind" "$dir" || break
        printf '%s\n' "kind=$kind" "user=$(databases_user "$kind")" host=127.0.0.1 \
            "port=$(databases_free_port)" "socket=$socket" >"$dir/settings"
        if databases_launch "$dir" "$owner"; then
            echo "$dir"
            return 0
        fi
        # Most likely somebody took the port.
        grep -qi 'address already in use' "$dir/log" || break
    done
    rm -rf "$dir"
    return 1
}

# database_stop DIR: clean shutdown; the folder goes too.
database_stop()
{
    local dir=$1
    [ -e "$dir/settings" ] || return 0
    databases_end "$(databases_get "$dir" kind)" "$(cat "$dir/server.pid")"
    rm -rf "$dir"
}

# database_crash DIR: as a power cut for the process; the data stays. database_restart brings it up.
database_crash()
{
    local server
    server=$(cat "$1/server.pid")
    # PostgreSQL's children notice the end of their parent and leave by themselves.
    kill -9 "$server" 2>/dev/null
    while kill -0 "$server" 2>/dev/null; do sleep 0.05; done
}

# database_restart DIR [OWNER_PID]
database_restart()
{
    local dir=$1 owner=${2:-$$} try
    if [ -s "$dir/server.pid" ]; then
        databases_end "$(databases_get "$dir" kind)" "$(cat "$dir/server.pid")"
    fi
    for try in 1 2 3; do
        databases_launch "$dir" "$owner" && return 0
        sleep "$try" # children of a crashed postmaster still hold its shared memory
    done
    return 1
}

# database_setting DIR kind|user|host|port|socket
database_setting()
{
    databases_get "$1" "$2"
}

# database_create DIR NAME
database_create()
{
    databases_client "$1" "" "CREATE DATABASE $2"
}

# database_sql DIR NAME STATEMENT
database_sql()
{
    databases_client "$1" "$2" "$3"
}

# database_kill_connections DIR: cuts every client connection; returns when they are gone.
database_kill_connections()
{
    local dir=$1 list cut try
    if [ "$(databases_get "$dir" kind)" = postgres ]; then
        list="SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        cut="SELECT count(pg_terminate_backend(pid)) FROM ($list) AS clients"
        databases_client "$dir" "" "$cut" >/dev/null || return 1
    else
        list="SELECT id FROM information_schema.processlist
            WHERE id <> CONNECTION_ID() AND user <> 'system user' ORDER BY id"
        cut=$(databases_client "$dir" "" "$list" | sed 's/.*/KILL CONNECTION &;/')
        # --force: some end by themselves meanwhile.
        mariadb --no-defaults --force --socket="$dir/mysql.sock" --user=root <<<"$cut" 2>/dev/null
    fi
    for try in {1..100}; do
        [ -z "$(databases_client "$dir" "" "$list")" ] && return 0
        sleep 0.05
    done
    databases_fail "connections survive after $try tries"
}

databases_main()
{
    local verb=${1:-}
    [ $# -eq 0 ] || shift
    case $verb in
    start)
        local dir
        dir=$(database_start "$1" "${2:-$PPID}") || return 1
        echo "dir=$dir"
        cat "$dir/settings"
        ;;
    keep) databases_keep "$@" ;;
    stop) database_stop "$@" ;;
    crash) database_crash "$@" ;;
    restart) database_restart "$1" "${2:-$PPID}" ;;
    create) database_create "$@" ;;
    sql) database_sql "$@" ;;
    kill-connections) database_kill_connections "$@" ;;
    *)
        sed -n 's/^#   //p' "$DATABASES_SELF" >&2
        return 2
        ;;
    esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -u
    DATABASE_OPTIONS=${DATABASE_OPTIONS:-}
    databases_main "$@"
fi
