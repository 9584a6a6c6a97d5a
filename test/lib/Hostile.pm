# What a role with ordinary rights may try, statement by statement, by kind: always the same list.
package Hostile;

use strict;
use warnings;

# Values for arguments of a type, of which each variant takes one.
my %odd = (
	text => ['NULL', "''", "repeat('x', 100000)", "'\"; DROP TABLE bank; --'", "'%s%n%*'"],
	integer => ['NULL', '0', '-1', '2147483647', '-2147483648'],
	bigint => ['NULL', '0', '-1', '9223372036854775807', '-9223372036854775808'],
	oid => ['NULL', '0', '1', '4294967295', "'bank'::regclass::oid"],
	regclass => ['NULL', "0::oid::regclass", "'bank'::regclass", "'pg_authid'::regclass", "'replication_plugin.local_node'::regclass"],
	jsonb => ['NULL', "'{}'", "'[]'", "'{\"id\": 1}'", "('{\"id\":' || repeat('[', 5000) || repeat(']', 5000) || '}')::jsonb"],
	interval => ['NULL', "'0'", "'1 ms'", "'-1 year'", "'200 ms'"],
	tid => ['NULL', "'(0,0)'", "'(0,1)'", "'(4294967295,65535)'", "'(1,1)'"],
	'"char"' => ['NULL', "''", "'d'", "'f'", "'\\377'"],
	'text[]' => ['NULL', "'{}'", "'{NULL}'", "array_fill('x'::text, ARRAY[1000])", "'{a,b}'"],
	'integer[]' => ['NULL', "'{}'", "'{NULL}'", 'ARRAY(SELECT generate_series(1, 100000))', "'{{1,2},{3,4}}'"],
	record => ['NULL', 'ROW()', 'ROW(1)', 'ROW(1, 2, 3)', "ROW('x', NULL)"],
	anyelement => ['NULL::bank', 'NULL::int', "ROW(1)", 'NULL::replication_plugin.local_node', "'x'::text"],
	boolean => ['NULL', 'true', 'false', 'true', 'false'],
	pg_lsn => ['NULL', "'0/0'", "'FFFFFFFF/FFFFFFFF'", "'0/1'", "'1/0'"],
	'timestamp with time zone' => ['NULL', "'infinity'", "'-infinity'", "'2099-01-01'", "'epoch'"],
);

# Calls of functions, each in several variants. functions: [name, [types]].
sub calls
{
	my @functions = @_;
	my @list;
	for my $f (@functions)
	{
		my ($name, $types) = @$f;
		for my $variant (0 .. (@$types ? 4 : 0))
		{
			push @list, ['calls', sprintf 'SELECT * FROM %s(%s)', $name, join ', ', map { $odd{$_} ? $odd{$_}[$variant] : "NULL::$_" } @$types];
		}
	}
	return @list;
}

# Everything that can be tried on relations that are ours.
sub relations
{
	my @relations = @_;
	my @list;
	for my $r (@relations)
	{
		push @list, map { ['our relations', $_] } "SELECT count(*), max(x::text) FROM $r x", "INSERT INTO $r DEFAULT VALUES", "UPDATE $r SET ctid = ctid", "DELETE FROM $r", "TRUNCATE $r",
			"LOCK TABLE $r IN ACCESS EXCLUSIVE MODE NOWAIT", "COMMENT ON TABLE $r IS 'mine'", "GRANT ALL ON $r TO PUBLIC", "ALTER TABLE $r OWNER TO CURRENT_USER", "DROP TABLE $r CASCADE",
			"COPY $r TO STDOUT", "ALTER TABLE $r DISABLE TRIGGER ALL", "CREATE RULE r AS ON SELECT TO $r DO INSTEAD NOTHING";
	}
	return @list;
}

