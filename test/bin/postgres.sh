# PostgreSQL's own regression suite on a member of a group. Sourced by test/bin/run.
#
# The database "regression" is a member whose keyless tables log whole rows; then the suite of the server's own source
# runs in it. What differs from a plain server is compared with test/postgres/differences, which says why; and
# the extension's JSON stream must have exactly the inserts, updates and deletes that test_decoding sees.

# The changed lines of regression.diffs, by test in order of names; without places, which move with every minor release, without
# oids, frames of tables, the line by which \d+ tells of REPLICA IDENTITY FULL, and the names of our functions in opr_sanity.
# $1: the file, $2: names of our functions.
normalize_differences() {
	sed -nE -e 's|^diff .*/results/([a-z0-9_]+)\.out$|== \1|p' -e '/^(---|\+\+\+) /d' -e '/^\+Replica Identity: FULL$/d' -e '/^[-+][-+ ]*$/d' -e '/^[-+]/p' "$1" |
		sed -E -e 's/[0-9]{4,}/N/g' -e 's/ +/ /g' -e 's/ $//' |
		awk '/^== / {name = $2; next} {print name ": " $0}' | LC_ALL=C sort -s -t: -k1,1 |
		awk 'NR == FNR {own[$1]; next} $1 == "opr_sanity:" && ($2 == "+" && $5 in own || $2 ~ /^[+][(]/) {next} {print}' "$2" -
}

# How many changes of each kind and table a slot has. $1: slot, $2: a perl regular expression that takes schema, table and kind from a
# line; the rest: options of the plugin. Bytes, as the suite stores some that are no valid text.
changes_of_slot() {
	local slot=$1 expression=$2
	shift 2
	as_user "$bin/pg_recvlogical" -h "$work" -p "$pg_port" -d regression --slot "$slot" --start --no-loop --endpos "$pg_end" -f - "$@" |
		EXPRESSION=$expression LC_ALL=C perl -ne 'BEGIN { $e = qr/$ENV{EXPRESSION}/ } $n{"$1.$2 " . substr($3, 0, 1)}++ if /$e/;
			END { print "$_ $n{$_}\n" for sort keys %n }'
}

# Adds a step after test_setup, in $1: its tables are vacuumed once more, when no snapshot is left from before they were filled. When a
# transaction of our workers is open just while test_setup vacuums a table that it has filled a moment ago, no page counts as visible to
# all, and create_index and others see another plan.
settle_visibility() {
	{
		cat <<-'EOC'
			DO $$
			DECLARE
			  filled bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
			BEGIN
			  FOR i IN 1 .. 600 LOOP
			    PERFORM pg_stat_clear_snapshot();
			    EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid()
			      AND least(backend_xid::text::bigint, backend_xmin::text::bigint) < filled);
			    PERFORM pg_sleep(0.1);
			  END LOOP;
			END
			$$;
		EOC
		sed -nE 's/^VACUUM (ANALYZE )?([A-Za-z0-9_]+);.*/VACUUM \2;/p' "$1/sql/test_setup.sql"
	} | tee "$1/sql/settle.sql" >"$1/expected/settle.out"
	grep -q '^VACUUM tenk1;' "$1/sql/settle.sql" || die "test_setup does not vacuum tenk1 any more"
	sed -i 's/^test: test_setup$/&\ntest: settle/' "$1/parallel_schedule"
	grep -q '^test: settle$' "$1/parallel_schedule" || die "no place for the test that settles visibility"
}

