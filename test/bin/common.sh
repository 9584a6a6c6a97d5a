# Shared by the test runner, the demo and the benchmark: installs what is missing, builds
# a private copy of the PostgreSQL installation with the extension in it, picks the user
# that servers run as, and cleans up. Sourced by bash scripts; needs $root (the checkout).
#
# Nothing is installed into the system's PostgreSQL: PostgreSQL finds its files relative to
# its binaries, so a copy of its lib and share directories is an installation of its own.

. "$root/test/bin/servers.sh"
. "$root/test/bin/releases.sh"
PGMAJOR=
work=

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# Takes a major version: the machine's own where it is installed, and 15 always, as that is what is installed when it is missing;
# else one that is made of the packages of another suite. Sets PGMAJOR; pg_prefix, where its packages are; PGLIB, PGSHARE,
# PGINCLUDE below that; sysroot, which has the headers that belong to it, where those are not the machine's.
# Fails, with the reason on stderr, where it cannot be had.
take_version() {
	local place=
	if [ "$1" != 15 ] && [ ! -f "/usr/lib/postgresql/$1/lib/pgxs/src/makefiles/pgxs.mk" ]; then
		place=$(release_server "$1") || return 1
	fi
	PGMAJOR=$1
	sysroot=$place
	pg_prefix=$place/usr
	PGLIB=$pg_prefix/lib/postgresql/$PGMAJOR
	PGSHARE=$pg_prefix/share/postgresql/$PGMAJOR
	PGINCLUDE=$pg_prefix/include/postgresql
}

# Packages that are needed and not there.
missing_packages() {
	local m=
	command -v gcc >/dev/null || m="$m gcc libc6-dev"
	command -v make >/dev/null || m="$m make"
	if [ "${PG:-15}" = 15 ]; then
		[ -x /usr/lib/postgresql/15/bin/postgres ] && [ -x /usr/lib/postgresql/15/bin/pgbench ] || m="$m postgresql-15"
		[ -f /usr/lib/postgresql/15/lib/pgxs/src/makefiles/pgxs.mk ] && [ -f /usr/include/postgresql/15/server/postgres.h ] ||
			m="$m postgresql-server-dev-15"
		[ -f /usr/include/postgresql/libpq-fe.h ] || m="$m libpq-dev"
	else
		[ -f /usr/share/zoneinfo/UTC ] || m="$m tzdata"
		# the source of 17 and newer has no files that these have made
		case ${SERVER:-stock} in stock) ;; *)
			command -v bison >/dev/null || m="$m bison"
			command -v flex >/dev/null || m="$m flex"
		esac
	fi
	perl -MIPC::Run -e 1 2>/dev/null || m="$m libipc-run-perl"
	printf '%s' "$m"
}

# Installs them, as root or by sudo; tells a user without rights what to ask for. Then takes the version that PG names, 15 if
# it names none; where that cannot be had, nothing can be done.
install_missing() {
	install_packages
	take_version "${PG:-15}" && return 0
	say "SKIPPED: PostgreSQL ${PG:-15}: there is no server of that version"
	say "0 passed, 0 failed, 1 skipped"
	exit 1
}

