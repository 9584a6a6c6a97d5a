# Takes the packages of PostgreSQL servers from other suites of Debian (17 from trixie, 18 from forky, 19 from experimental), and
# makes them runnable beside this machine's own without installing them. Sourced after common.sh and servers.sh.
#
#   release_server VERSION    makes that server if the cache does not have it, and prints its directory; fails, with the reason on
#                             stderr, where no suite has its packages
#
# The directory has the tree of the packages: usr/lib/postgresql/VERSION, usr/include, and the libraries that the
# server needs, the C library with them. Its programs name their loader and their libraries by absolute paths, so that
# nothing of it is mixed with the machine's own, and a copy of usr/lib/postgresql and usr/share/postgresql
# works anywhere. What is built for it needs its headers: CC="gcc --sysroot=DIRECTORY".
#
# No rights are needed: packages are downloaded and unpacked, and never installed. apt works with lists, a cache and a state of
# our own. Where the packages come from is what the machine's sources say of its own suite. Like all of the
# cache's servers, one is moved into its place when it is complete, and stays until its directory is removed.
# It has no JIT compiler, which would be much larger than all the rest.

# The suites that may have a version, likeliest first; "+" adds experimental to sid. When Debian has moved on, others are tried.
release_suites() {
	case $1 in
		16) ;;
		17) printf '%s' "trixie forky sid" ;;
		18) printf '%s' "forky sid trixie" ;;
		*) printf '%s' "sid+experimental sid forky" ;;
	esac
}

# Runs a program of apt with the index of suites, as release_index() has made it, and with nothing of the system's but its keys.
release_apt() {
	local suites=$1 program=$2 d
	shift 2
	d=$(cache_dir)/apt/$suites
	"$program" -q -o Dir::Etc::SourceList="$d/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences="$d/preferences" \
		-o Dir::Etc::PreferencesParts=/dev/null -o Dir::State::Lists="$d/lists" -o Dir::State::status="$d/status" \
		-o Dir::Cache="$d/cache" -o APT::Sandbox::User= -o APT::Install-Recommends=false \
		-o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=20 "$@"
}

# Fetches the index of suites: of their packages, or with deb-src, as "SUITES.source", that of their sources.
# The status of an empty machine makes apt find all that a package depends on.
release_index() {
	local suites=$1 kind=${2:-deb} index=$1 d codename site s
	[ "$kind" = deb ] || index=$suites.source
	d=$(cache_dir)/apt/$index
	codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
	site=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(SITE)' 'Created-By: Packages' 2>/dev/null |
		sed -n "s/^$codename main //p" | head -1)
	[ -n "$site" ] || { say "apt's sources do not name a mirror of ${codename:-this suite}" >&2; return 1; }
	mkdir -p "$d/lists/partial" "$d/cache/archives/partial"
	: >"$d/status"
	for s in ${suites//+/ }; do say "$kind $site $s main"; done >"$d/sources.list"
	: >"$d/preferences"
	case $suites in
		*+*) printf '%s\n' 'Package: postgresql-* libpq*' "Pin: release a=${suites#*+}" 'Pin-Priority: 990' >"$d/preferences" ;;
	esac
	release_apt "$index" apt-get update >"$d/update.log" 2>&1 && return 0
	say "no index of $suites: $(grep -E '^(E|W):' "$d/update.log" | head -1)" >&2
	return 1
}

# The packages of a version, and those that it needs, as "name=version"; without programs that maintain a system.
release_packages() {
	release_apt "$1" apt-get install -s "postgresql-$2" "postgresql-client-$2" libc6-dev libpq-dev 2>/dev/null |
		sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p' |
		grep -E '^(lib|zlib|linux-libc-dev=|postgresql-[0-9]|postgresql-client-[0-9])' | grep -vE '^(libllvm|libz3|libperl|lib[a-z-]*-perl=)'
	release_apt "$1" apt-cache policy "postgresql-server-dev-$2" | sed -n "s/^ *Candidate: */postgresql-server-dev-$2=/p"
}

# The program that changes which loader and libraries a program names: the machine's, else that of its package, unpacked in
# the cache. Prints its path.
patchelf_program() {
	local d
	command -v patchelf && return 0
	d=$(cache_dir)/patchelf
	if [ ! -x "$d/usr/bin/patchelf" ]; then
		rm -rf "$d.new"
		mkdir -p "$d.new"
		(
			cd "$d.new" || exit 1
			apt-get -q -o APT::Sandbox::User= download patchelf || {
				apt-get $(apt_own) -o Dir::Etc::SourceList="$(cache_dir)/apt/binary.list" update -q &&
				apt-get -q $(apt_own) -o Dir::Etc::SourceList="$(cache_dir)/apt/binary.list" download patchelf
			} && dpkg-deb -x patchelf_*.deb . && rm patchelf_*.deb
		) >"$d.log" 2>&1 || { say "no patchelf: $(tail -1 "$d.log")" >&2; return 1; }
		mv "$d.new" "$d"
	fi
	printf '%s' "$d/usr/bin/patchelf"
}