run_postgres() {
	local tree dir=$work/postgres out=$work/postgres.out begin=$SECONDS status
	[ "$PGMAJOR" = 15 ] || { skip "PostgreSQL's regression suite: its differences are written down for PostgreSQL 15 only"; return; }
	[ -n "${server_root:-}" ] || { skip "PostgreSQL's regression suite: no server was built from source"; return; }
	tree=$(source_tree) || { skip "PostgreSQL's regression suite: no source"; return; }
	pg_port=$((21000 + $$ % 20000))
	mkdir -p "$dir/out"
	cp -r "$tree/src/test/regress" "$dir/suite"
	settle_visibility "$dir/suite"
	[ "$(id -u)" = 0 ] && chown -R "$run_user" "$dir"
	as_user "$bin/initdb" -D "$dir/data" -A trust -N --no-locale -E UTF8 >/dev/null || die "initdb failed"
	cat "$root/test/regress.conf" >>"$dir/data/postgresql.conf"
	cat >>"$dir/data/postgresql.conf" <<-EOC
		port = $pg_port
		listen_addresses = ''
		unix_socket_directories = '$work'
		max_connections = 60
		autovacuum_naptime = 1h
		log_min_messages = warning
	EOC
	settings_of_version >>"$dir/data/postgresql.conf"
	as_user "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w start >/dev/null || { tail "$dir/server.log"; die "server does not start"; }
	as_user "$bin/psql" -Xq -h "$work" -p "$pg_port" -v ON_ERROR_STOP=1 -d postgres -c 'CREATE DATABASE regression TEMPLATE template0' || die "no database"
	as_user "$bin/psql" -XAtq -h "$work" -p "$pg_port" -v ON_ERROR_STOP=1 -d regression >/dev/null <<-EOC || die "no group"
		ALTER DATABASE regression SET lc_messages TO 'C';
		ALTER DATABASE regression SET lc_monetary TO 'C';
		ALTER DATABASE regression SET lc_numeric TO 'C';
		ALTER DATABASE regression SET lc_time TO 'C';
		ALTER DATABASE regression SET bytea_output TO 'hex';
		ALTER DATABASE regression SET timezone_abbreviations TO 'Default';
		CREATE EXTENSION replication_plugin;
		SELECT replication_plugin.create_group('suite', 'one', 'host=$work port=$pg_port dbname=regression');
		SELECT replication_plugin.wait_until_ready();
		SELECT replication_plugin.set_group_setting('keyless_tables', 'full');
		SELECT pg_create_logical_replication_slot('ours', 'replication_plugin'), pg_create_logical_replication_slot('theirs', 'test_decoding');
	EOC
	say "== PostgreSQL's regression suite on a member"
	as_user env PATH="$bin:$PATH" timeout 900 "$PGLIB/lib/pgxs/src/test/regress/pg_regress" --bindir="$bin" --use-existing --dbname=regression \
		--host="$work" --port="$pg_port" --dlpath="$work/pg/lib" --inputdir="$dir/suite" --outputdir="$dir/out" \
		--schedule="$dir/suite/parallel_schedule" --max-connections=20 >"$out" 2>&1
	status=$?
	say "$(grep -cE '^(test|    ) .* (ok|FAILED)|^     [a-z].*(ok|FAILED)' "$out") tests ran in $((SECONDS - begin)) s"
	[ $status = 124 ] && { count 0 1; echo "hangs" | blame "PostgreSQL's regression suite"; }
	as_user "$bin/psql" -XAtq -h "$work" -p "$pg_port" -d regression -c "SELECT proname FROM pg_proc WHERE pronamespace = 'replication_plugin'::regnamespace" >"$work/functions"
	[ -s "$work/functions" ] || die "no functions of ours in the database"
	normalize_differences "$dir/out/regression.diffs" "$work/functions" >"$work/differences.got"
	grep -v '^#' "$root/test/postgres/differences" >"$work/differences.expected"
	if diff -u "$work/differences.expected" "$work/differences.got" >"$work/differences.diff"; then count 1 0; else
		head -100 "$work/differences.diff"
		head -30 "$work/differences.diff" | blame "PostgreSQL's regression suite"
		count 0 1
	fi
	pg_end=$(as_user "$bin/psql" -XAtq -h "$work" -p "$pg_port" -d regression -c "SELECT pg_current_wal_flush_lsn()")
	changes_of_slot theirs '^table "?([^."]*)"?\."?([^:"]*)"?: (INSERT|UPDATE|DELETE):' >"$work/theirs"
	# materialized views, and the tables of the extension itself, are no business of its readers
	LC_ALL=C grep -ohiE 'create materialized view (if not exists )?[a-z0-9_."]+' "$dir"/suite/sql/*.sql | sed 's/.*[ .]//; s/"//g' | sort -u >"$work/matviews"
	LC_ALL=C awk 'NR == FNR {matview[$1]; next} {n = split($1, name, "."); if (name[1] != "replication_plugin" && !(name[n] in matview)) print}' \
		"$work/matviews" "$work/theirs" >"$work/theirs.tables"
	mv "$work/theirs.tables" "$work/theirs"
	changes_of_slot ours '^(?=.*?"schema":"([^"]*)","table":"([^"]*)")\{"action":"([IUD])"' -o format=json >"$work/ours"
	if [ -s "$work/theirs" ] && diff "$work/theirs" "$work/ours" >"$work/streams.diff"; then
		say "   the JSON stream has all changes: $(awk '{n[$2] += $3} END {for (k in n) printf "%s %d ", k, n[k]}' "$work/ours")"
		count 1 0
	else
		count 0 1
		head -20 "$work/streams.diff"
		echo "the JSON stream has other changes than test_decoding's" | blame "PostgreSQL's regression suite"
	fi
	complaints "$dir" >"$work/postgres.complaints"
	if [ -s "$work/postgres.complaints" ]; then
		blame "PostgreSQL's regression suite" <"$work/postgres.complaints"
		cat "$work/postgres.complaints"
		count 0 1
	else
		count 1 0
	fi
	stop_servers "$dir"
}
