# Makes the PostgreSQL servers that tests run on, beside the stock one: built from the
# distribution's source, with assertions or with AddressSanitizer, and kept in a cache.
# Sourced after common.sh.
#
#   server_build assert|asan    builds that server if the cache does not have it, and prints its
#                               directory; fails, with the reason on stderr, where no source is to be had
#
# The cache is /var/cache/replication_plugin as root, else the user's own cache folder. A server
# is built beside its place and moved there when it is complete, so a build that is
# interrupted leaves nothing that looks finished. Its name says its version, and a hash of
# how it was built.

cache_dir() {
	if [ -n "${REPLICATION_PLUGIN_CACHE:-}" ]; then printf '%s' "$REPLICATION_PLUGIN_CACHE"
	elif [ "$(id -u)" = 0 ]; then printf '%s' /var/cache/replication_plugin
	else printf '%s' "${XDG_CACHE_HOME:-$HOME/.cache}/replication_plugin"
	fi
}

# Options of apt that use source lists of our own, made from the system's binary ones, and
# leave the system's files alone.
apt_own() {
	local d
	d=$(cache_dir)/apt
	printf '%s ' -o Dir::Etc::SourceList="$d/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$d/lists" -o Dir::Cache="$d/cache" -o APT::Sandbox::User=
}

# The index of the machine's own sources, of which apt_own reads.
source_index() {
	local d
	d=$(cache_dir)/apt
	mkdir -p "$d/lists/partial" "$d/cache/archives/partial"
	apt-get indextargets --format 'deb-src $(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
		sort -u >"$d/sources.list"
	apt-get $(apt_own) update -qq >"$d/update.log" 2>&1
}

# Runs a program of apt for sources: of the machine's suite, or of others (releases.sh).
source_apt() {
	local suites=$1 program=$2
	shift 2
	if [ "$suites" = own ]; then "$program" $(apt_own) "$@"; else release_apt "$suites.source" "$program" "$@"; fi
}

# Downloads the newest source of PostgreSQL $PGMAJOR that can be had; prints the archive's path.
# The newest version of an archive is not always there, so older ones are tried too.
source_archive() {
	local d v found suites
	d=$(cache_dir)
	found=$(ls "$d/source/postgresql-${PGMAJOR}_"*.orig.tar.bz2 2>/dev/null | sort -V | tail -1)
	[ -n "$found" ] && { printf '%s' "$found"; return 0; }
	command -v apt-get >/dev/null || { say "no apt-get, so no source of PostgreSQL" >&2; return 1; }
	mkdir -p "$d/apt" "$d/source"
	for suites in $([ "$PGMAJOR" = 15 ] && echo own || release_suites "$PGMAJOR"); do
		if [ "$suites" = own ]; then source_index; else release_index "$suites" deb-src; fi
		for v in $(source_apt "$suites" apt-cache showsrc "postgresql-$PGMAJOR" 2>/dev/null | sed -n 's/^Version: //p' | sort -rV | uniq); do
			(cd "$d/source" && source_apt "$suites" apt-get source --download-only "postgresql-$PGMAJOR=$v") >"$d/apt/source.log" 2>&1 && break 2
		done
	done
	found=$(ls "$d/source/postgresql-${PGMAJOR}_"*.orig.tar.bz2 2>/dev/null | sort -V | tail -1)
	[ -n "$found" ] || { say "no source of postgresql-$PGMAJOR can be had: $(tail -1 "$d/apt/source.log" 2>/dev/null)" >&2; return 1; }
	printf '%s' "$found"
}

# The unpacked source of PostgreSQL, for its regression suite; prints its directory.
source_tree() {
	local archive tree
	archive=$(source_archive) || return 1
	tree=$(cache_dir)/$(basename "$archive" .orig.tar.bz2 | tr _ -)-source
	if [ ! -d "$tree" ]; then
		rm -rf "$tree.new"
		mkdir -p "$tree.new"
		tar xjf "$archive" -C "$tree.new" --strip-components=1 || return 1
		mv "$tree.new" "$tree"
	fi
	printf '%s' "$tree"
}

# How each kind of server is configured, and compiled.
server_options() {
	printf '%s' "--enable-debug --with-libxml --without-readline --without-icu"
	case $1 in
		assert) printf ' %s' "--enable-cassert" ;;
		asan) printf ' %s' "--enable-cassert" ;;
	esac
}
server_cflags() {
	case $1 in
		assert) printf '%s' "-O1 -fno-omit-frame-pointer" ;;
		asan) printf '%s' "-O1 -fno-omit-frame-pointer -fsanitize=address" ;;
	esac
}

server_build() {
	local kind=$1 tree version hash place tmp
	tree=$(source_tree) || return 1
	version=$(basename "$tree" -source | sed 's/^postgresql-[0-9]*-//')
	hash=$({ server_options "$kind"; server_cflags "$kind"; gcc --version | head -1; } | md5sum | cut -c1-8)
	place=$(cache_dir)/$version-$kind-$hash
	if [ ! -x "$place/bin/postgres" ]; then
		say "building PostgreSQL $version ($kind) in $place" >&2
		tmp=$place.new.$$
		rm -rf "$tmp"
		mkdir -p "$tmp"
		# built outside of the source tree, which stays as it is
		if ! (
			export ASAN_OPTIONS=detect_leaks=0
			unset MAKELEVEL MAKEFLAGS MFLAGS # PostgreSQL makes its headers at the top level only
			cd "$tmp" &&
			"$tree/configure" -q --prefix="$place" $(server_options "$kind") CFLAGS="$(server_cflags "$kind")" &&
			make -s -j"$(nproc)" &&
			make -s -j"$(nproc)" -C contrib &&
			make -s install DESTDIR="$tmp/root" && make -s -C contrib install DESTDIR="$tmp/root" &&
			make -s -C src/test/regress all && make -s -C src/test/regress install DESTDIR="$tmp/root" &&
			make -s -C src/test/isolation install DESTDIR="$tmp/root" &&
			{ [ "$kind" != assert ] || cp src/test/regress/*.so "$tmp/root$place/lib/"; }
		) >"$tmp/build.log" 2>&1; then
			say "PostgreSQL $version ($kind) does not build; the end of $tmp/build.log:" >&2
			tail -20 "$tmp/build.log" >&2
			return 1
		fi
		rm -rf "$place"
		mv "$tmp/root$place" "$place" || return 1
		chmod -R a+rX "$(cache_dir)"
		rm -rf "$tmp"
	fi
	printf '%s' "$place"
}