# Makes what was unpacked in $1, and will be at $2, run from there: the programs of version $3.
release_adapt() {
	local tree=$1 place=$2 v=$3 patchelf libs loader f
	patchelf=$(patchelf_program) || return 1
	libs=usr/lib/$(gcc -print-multiarch)
	for f in lib lib64; do [ -e "$tree/$f" ] || ln -s "usr/$f" "$tree/$f"; done
	# the JIT compiler's library is not there
	rm -rf "$tree/usr/lib/postgresql/$v/lib/llvmjit.so" "$tree/usr/lib/postgresql/$v/lib/bitcode"
	for f in "$tree/usr/lib/postgresql/$v/bin/"* "$tree/usr/lib/postgresql/$v/lib/pgxs/src/test/"*/*; do
		[ -f "$f" ] && loader=$("$patchelf" --print-interpreter "$f" 2>/dev/null) || continue
		loader=$libs/$(basename "$loader")
		[ -f "$tree/$loader" ] || { say "$tree has no $loader" >&2; return 1; }
		"$patchelf" --set-interpreter "$place/$loader" --force-rpath --set-rpath "$place/$libs" "$f" || return 1
	done
	release_fit_compiler "$tree/usr/lib/postgresql/$v/lib/pgxs/src/Makefile.global" "$tree/usr/include/postgresql/$v/server/pg_config.h"
}

# Takes out what a newer compiler than this one was found to know: warnings in $1, and features in $2.
release_fit_compiler() {
	local flag
	for flag in $(sed -n 's/^C[A-Z]*FLAGS[A-Z_]* *=//p' "$1" | tr ' ' '\n' | grep -E '^-[Wf][a-z0-9=-]+$' | sort -u); do
		echo 'int main(void) { return 0; }' | gcc -Werror "$flag" -x c - -o /dev/null 2>/dev/null || sed -i "s/ $flag\( \|\$\)/\1/g" "$1"
	done
	echo 'int main(void) { typeof_unqual(int) x = 0; return x; }' | gcc -x c - -o /dev/null 2>/dev/null ||
		sed -i 's|^#define HAVE_TYPEOF_UNQUAL .*|/* & */|' "$2"
}

# Makes a version's server from the packages of suites; prints its directory.
release_make() {
	local suites=$1 v=$2 packages version place tmp f
	release_index "$suites" || return 1
	packages=$(release_packages "$suites" "$v")
	version=$(printf '%s\n' "$packages" | sed -n "s/^postgresql-$v=//p")
	[ -n "$version" ] && printf '%s\n' "$packages" | grep -q "^postgresql-server-dev-$v=[0-9]" ||
		{ say "$suites has no packages of PostgreSQL $v" >&2; return 1; }
	place=$(cache_dir)/release-$v-$version
	say "making PostgreSQL $version of $suites in $place" >&2
	tmp=$place.new.$$
	rm -rf "$tmp"
	mkdir -p "$tmp/packages" "$tmp/root"
	(cd "$tmp/packages" && release_apt "$suites" apt-get download $packages) >"$tmp/download.log" 2>&1 ||
		{ say "$suites: $(grep -E '^E:' "$tmp/download.log" | head -1)" >&2; rm -rf "$tmp"; return 1; }
	for f in "$tmp/packages/"*.deb; do
		dpkg-deb --fsys-tarfile "$f" | tar -x -C "$tmp/root" --no-same-owner --exclude=./usr/share/doc --exclude=./usr/share/man || return 1
	done
	release_adapt "$tmp/root" "$place" "$v" || { rm -rf "$tmp"; return 1; }
	rm -rf "$place"
	chmod -R u+rwX,a+rX "$tmp/root"
	mv "$tmp/root" "$place" || return 1
	rm -rf "$tmp"
	"$place/usr/lib/postgresql/$v/bin/postgres" --version >&2 || { rm -rf "$place"; return 1; }
	printf '%s' "$place"
}

release_server() {
	local v=$1 place suites
	place=$(ls -d "$(cache_dir)/release-$v-"*/usr 2>/dev/null | sort -V | tail -1)
	[ -n "$place" ] && { printf '%s' "${place%/usr}"; return 0; }
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { say "no apt, so no packages of PostgreSQL $v" >&2; return 1; }
	for suites in $(release_suites "$v"); do
		release_make "$suites" "$v" && return 0
	done
	say "no suite of the archive has the packages of PostgreSQL $v" >&2
	return 1
}