# What needs no right but CONNECT. slots, origins: names of ours; secret: a setting with a dsn.
sub connecting
{
	my (%c) = @_;
	my @list;
	my $add = sub { my ($kind, @sql) = @_; push @list, map { [ $kind, $_ ] } @sql };
	$add->('messages', map { "SELECT pg_logical_emit_message($_)" } "true, 'replication_plugin', 'x'", "false, 'replication_plugin', ''", "true, 'replication_plugin', repeat('W', 1000000)",
		"true, 'replication_plugin', '\\x0000000000000000000000000000000000'::bytea", "true, '', 'x'", "true, repeat('replication_plugin', 1000), 'x'", "true, 'replication_plugin', sha256('x')");
	$add->('slots', map { my $s = $_; ("SELECT pg_drop_replication_slot('$s')", "SELECT pg_replication_slot_advance('$s', pg_current_wal_lsn())", "SELECT * FROM pg_logical_slot_get_changes('$s', NULL, NULL)",
		"SELECT * FROM pg_logical_slot_peek_binary_changes('$s', NULL, NULL)", "SELECT pg_copy_logical_replication_slot('$s', 'mine')") } @{ $c{slots} });
	$add->('slots', "SELECT pg_create_logical_replication_slot('replication_plugin_99999_1', 'replication_plugin')", "SELECT pg_create_physical_replication_slot('mine')");
	$add->('origins', map { my $o = $_; ("SELECT pg_replication_origin_drop('$o')", "SELECT pg_replication_origin_advance('$o', 'FFFF/0')", "SELECT pg_replication_origin_session_setup('$o')", "SELECT pg_replication_origin_create('$o')") } @{ $c{origins} });
	$add->('settings', map { my $s = $_; ("SET replication_plugin.$s = 0", "SELECT set_config('replication_plugin.$s', '1', false)", "ALTER ROLE CURRENT_USER SET replication_plugin.$s = 1", "ALTER SYSTEM SET replication_plugin.$s = 1", "ALTER DATABASE app SET replication_plugin.$s = 1") } @{ $c{settings} });
	$add->('settings', map { ("SET $_", "ALTER ROLE CURRENT_USER SET $_") } "session_replication_role = replica", "search_path = pg_temp, pg_catalog", "default_transaction_read_only = on", "datestyle = 'SQL, DMY'", "track_commit_timestamp = off", "log_statement = none",
		"replication_plugin.mine = 1", "session_preload_libraries = ''", "extra_float_digits = -15", "array_nulls = off", "lc_messages = 'C'", "statement_timeout = 1", "role = postgres");
	$add->('settings', "RESET ALL", "SET statement_timeout = '2s'", map { "ALTER ROLE CURRENT_USER RESET $_" } 'ALL');
	$add->('files and programs', "SELECT pg_read_file('postgresql.conf')", "SELECT pg_read_binary_file('global/pg_control')", "SELECT pg_ls_dir('.')", "COPY (SELECT 1) TO PROGRAM 'id'", "COPY (SELECT 1) TO '/tmp/x'", "SELECT lo_import('/etc/passwd')",
		"SELECT lo_export(1, '/tmp/x')", "LOAD 'replication_plugin'", "LOAD '/tmp/evil.so'", "SELECT pg_stat_file('base')", "SELECT pg_file_write('x', 'y', false)", "SELECT pg_current_logfile()", "SELECT pg_rotate_logfile()", "SELECT pg_reload_conf()");
	$add->('processes', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type ~ 'replication_plugin|walsender'", "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type ~ 'replication_plugin|walsender'",
		"SELECT pg_terminate_backend(replication_plugin.manager_pid())", "SELECT pg_log_backend_memory_contexts(replication_plugin.manager_pid())", "SELECT pg_switch_wal()", "CHECKPOINT", "SELECT pg_promote()", "SELECT pg_wal_replay_pause()",
		"SELECT pid, query FROM pg_stat_activity", "SELECT * FROM pg_stat_get_wal_senders()", "SELECT pg_stat_reset()", "SELECT pg_create_restore_point('x')", "SELECT pg_backup_start('x')");
	$add->('roles', "ALTER ROLE CURRENT_USER SUPERUSER", "ALTER ROLE CURRENT_USER REPLICATION", "CREATE ROLE mine SUPERUSER", map({ ("GRANT $_ TO CURRENT_USER", "SET ROLE $_", "SET SESSION AUTHORIZATION $_", "DROP ROLE $_", "ALTER ROLE $_ PASSWORD 'x'", "REASSIGN OWNED BY $_ TO CURRENT_USER", "DROP OWNED BY $_") }
		qw(replication_plugin_peer replication_plugin_admin replication_plugin_monitor pg_monitor pg_read_all_data)), "ALTER DATABASE app OWNER TO CURRENT_USER", "DROP DATABASE app", "CREATE DATABASE x TEMPLATE app", "ALTER DATABASE app CONNECTION LIMIT 0", "ALTER DEFAULT PRIVILEGES IN SCHEMA replication_plugin GRANT ALL ON TABLES TO PUBLIC");
	$add->('the extension', "DROP EXTENSION replication_plugin", "DROP EXTENSION replication_plugin CASCADE", "ALTER EXTENSION replication_plugin UPDATE", "ALTER EXTENSION replication_plugin UPDATE TO '1.0'", "ALTER EXTENSION replication_plugin DROP TABLE replication_plugin.member",
		"ALTER EXTENSION replication_plugin SET SCHEMA public", "CREATE EXTENSION replication_plugin", "DROP SCHEMA replication_plugin CASCADE", "ALTER SCHEMA replication_plugin RENAME TO mine", "ALTER SCHEMA replication_plugin OWNER TO CURRENT_USER",
		"CREATE SCHEMA replication_plugin", "CREATE TABLE replication_plugin.mine (id int)", "CREATE FUNCTION replication_plugin.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE OR REPLACE FUNCTION replication_plugin.my_id() RETURNS integer LANGUAGE sql AS 'SELECT 42'",
		"CREATE OR REPLACE VIEW replication_plugin.nodes AS SELECT 1", "DROP FUNCTION replication_plugin.my_id()", "ALTER FUNCTION replication_plugin.my_id() SECURITY INVOKER", "ALTER FUNCTION replication_plugin.wait_for_apply(interval) RESET ALL", "DROP EVENT TRIGGER replication_plugin_ddl",
		"ALTER EVENT TRIGGER replication_plugin_ddl DISABLE", "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION replication_plugin.capture_ddl()", "CREATE FUNCTION pg_temp.steal() RETURNS trigger LANGUAGE c AS 'replication_plugin', 'replication_plugin_settings_changed'",
		"CREATE PUBLICATION p FOR ALL TABLES", "CREATE SUBSCRIPTION s CONNECTION 'host=/tmp' PUBLICATION p", "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw", "SECURITY LABEL ON TABLE bank IS 'x'", "CREATE ACCESS METHOD a TYPE TABLE HANDLER heap_tableam_handler", "CREATE CAST (text AS int) WITH INOUT AS IMPLICIT",
		"DO LANGUAGE plpgsql \$\$ BEGIN PERFORM replication_plugin.hide_secrets(false); END \$\$", "DO \$\$ BEGIN PERFORM replication_plugin.remote_query('host=/tmp', 'SELECT 1'); END \$\$");
	$add->('temporary objects', "CREATE TEMP TABLE local_node AS SELECT 1 AS node_id", "CREATE TEMP TABLE pg_class (oid oid, relname name)", "CREATE TEMP TABLE pg_database AS SELECT 1 AS oid, 'app'::name AS datname", "CREATE TEMP TABLE replication_plugin_keys (key int)", "CREATE TEMP VIEW nodes AS SELECT 1 / 0 AS node_id",
		"CREATE FUNCTION pg_temp.has_table_privilege(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true'", "CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'", "SET search_path = pg_temp, pg_catalog, replication_plugin", "SELECT * FROM replication_plugin.nodes",
		"SELECT * FROM replication_plugin.tables", "SELECT * FROM replication_plugin.conflicts", "SELECT * FROM replication_plugin.parked_rows", "SELECT replication_plugin.wait_for_apply('100 ms')", "SELECT * FROM replication_plugin.dangling_references()", "RESET search_path", "DISCARD ALL", "SET statement_timeout = '2s'");
	$add->('locks', map({ "SELECT pg_try_advisory_lock($_)" } 0, 1, -1, '9223372036854775807', "'replication_plugin.local_node'::regclass::oid::bigint", "hashtext('replication_plugin')"), "SELECT count(pg_try_advisory_lock(g)) FROM generate_series(1, 2000) g", "LOCK TABLE bank IN ACCESS EXCLUSIVE MODE NOWAIT",
		"LOCK TABLE bank IN ACCESS SHARE MODE NOWAIT", "BEGIN; LOCK TABLE replication_plugin.nodes IN ACCESS SHARE MODE NOWAIT; SELECT pg_sleep(0.2); COMMIT", "SELECT pg_advisory_unlock_all()");
	$add->('others\' rows', "SELECT * FROM bank", "UPDATE bank SET v = 'mine'", "DELETE FROM bank", "TRUNCATE bank", "SELECT * FROM replication_plugin.siblings('bank', '{\"id\": 1}')", "SELECT * FROM replication_plugin.parked_of(NULL::bank)", "SELECT replication_plugin.resolve('bank', '{\"id\": 1}', '{\"id\": 1, \"v\": \"mine\"}', NULL)",
		"SELECT replication_plugin.row_of_json('bank', '{\"id\": 1}')", "SELECT * FROM secret.rows", "SELECT * FROM replication_plugin.conflicts WHERE row_key::text ~ 'id'", "EXPLAIN (VERBOSE) SELECT * FROM replication_plugin.parked_rows", "CREATE TABLE public.mine (id int PRIMARY KEY)", "ALTER TABLE bank ENABLE ROW LEVEL SECURITY", "CREATE TRIGGER t AFTER INSERT ON bank EXECUTE FUNCTION suppress_redundant_updates_trigger()");
	$add->('notifications', "LISTEN replication_plugin", map({ "NOTIFY replication_plugin, '$_'" } 1 .. 3), "SELECT pg_notify('replication_plugin', repeat('x', 7999))", "SELECT count(pg_notify('c' || g, 'x')) FROM generate_series(1, 5000) g", "UNLISTEN *");
	$add->('waits', map { "SELECT replication_plugin.wait_for_apply('$_')" } '1 ms', '100 ms', '300 ms', '0', '-1 day');
	$add->('large objects', "SELECT lo_create(0)", "SELECT lo_from_bytea(0, repeat('x', 1000000)::bytea)", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata", "BEGIN; SELECT lo_put(lo_create(0), 2147483647, 'x'); ROLLBACK");
	$add->('memory and time', "SELECT repeat('x', 200000000) IS NULL", "SELECT count(*) FROM generate_series(1, 300000) g ORDER BY 1", "SELECT 'a' ~ repeat('(a*)*', 50)", "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM (SELECT * FROM r LIMIT 200000) x", "SELECT pg_sleep(10)", "DO \$\$ BEGIN LOOP NULL; END LOOP; END \$\$");
	return @list;
}

# What a role can do that may create things in schema h, on one node of several. n: the round, so that names differ.
sub creating
{
	my ($n) = @_;
	my $previous = $n =~ s/(\d+)$/$1 - 1/er;
	my @list;
	my $add = sub { my ($kind, @sql) = @_; push @list, map { [ $kind, $_ ] } @sql };
	my $fn = sub { my ($name, $args, $returns, $body, $more) = @_; return "CREATE OR REPLACE FUNCTION h.$name($args) RETURNS $returns LANGUAGE plpgsql " . ($more // '') . " AS \$f\$ BEGIN $body END \$f\$" };
	$add->('tables that nobody else has', map({ ("CREATE TABLE h.only_${n}_$_ (id int PRIMARY KEY, v text)", "INSERT INTO h.only_${n}_$_ SELECT g, 'x' FROM generate_series(1, 10) g") } 1 .. 10),
		map({ "DROP TABLE IF EXISTS h.only_${previous}_$_" } 1 .. 5), map({ "ALTER TABLE h.only_${n}_$_ RENAME TO renamed_${n}_$_" } 6 .. 8), map({ "TRUNCATE h.only_${n}_$_" } 9 .. 10),
		"CREATE TABLE h.gone_$n (id int PRIMARY KEY); INSERT INTO h.gone_$n VALUES (1); DROP TABLE h.gone_$n", "BEGIN; CREATE TABLE h.back_$n (id int PRIMARY KEY); INSERT INTO h.back_$n VALUES (1); ROLLBACK", "CREATE TABLE h.as_$n AS SELECT g AS id, repeat('x', 100) AS v FROM generate_series(1, 1000) g",
		"DO \$\$ BEGIN FOR i IN 1..30 LOOP EXECUTE format('CREATE TABLE h.storm_%s_%s (id int PRIMARY KEY)', $n, i); EXECUTE format('INSERT INTO h.storm_%s_%s VALUES (1)', $n, i); EXECUTE format('DROP TABLE h.storm_%s_%s', $n, i); END LOOP; END \$\$");
	$add->('odd tables', "CREATE TABLE h.wide_$n (" . join(', ', 'id int PRIMARY KEY', map { "c$_ int" } 1 .. 1500) . ")", "INSERT INTO h.wide_$n (id) VALUES (1)", "CREATE TABLE h.\"odd \"\" name %s \\\$ $n\" (\"id \"\" '\" int PRIMARY KEY, \"replication_plugin\" text)", "INSERT INTO h.\"odd \"\" name %s \\\$ $n\" VALUES (1, 'x')",
		"CREATE TABLE h.none_$n ()", "INSERT INTO h.none_$n DEFAULT VALUES", "CREATE TABLE h.keyless_$n (v text)", "INSERT INTO h.keyless_$n SELECT 'x' FROM generate_series(1, 100)", "UPDATE h.keyless_$n SET v = 'y'", "ALTER TABLE h.keyless_$n REPLICA IDENTITY FULL", "UPDATE h.keyless_$n SET v = 'z'", "DELETE FROM h.keyless_$n",
		"CREATE TABLE h.parts_$n (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)", "DO \$\$ BEGIN FOR i IN 0..40 LOOP EXECUTE format('CREATE TABLE h.part_%s_%s PARTITION OF h.parts_%s FOR VALUES FROM (%s) TO (%s)', $n, i, $n, i * 10, i * 10 + 10); END LOOP; END \$\$", "INSERT INTO h.parts_$n SELECT g, 'x' FROM generate_series(0, 400) g",
		"UPDATE h.parts_$n SET id = id + 5 WHERE id < 5", "CREATE UNLOGGED TABLE h.unlogged_$n (id int PRIMARY KEY)", "INSERT INTO h.unlogged_$n VALUES (1)", "ALTER TABLE h.unlogged_$n SET LOGGED", "CREATE TABLE h.replication_plugin_$n (id int PRIMARY KEY)", "CREATE TABLE h.member (node_id int PRIMARY KEY, node_name text, dsn text)",
		"INSERT INTO h.member VALUES (99, 'evil', 'host=/tmp')", "CREATE TABLE h.frontier (node_id int PRIMARY KEY)", "CREATE TABLE h.inherits_$n () INHERITS (h.keyless_$n)", "INSERT INTO h.inherits_$n VALUES ('x')", "CREATE MATERIALIZED VIEW h.mat_$n AS SELECT 1 AS x", "REFRESH MATERIALIZED VIEW h.mat_$n");
	$add->('types', "CREATE TYPE h.mood_$n AS ENUM ('bad', 'good')", "CREATE TABLE h.typed_$n (id int PRIMARY KEY, m h.mood_$n)", "INSERT INTO h.typed_$n VALUES (1, 'good')", "ALTER TYPE h.mood_$n ADD VALUE 'worse' BEFORE 'bad'", "CREATE TYPE h.comp_$n AS (a int, b text)", "CREATE TABLE h.comps_$n (id int PRIMARY KEY, c h.comp_$n, d h.comp_${n}[])", "INSERT INTO h.comps_$n VALUES (1, ROW(1, 'x'), ARRAY[ROW(2, 'y')::h.comp_$n])",
		"ALTER TYPE h.comp_$n ADD ATTRIBUTE z int", "CREATE TYPE h.range_$n AS RANGE (subtype = int)", "CREATE TABLE h.ranges_$n (r h.range_$n PRIMARY KEY)", "INSERT INTO h.ranges_$n VALUES ('[1,2)')", "CREATE TYPE h.shell_$n");
	$add->('code', $fn->('ok', 'v anyelement', 'boolean', "IF session_user <> 'maker' THEN PERFORM pg_sleep(100); END IF; RETURN true;", 'IMMUTABLE'), "CREATE DOMAIN h.dom_$n AS int CHECK (h.ok(VALUE))", "CREATE TABLE h.doms_$n (id h.dom_$n PRIMARY KEY)", "INSERT INTO h.doms_$n VALUES (1), (2)", "DELETE FROM h.doms_$n WHERE id = 1",
		$fn->('same', 'v int', 'int', "IF session_user <> 'maker' THEN LOOP NULL; END LOOP; END IF; RETURN v;", 'IMMUTABLE'), "CREATE TABLE h.indexed (id int PRIMARY KEY, n int)", "CREATE INDEX IF NOT EXISTS indexed_same ON h.indexed (h.same(n))", "INSERT INTO h.indexed VALUES ($n, 1) ON CONFLICT DO NOTHING", "UPDATE h.indexed SET n = n + 1",
		$fn->('fire', '', 'trigger', "IF session_user <> 'maker' THEN RAISE 'never'; END IF; RETURN NEW;"), "CREATE TABLE h.fired (id int PRIMARY KEY, v text)", "CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON h.fired FOR EACH ROW EXECUTE FUNCTION h.fire()", "ALTER TABLE h.fired ENABLE ALWAYS TRIGGER t", "INSERT INTO h.fired VALUES ($n, 'x')", "UPDATE h.fired SET v = 'y'",
		$fn->('deaf', '', 'trigger', "IF session_user <> 'maker' THEN LOOP BEGIN PERFORM pg_sleep(100); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END IF; RETURN NEW;"), "CREATE TABLE h.deaf (id int PRIMARY KEY)", "CREATE TRIGGER t BEFORE INSERT ON h.deaf FOR EACH ROW EXECUTE FUNCTION h.deaf()", "ALTER TABLE h.deaf ENABLE ALWAYS TRIGGER t", "INSERT INTO h.deaf VALUES ($n)",
		$fn->('grab', '', 'trigger', "BEGIN EXECUTE 'ALTER ROLE maker SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END; BEGIN EXECUTE 'GRANT ALL ON bank TO maker'; EXCEPTION WHEN OTHERS THEN NULL; END; BEGIN EXECUTE 'SET SESSION AUTHORIZATION DEFAULT'; EXCEPTION WHEN OTHERS THEN NULL; END; BEGIN EXECUTE 'RESET ROLE; ALTER ROLE maker SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END; PERFORM set_config('search_path', 'h, pg_catalog', false), set_config('statement_timeout', '1', false), set_config('default_transaction_read_only', 'on', false), set_config('session_replication_role', 'origin', false); RETURN NEW; EXCEPTION WHEN OTHERS THEN RETURN NEW;"),
		"CREATE TABLE h.grabbing (id int PRIMARY KEY, v text)", "CREATE TRIGGER t AFTER INSERT OR UPDATE ON h.grabbing FOR EACH ROW EXECUTE FUNCTION h.grab()", "ALTER TABLE h.grabbing ENABLE ALWAYS TRIGGER t", "INSERT INTO h.grabbing VALUES ($n, 'x')", "UPDATE h.grabbing SET v = 'y' WHERE id = $n",
		"CREATE CONSTRAINT TRIGGER d AFTER INSERT ON h.grabbing DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION h.grab()", "ALTER TABLE h.grabbing ENABLE ALWAYS TRIGGER d", "CREATE FUNCTION h.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS \$f\$ BEGIN PERFORM set_config('search_path', 'h', false); RETURN true; END \$f\$", "CREATE OPERATOR h.= (leftarg = text, rightarg = text, function = h.eq)",
		"CREATE FUNCTION h.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'", "CREATE FUNCTION h.raiser() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''x''; END'", "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION h.raiser()", "CREATE CAST (h.mood_$n AS int) WITHOUT FUNCTION", "CREATE AGGREGATE h.agg (int) (sfunc = int4pl, stype = int)",
		"CREATE TABLE h.policied (id int PRIMARY KEY, v text); ALTER TABLE h.policied ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON h.policied USING (h.ok(v))", "INSERT INTO h.policied VALUES ($n, 'x')", "CREATE STATISTICS h.stat_$n ON (h.same(n)), id FROM h.indexed", "ANALYZE h.indexed",
		$fn->('insert_more', 'v int', 'int', "INSERT INTO h.more VALUES (v); RETURN v;", 'IMMUTABLE'), "CREATE TABLE h.more (v int)", "CREATE TABLE h.spec_$n (id int PRIMARY KEY, v int)", "CREATE INDEX ON h.spec_$n (h.insert_more(v))", "INSERT INTO h.spec_$n VALUES (1, 1) ON CONFLICT DO NOTHING", "INSERT INTO h.spec_$n VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET v = excluded.v");
	$add->('triggers of ours', "ALTER TABLE h.fired DISABLE TRIGGER ALL", "DROP TRIGGER replication_plugin_capture ON h.fired", "ALTER TABLE h.fired ENABLE REPLICA TRIGGER t", "CREATE TRIGGER replication_plugin_mine AFTER INSERT ON h.fired FOR EACH ROW EXECUTE FUNCTION h.fire()", "ALTER TABLE h.fired RENAME TO fired_$n", "ALTER TABLE h.fired_$n RENAME TO fired",
		"SELECT replication_plugin.capture_install('h.fired')", "ALTER TABLE h.fired ADD COLUMN c_$n int", "ALTER TABLE h.fired DROP COLUMN c_$n", "ALTER TABLE h.fired ALTER v TYPE varchar", "ALTER TABLE h.fired REPLICA IDENTITY NOTHING", "UPDATE h.fired SET v = 'n'", "ALTER TABLE h.fired REPLICA IDENTITY DEFAULT");
	$add->('large', "CREATE TABLE h.large (id int PRIMARY KEY, v text, b bytea)", "INSERT INTO h.large VALUES ($n, repeat('x', 20000000)) ON CONFLICT (id) DO UPDATE SET v = 'again'", "INSERT INTO h.large SELECT g + 1000 * $n, repeat(md5(g::text), 300) FROM generate_series(1, 300) g ON CONFLICT DO NOTHING", "UPDATE h.large SET v = v || 'y'", "DELETE FROM h.large", "DO \$\$ BEGIN FOR i IN 1..1000 LOOP BEGIN INSERT INTO h.large VALUES (i, 'x'); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END \$\$", "BEGIN; INSERT INTO h.large SELECT g + 100000, 'x' FROM generate_series(1, 20000) g; ROLLBACK", "UPDATE h.large SET id = id + 1000000");
	$add->('siblings and keys', "CREATE TABLE h.sib (id int PRIMARY KEY, v text, n int UNIQUE)", "SELECT replication_plugin.set_conflict_policy('h.sib', 'siblings')", "INSERT INTO h.sib SELECT g, 'x', g FROM generate_series(1, 50) g ON CONFLICT DO NOTHING", "UPDATE h.sib SET v = 'node', n = -n", "SELECT count(*) FROM replication_plugin.unresolved", "SELECT * FROM replication_plugin.siblings('h.sib', '{\"id\": 1}')", "SELECT replication_plugin.resolve('h.sib', '{\"id\": 1}', '{\"id\": 1}', replication_plugin.causal_context('h.sib', '{\"id\": 1}'))", "SELECT * FROM replication_plugin.wait_for_context('h.sib', '{\"id\": 1}', 'x', '1 second')", "DELETE FROM h.sib WHERE id < 10");
	$add->('transactions', "BEGIN; INSERT INTO h.more VALUES (1); PREPARE TRANSACTION 'replication_plugin_$n'", "BEGIN; LOCK TABLE h.large; SELECT pg_sleep(1.5); COMMIT", "BEGIN; UPDATE h.grabbing SET v = 'held'; SELECT pg_sleep(1.5); ROLLBACK", "ROLLBACK PREPARED 'replication_plugin_$n'", "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM h.more; INSERT INTO h.more VALUES (2); COMMIT", "VACUUM FULL h.large", "CLUSTER h.large USING large_pkey", "REINDEX TABLE h.large", "CREATE INDEX CONCURRENTLY IF NOT EXISTS more_v ON h.more (v)", "DROP INDEX CONCURRENTLY IF EXISTS h.more_v");
	return @list;
}

1;
