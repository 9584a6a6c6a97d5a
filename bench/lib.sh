# Shared by the benchmarks, sourced by them: builds what is compared, runs pairs or groups of servers for each system,
# and compares figures round by round. Needs $root; includes test/bin/common.sh.
#
# A system is what is measured: "this" (this tree), "other" (another commit, --against COMMIT) or "builtin" (PostgreSQL's own
# subscription). The systems take turns, and keep their databases through all rounds, with autovacuum on: what is measured is
# a database in use.
. "$root/test/bin/common.sh"

quick=
rounds=
against=
limit=1.05
missed=0
declare -A bins=() ports=() figures=()

# Reads the options that all benchmarks have, and leaves the others in $rest.
read_options() {
	rest=()
	while [ $# -gt 0 ]; do
		case $1 in
			--quick) quick=1 ;;
			--rounds) shift; rounds=$1 ;;
			--against) shift; against=$1 ;;
			--limit) shift; limit=$1 ;;
			*) rest+=("$1") ;;
		esac
		shift
	done
	if [ -n "$against" ]; then
		git -C "$root" rev-parse -q --verify "$against^{commit}" >/dev/null || die "there is no commit $against"
		[ "${rounds:-7}" -ge 7 ] || [ -n "$quick" ] || die "an interval needs at least 7 rounds"
	fi
}