install_packages() {
	local m as=
	m=$(missing_packages)
	[ -n "$m" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
			as=sudo
		else
			die "These packages are missing and need an administrator: apt-get install$m"
		fi
	fi
	say "installing:$m"
	# no cluster of the system's is wanted
	$as mkdir -p /etc/postgresql-common
	[ -f /etc/postgresql-common/createcluster.conf ] ||
		printf 'create_main_cluster = false\n' | $as tee /etc/postgresql-common/createcluster.conf >/dev/null
	$as env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null || die "apt-get update failed"
	$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $m >"${TMPDIR:-/tmp}/apt.$$.log" 2>&1 ||
		{ tail -20 "${TMPDIR:-/tmp}/apt.$$.log" >&2; die "apt-get install failed"; }
	rm -f "${TMPDIR:-/tmp}/apt.$$.log"
	m=$(missing_packages)
	[ -z "$m" ] || die "still missing after the installation:$m"
}

# The user that servers run as: ourselves, or an unprivileged one when we are root.
pick_user() {
	if [ "$(id -u)" != 0 ]; then
		run_user=$(id -un)
	elif id postgres >/dev/null 2>&1; then
		run_user=postgres
	else
		run_user=nobody
	fi
}

# Runs a command as that user, in $work.
as_user() {
	if [ "$(id -un)" = "$run_user" ]; then
		(cd "$work" && env HOME="$work" "$@")
	else
		(cd "$work" && setpriv --reuid="$run_user" --regid="$(id -g "$run_user")" --clear-groups env HOME="$work" "$@")
	fi
}

# Stops every server below $1 (default: $work) by the pid in its postmaster.pid, and everything else that
# this script started there.
stop_servers() {
	local f pid
	[ -n "$work" ] && [ -d "$work" ] || return 0
	for f in $(find "${1:-$work}" -name postmaster.pid 2>/dev/null); do
		pid=$(head -1 "$f" 2>/dev/null)
		[ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null
	done
	for f in $(find "${1:-$work}" -name '*.proxy.pid' 2>/dev/null); do
		kill -KILL "$(cat "$f")" 2>/dev/null
	done
	for _ in $(seq 50); do
		[ -n "$(find "${1:-$work}" -name postmaster.pid 2>/dev/null)" ] || break
		sleep 0.1
	done
	return 0
}

cleanup() {
	local status=$?
	trap - EXIT INT TERM HUP
	local job
	for job in $(jobs -p); do kill -TERM -- "-$job" 2>/dev/null; done # each has a process group of its own
	stop_servers
	if [ -n "$work" ] && [ -z "${KEEP:-}" ]; then rm -rf "$work"; fi
	exit $status
}

# Makes the private directory; it goes away at the end, unless KEEP is set.
make_work() {
	pick_user
	work=$(mktemp -d "${TMPDIR:-/tmp}/rp.XXXXXX")
	chmod 755 "$work"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

# Sets cc to the compiler, with a cache before it where there is one, and with the headers of the server that it compiles for.
pick_compiler() {
	cc=gcc
	[ -z "$sysroot" ] || [ -n "${server_root:-}" ] || cc="gcc --sysroot=$sysroot"
	command -v ccache >/dev/null || return 0
	cc="ccache $cc"
	export CCACHE_BASEDIR=$work CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=include_file_ctime,include_file_mtime
}

# Builds the extension whose sources are in $1/build with COPT=$2 (and SHLIB_LINK=$3), and a private installation in $1/pg: a
# copy of the server's, with exactly what "make install" installs laid over it. The server is the stock one,
# or the one in $server_root (see servers.sh). Sets bin, pkglib, server_includes, libpq_includes.
build_in() {
	local dir=$1 config=$PGLIB/bin/pg_config prefix=$pg_prefix
	rm -rf "$dir/pg" "$dir/stage"
	mkdir -p "$dir/pg"
	libpq_includes=$PGINCLUDE
	[ -n "${server_root:-}" ] && { config=$server_root/bin/pg_config; prefix=$server_root; libpq_includes=$server_root/include; }
	pick_compiler
	make -s -C "$dir/build" PG_CONFIG="$config" CC="$cc" COPT="$2" SHLIB_LINK="${3:-}" -j2 >"$dir/build.log" 2>&1 ||
		{ cat "$dir/build.log" >&2; die "the build failed"; }
	make -s -C "$dir/build" PG_CONFIG="$config" install DESTDIR="$dir/stage" >>"$dir/build.log" 2>&1 ||
		{ cat "$dir/build.log" >&2; die "make install failed"; }
	if [ -n "${server_root:-}" ]; then
		cp -a "$server_root/." "$dir/pg/"
	else
		mkdir -p "$dir/pg/lib/postgresql" "$dir/pg/share/postgresql"
		cp -a "$PGLIB" "$dir/pg/lib/postgresql/"
		cp -a "$PGSHARE" "$dir/pg/share/postgresql/"
	fi
	bin=$dir/pg$("$config" --bindir | sed "s|^$prefix||")
	pkglib=$dir/pg$("$config" --pkglibdir | sed "s|^$prefix||")
	share=$dir/pg$("$config" --sharedir | sed "s|^$prefix||")
	server_includes=$("$config" --includedir-server)
	built_config=$config
	built_flags=$2
	built_link=${3:-}
	cp -a "$dir/stage$("$config" --pkglibdir)/." "$pkglib/"
	cp -a "$dir/stage$("$config" --sharedir)/." "$share/"
	[ "$(id -u)" = 0 ] && chown -R "$run_user" "$dir"
	return 0
}

# Puts the sources of this checkout into $1/build.
copy_sources() {
	rm -rf "$1/build"
	mkdir -p "$1/build"
	(cd "$root" && tar cf - --exclude=.git --exclude='*.o' --exclude='*.so' --exclude='*.bc' --exclude='./replication_plugin--*.sql' .) |
		(cd "$1/build" && tar xf -)
}

# The same for the sources of this checkout, in $work, with COPT=$1 and SHLIB_LINK=$2.
build_private() {
	copy_sources "$work"
	build_in "$work" "$@"
}

# The same for the stock server of version $1, in $work/other/$1, with COPT=$2; prints the directory of the installation, which has
# bin and lib. Everything else stays as it was.
build_other() (
	take_version "$1" || exit 1
	server_root=
	copy_sources "$work/other/$1"
	build_in "$work/other/$1" "$2" >&2
	dirname "$bin"
)

# Version 1.0 as it was, in $work/old, if this checkout has the history; sets old_bin.
build_old() {
	local new=("$bin" "$pkglib" "$share" "$built_flags")
	old_bin=
	git -C "$root" cat-file -e "$version_1_0^{commit}" 2>/dev/null || return 1
	mkdir -p "$work/old/build"
	git -C "$root" archive "$version_1_0" | (cd "$work/old/build" && tar xf -)
	# its headers relied on what the distribution's server happens to include
	build_in "$work/old" "-DUSE_ASSERT_CHECKING=1 -include postgres.h -include access/xlogdefs.h"
	old_bin=$bin
	bin=${new[0]}
	pkglib=${new[1]}
	share=${new[2]}
	built_flags=${new[3]}
}
version_1_0=3cf14f7

# The update script to the pretended next version $2, of the sources in $1, made like those in the Makefile.
next_update() {
	local schema=$1/src/schema
	cat "$schema/update/views_before.sql"
	sed -n 's/^CREATE VIEW \([a-z_]*\).*/\1/p' "$schema"/[1-9]*.sql | sed '1s/^/DROP VIEW /; $!s/$/,/; $s/$/;/'
	cat "$schema/11_next.sql"
	for f in "$schema"/[1-9]*.sql; do
		case $f in */10_tables.sql | */11_next.sql | */60_triggers.sql) ;; *) sed 's/^CREATE FUNCTION /CREATE OR REPLACE FUNCTION /' "$f" ;; esac
	done
	cat "$schema/update/views_after.sql"
}

# The pretended next version (test/next), or the one after it with $1 = 2, in $work/next$1: only what depends on the version is
# compiled anew. To be called after build_private. Sets next_bin, or later_bin.
build_next() {
	local n=$1 dir=$work/next$1 version=1.$((1 + $1)) flags file
	mkdir -p "$dir"
	cp -a "$work/build" "$dir/build"
	cp "$dir/build/test/next/"*.sql "$dir/build/src/schema/"
	sed -i "s/^default_version.*/default_version = '$version'/" "$dir/build/replication_plugin.control"
	rm -f "$dir/build/"*.so "$dir/build/"replication_plugin--*.sql
	(cd "$dir/build" && for file in $(grep -lE 'wire/protocol\.h|REPLICATION_PLUGIN_NEXT' -r src --include='*.c'); do rm -f "${file%.c}.o"; done)
	flags="$built_flags -DREPLICATION_PLUGIN_NEXT=$n"
	make -s -C "$dir/build" PG_CONFIG="$built_config" CC="$cc" EXTVERSION="$version" COPT="$flags" SHLIB_LINK="$built_link" -j2 >"$dir/build.log" 2>&1 &&
		make -s -C "$dir/build" PG_CONFIG="$built_config" EXTVERSION="$version" install DESTDIR="$dir/stage" >>"$dir/build.log" 2>&1 ||
		{ cat "$dir/build.log" >&2; die "the build of the next version failed"; }
	{ printf '%s\n' '\echo Use "ALTER EXTENSION replication_plugin UPDATE" to load this file. \quit'; next_update "$dir/build"; } >"$dir/update.sql"
	cp -al "$work/pg" "$dir/pg"
	cp -a --remove-destination "$dir/stage$("$built_config" --pkglibdir)/." "$dir/pg${pkglib#"$work/pg"}/"
	cp -a --remove-destination "$dir/stage$("$built_config" --sharedir)/." "$dir/pg${share#"$work/pg"}/"
	cp "$dir/update.sql" "$dir/pg${share#"$work/pg"}/extension/replication_plugin--1.1--$version.sql"
	# here too: what happens where its files are not the library that is loaded
	cp "$dir/update.sql" "$share/extension/replication_plugin--1.1--$version.sql"
	[ "$(id -u)" = 0 ] && chown -R "$run_user" "$dir"
	if [ "$n" = 1 ]; then next_bin=$dir/pg${bin#"$work/pg"}; else later_bin=$dir/pg${bin#"$work/pg"}; fi
	return 0
}

# True if the server has a setting.
has_setting() {
	as_user "$bin/postgres" --describe-config 2>/dev/null | grep -q "^$1	"
}

# The settings of the README that only some versions have, where this server has them: output_plugin_libraries since 15.19,
# max_active_replication_origins since 18.
settings_of_version() {
	has_setting output_plugin_libraries && say "output_plugin_libraries = 'pgoutput, test_decoding, replication_plugin'"
	has_setting max_active_replication_origins && say "max_active_replication_origins = ${1:-20}"
	return 0
}