# Builds a system from a tree. Its servers' files are below $work/NAME, their ports start at ${ports[NAME]}.
build_system() { # name tree
	local at=$work root=$2 work=$work/$1 bin pkglib share server_includes
	mkdir -p "$work"
	chmod 755 "$work"
	build_private -O2
	bins[$1]=$bin
	ports[$1]=$((20000 + ($$ * 32 + ${#ports[@]} * 8) % 20000))
}

# Builds what is compared: sets the list "systems", this tree last; $1 is what it is compared with where no commit is named.
build_systems() { # builtin, or nothing
	install_missing
	make_work
	build_system this "$root"
	systems=(${1:+"$1"} this)
	if [ -n "$against" ]; then
		mkdir -p "$work/tree"
		git -C "$root" archive "$against" | tar xf - -C "$work/tree"
		build_system other "$work/tree"
		systems=(other this)
	elif [ -n "${1:-}" ]; then
		bins[$1]=${bins[this]}
		ports[$1]=$((ports[this] + 8))
		mkdir -p "$work/$1"
		[ "$(id -u)" = 0 ] && chown "$run_user" "$work/$1"
	fi
	[ "$(id -u)" = 0 ] && chown "$run_user" "$work" "$work"/this "$work"/other 2>/dev/null
	return 0
}

# ---------- servers ----------

pg() { local s=$1; shift; as_user "${bins[$s]}/$1" "${@:2}"; }
port_of() { echo $((ports[$1] + $2)); }
dsn() { echo "host=$work/$1 port=$(port_of "$1" "$2") dbname=app"; }
sql() { local s=$1 n=$2; shift 2; pg "$s" psql -XqAt -v ON_ERROR_STOP=1 -h "$work/$s" -p "$(port_of "$s" "$n")" -d app "$@"; }

# Starts a new server with database app; more lines of configuration come after the node.
start_node() { # system node [line ...]
	local s=$1 n=$2 d=$work/$1/data$2 bin=${bins[$1]}
	shift 2
	pg "$s" initdb -D "$d" -A trust -N -E UTF8 --locale=C >/dev/null || die "initdb failed"
	cat >>"$d/postgresql.conf" <<-EOC
		port = $(port_of "$s" "$n")
		listen_addresses = ''
		unix_socket_directories = '$work/$s'
		wal_level = logical
		track_commit_timestamp = on
		shared_preload_libraries = 'replication_plugin'
		max_replication_slots = 20
		max_wal_senders = 20
		max_worker_processes = 20
		shared_buffers = 256MB
		max_wal_size = 20GB
		checkpoint_timeout = 1h
		fsync = off
		log_replication_commands = off
	EOC
	settings_of_version >>"$d/postgresql.conf"
	printf '%s\n' "$@" >>"$d/postgresql.conf"
	pg "$s" pg_ctl -D "$d" -l "$work/$s/log$n" -w start >/dev/null || die "server does not start"
	pg "$s" createdb -h "$work/$s" -p "$(port_of "$s" "$n")" app
}

stop_node() { pg "$1" pg_ctl -D "$work/$1/data$2" -m immediate stop >/dev/null 2>&1; rm -rf "$work/$1/data$2"; }

# Makes a group of nodes that have started; the tables are there, or are copied (copy).
make_group() { # system nodes [copy]
	local s=$1 n copy=false
	[ "${3:-}" = copy ] && copy=true
	for n in $(seq "$2"); do sql "$s" "$n" -c "CREATE EXTENSION replication_plugin"; done
	sql "$s" 1 -c "SELECT replication_plugin.create_group('bench', 'n1', '$(dsn "$s" 1)')" >/dev/null
	for n in $(seq 2 "$2"); do
		sql "$s" "$n" -c "SELECT replication_plugin.join_group('n$n', '$(dsn "$s" "$n")', '$(dsn "$s" 1)', copy_schema => $copy, copy_data => $copy)" \
			-c "SELECT replication_plugin.wait_until_ready('120 seconds')" >/dev/null 2>&1 || die "node $n does not get ready"
	done
}

now() { date +%s.%N; }
since() { echo "$1 $(now)" | awk '{ printf "%.3f", $2 - $1 }'; }

# CPU seconds of a process so far.
cpu_of() { awk '{ printf "%.3f", $1 / 1e9 }' "/proc/$1/schedstat" 2>/dev/null || echo 0; }

# ---------- figures ----------

# Notes what a system measured in a round; each of the names is followed by its value.
note() { # system what name value ...
	local s=$1 what=$2
	shift 2
	while [ $# -gt 1 ]; do
		[[ " ${figures[$what]:-} " == *" $1 "* ]] || figures[$what]="${figures[$what]:-} $1"
		echo "$2" >>"$work/$s/figure.$what.$1"
		shift 2
	done
}

median() { sort -g "$@" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# Reads pairs, a round each, and prints the median of second / first, and the interval that it lies in with at least 95 %
# (of few rounds: from the least to the greatest). By ranks: nothing is assumed of how they are spread.
paired() {
	awk '$1 > 0 { print $2 / $1 }' | sort -g | awk '
		{ v[NR] = $1 }
		END {
			if (NR == 0) { print "- - -"; exit }
			p = 1; for (i = 1; i <= NR; i++) p /= 2
			sum = term = p
			for (k = 1; k + 1 < NR - k && 2 * (sum + term * (NR - k + 1) / k) <= 0.05; k++) { term *= (NR - k + 1) / k; sum += term }
			m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
			printf "%.2f %.2f %.2f\n", m, v[k], v[NR + 1 - k]
		}'
}

# Runs "measure SYSTEM ROUND" in turn, so that none is always the first of a round.
run_rounds() {
	local i j n=${#systems[@]}
	for i in $(seq "$rounds"); do
		for j in $(seq 0 $((n - 1))); do measure "${systems[(i + j) % n]}" "$i"; done
	done
}

# Prints the figures of the two systems, the ratio and its interval. With --against, figures whose interval lies wholly above
# the limit are missed.
compare() { # what title
	local a=${systems[0]} b=this f m lo hi mark
	for f in ${figures[$1]}; do
		read -r m lo hi < <(paste -d' ' "$work/$a/figure.$1.$f" "$work/$b/figure.$1.$f" | paired)
		mark=
		if [ -n "$against" ] && [ "$lo" != - ] && awk "BEGIN { exit !($lo > $limit) }"; then
			mark="MISSED: above $limit"
			missed=1
		fi
		printf '%-40s %-18s %10.3f %10.3f %8s (%s-%s) %s\n' "$2" "${f//_/ }" "$(median "$work/$a/figure.$1.$f")" "$(median "$work/$b/figure.$1.$f")" "$m" "$lo" "$hi" "$mark"
	done
}

compare_head() { printf '%-40s %-18s %10s %10s %s\n' "what" "figure" "${against:-${systems[0]}}" "this" "   ratio (interval), $rounds rounds"; }
