# The first moments after a restart, and restarts with settings that replication cannot do with: versions of rows are
# right in any session, writes that nobody would get, or whose versions nobody would know, are refused with the fix.
use strict;
use warnings;
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $mesh = Mesh->new(3, conf => "replication_plugin.frontier_interval = 100ms\n");
my $session_preload = q{SELECT c FROM pg_db_role_setting s, unnest(s.setconfig) c WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) AND setrole = 0};
$mesh->sql(1, "ALTER DATABASE app SET session_preload_libraries = 'plpgsql'");
$mesh->make_group(<<'SQL');
CREATE TABLE s (id int PRIMARY KEY, v text);
SELECT replication_plugin.set_conflict_policy('s', 'siblings');
CREATE TABLE t (id int PRIMARY KEY, v text);
SQL
$mesh->wait_converged;

# Restarts a node with other settings.
sub restart_with
{
	my ($i, $conf, $mode) = @_;
	$mesh->node($i)->append_conf('postgresql.conf', $conf);
	$mesh->node($i)->stop($mode || 'fast');
	$mesh->start_server($i);
}

# ---------- before any of our workers has run ----------
# from when its first writes are settled, what a row is follows from its transaction alone
for my $i (1 .. 3)
{
	$mesh->poll($i, 'WITH w AS (INSERT INTO t SELECT coalesce(max(id), ' . $i . ') + 3, $$traffic$$ FROM t WHERE id % 3 = ' . $i % 3 . ')
		SELECT count(*) FROM replication_plugin.merge_settled', 1) or die;
}
$mesh->sql(2, "INSERT INTO s VALUES (1, 'from 2'), (2, 'from 2')");
$mesh->sql(3, "INSERT INTO s VALUES (3, 'from 3')");
$mesh->wait_converged;
# whoever connects from another node would be the first
$mesh->pause($_, 1) for 2, 3;
restart_with(1, "max_worker_processes = 2\n");
is($mesh->sql(1, 'SELECT replication_plugin.manager_pid() IS NULL'), 't', 'no worker runs');
my $nodes = q{SELECT string_agg(id || ' ' || x.node, ', ' ORDER BY id) FROM s, LATERAL replication_plugin.siblings('s', jsonb_build_object('id', id)) x};
is($mesh->sql(1, $nodes), '1 node2, 2 node2, 3 node3', 'rows are those of the nodes that wrote them');
$mesh->sql(1, "UPDATE s SET v = 'over it' WHERE id = 1");
$mesh->sql(1, "DELETE FROM s WHERE id = 2");
restart_with(1, "max_worker_processes = 40\n");
$mesh->resume($_, 1) for 2, 3;
$mesh->wait_for_streaming;
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.unresolved'), 0, "what was read then has been replaced: node $_") for 1 .. 3;
$mesh->is_identical('written before any worker ran');

# ---------- without the library in shared_preload_libraries ----------
is($mesh->sql(1, $session_preload), 'session_preload_libraries=plpgsql, replication_plugin', 'sessions load the library, besides what they loaded');
is($mesh->sql($_, $session_preload), 'session_preload_libraries=replication_plugin', "sessions load the library: node $_") for 2, 3;

# Every kind of local write is refused, with what to do; reading works.
sub refused
{
	my ($i, $what, $fix, $name) = @_;
	my @accepted;
	for my $sql ("INSERT INTO t VALUES (-1, 'x')", "UPDATE t SET v = 'x'", 'DELETE FROM t', 'TRUNCATE t', "COPY t FROM stdin;\n-1\tx\n\\.\n",
		"INSERT INTO s VALUES (-1, 'x')", "UPDATE s SET v = 'x'", 'DELETE FROM s', 'TRUNCATE s', 'WITH d AS (DELETE FROM s RETURNING id) SELECT count(*) FROM d',
		"SET session_replication_role = replica; DELETE FROM s", "DO \$\$ BEGIN UPDATE t SET v = 'x'; END \$\$", "SELECT replication_plugin.exclude_table('t')",
		"SELECT pg_replication_origin_create('outside'); SELECT pg_replication_origin_session_setup('outside'); INSERT INTO t VALUES (-1, 'x')",
		"COMMIT PREPARED 'before'")
	{
		my ($status, undef, $err) = $mesh->try_sql($i, "\\set VERBOSITY verbose\n$sql");
		push @accepted, "$sql: $err" unless $status != 0 && $err =~ /55000: node "node$i" is not ready for writes: $what.*HINT:  .*$fix/s;
		$mesh->try_sql($i, "SELECT pg_replication_origin_drop('outside')");
	}
	is(CORE::join("\n", @accepted), '', "$name: writes are refused");
	like($mesh->sql($i, 'SELECT progress FROM replication_plugin.nodes WHERE is_local'), qr/error: $what HINT: .*$fix/, "$name: and the view nodes says why");
	is($mesh->sql($i, "SELECT (SELECT count(*) > 0 FROM t), (SELECT v FROM s WHERE id = 1)"), 't|over it', "$name: reading works");
}

# Calls every function of the extension that does no harm, with arguments that mean little; reads every view; decodes. Returns
# what has cost a session its life.
sub survives_everything
{
	my ($i) = @_;
	my %argument = (integer => '1', text => "'x'", regclass => "'s'::regclass", boolean => 'false', interval => "'10 ms'::interval", pg_lsn => "'0/1'::pg_lsn",
		jsonb => "'{\"id\": 1}'::jsonb", record => "(SELECT s FROM s LIMIT 1)", anyelement => 'NULL::t', 'text[]' => "'{x}'::text[]", 'integer[]' => "'{1}'::integer[]",
		xid => "'3'::xid", tid => "'(0,1)'::tid", uuid => 'gen_random_uuid()', 'timestamp with time zone' => 'now()', bytea => "'\\x00'::bytea",
		bigint => '1', oid => "'t'::regclass::oid", regprocedure => "'now()'::regprocedure", json => "'{}'::json");
	my @calls = map { my ($name, $types) = split /\t/; "$name(" . CORE::join(', ', map { $argument{$_} // 'NULL' } split /, /, $types // '') . ')' }
		split /\n/, $mesh->sql($i, "SELECT p.proname || E'\t' || coalesce((SELECT string_agg(format_type(a, NULL), ', ' ORDER BY place) FROM unnest(p.proargtypes) WITH ORDINALITY u(a, place)), '')
		FROM pg_proc p WHERE p.pronamespace = 'replication_plugin'::regnamespace AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
		AND p.proname !~ 'slot|leave|remov|goodbye|teardown|expel|expulsion|straggl|orphan|terminate|import_' ORDER BY 1");
	my @queries = ((map { "BEGIN; SET LOCAL statement_timeout = '5s'; SELECT * FROM replication_plugin.$_" } @calls),
		map { "TABLE replication_plugin.$_" } split /\n/, $mesh->sql($i, "SELECT relname FROM pg_class WHERE relnamespace = 'replication_plugin'::regnamespace AND relkind = 'v'"));
	push @queries, 'SELECT count(*) FROM t x, LATERAL (SELECT x.v) y', "CREATE TABLE fresh (id int PRIMARY KEY); DROP TABLE fresh",
		'CREATE INDEX s_v ON s (v); DROP INDEX s_v', "SELECT data FROM pg_logical_slot_peek_changes('audit', NULL, NULL, 'format', 'json')",
		"SELECT pg_copy_logical_replication_slot(replication_plugin.group_slot_name(), 'copy')",
		"SELECT data FROM pg_logical_slot_peek_binary_changes('copy', NULL, NULL, 'protocol', '5', 'node_id', '2', 'group_id', (SELECT group_id::text FROM replication_plugin.local_node), 'full_origins', 'own', 'layout', 'x', 'encoding', 'UTF8')",
		"SELECT pg_drop_replication_slot('copy')", "LOAD 'replication_plugin'", 'DROP EXTENSION replication_plugin';
	my @dead;
	for my $query (@queries)
	{
		my ($status, undef, $err) = $mesh->try_sql($i, $query);
		push @dead, "$query: $err" if $status == 2 || $err =~ /server closed the connection|terminat(ed|ing)|recovery mode/;
	}
	cmp_ok(scalar(@calls), '>', 100, 'functions are called');
	return CORE::join("\n", @dead);
}

$mesh->sql(1, "SELECT pg_create_logical_replication_slot('audit', 'replication_plugin')");
$mesh->node(1)->append_conf('postgresql.conf', "max_prepared_transactions = 5\n");
restart_with(1, "max_prepared_transactions = 5\n");
$mesh->sql(1, "BEGIN; INSERT INTO t VALUES (1000, 'prepared'); PREPARE TRANSACTION 'before'");
restart_with(1, "shared_preload_libraries = ''\n");
refused(1, 'replication_plugin is not in shared_preload_libraries', 'shared_preload_libraries = \'replication_plugin\'', 'not preloaded');
is(survives_everything(1), '', 'not preloaded: nothing crashes');
for my $command ("remove_node('node2')", "set_topology('ring')", "resend_table('t')", "prepare_base_backup('x', 'host=/nowhere dbname=x')", "add_link('node1', 'node2')")
{
	my (undef, undef, $err) = $mesh->try_sql(1, "SELECT replication_plugin.$command");
	like($err, qr/is not ready for writes: replication_plugin is not in shared_preload_libraries.*HINT:  .*shared_preload_libraries = 'replication_plugin'/s, "$command says at once what is lacking");
}
is($mesh->sql(2, 'SELECT state FROM replication_plugin.nodes WHERE is_local'), 'ready', 'nobody has been told to leave');
is($mesh->sql(1, $nodes =~ s/id \|\|/'s' || id ||/r), 's1 node1, s3 node3', 'not preloaded: rows are those of the nodes that wrote them');
$mesh->sql(2, "INSERT INTO t VALUES (1001, 'meanwhile')");
ok($mesh->poll(2, "SELECT last_error ~ 'shared_preload_libraries' AND state <> 'streaming' FROM replication_plugin.links WHERE provider = 'node1'"), 'others say that they get nothing, and why')
	or diag($mesh->sql(2, "SELECT * FROM replication_plugin.links"));
restart_with(1, "shared_preload_libraries = 'replication_plugin'\n");
$mesh->sql(1, "COMMIT PREPARED 'before'");
$mesh->wait_for_streaming;
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT string_agg(v, $$ $$ ORDER BY id) FROM t WHERE id >= 1000'), 'prepared meanwhile', "mended: all is on node $_") for 1 .. 3;
$mesh->is_identical('after a run without the library');

# ---------- without track_commit_timestamp ----------
$mesh->sql(1, "INSERT INTO t VALUES (2001, 'first'), (2002, 'first')");
$mesh->wait_converged;
$mesh->pause(1, 2, 3);
$mesh->pause($_, 1) for 2, 3;
$mesh->sql(2, "UPDATE t SET v = 'older' WHERE id IN (2001, 2002)");
$mesh->sql(1, "UPDATE t SET v = 'newer' WHERE id = 2001; DELETE FROM t WHERE id = 2002");
$mesh->sql(1, "BEGIN; INSERT INTO t VALUES (2003, 'prepared'); PREPARE TRANSACTION 'before'");
my $stamp = $mesh->sql(1, 'SELECT pg_xact_commit_timestamp(xmin) FROM t WHERE id = 2001');
restart_with(1, "track_commit_timestamp = off\n");
refused(1, 'track_commit_timestamp is off', 'track_commit_timestamp = on', 'no commit timestamps');
$mesh->sql(1, 'SELECT count(*) FROM replication_plugin.links');
is($mesh->sql(1, "SELECT ok, detail FROM replication_plugin.preflight() WHERE requirement = 'track_commit_timestamp'"), 'f|off', 'preflight() says so, too');
$mesh->sql(1, "UPDATE replication_plugin.link SET paused = false");
ok($mesh->poll(1, "SELECT bool_and(state = 'backoff' AND last_error ~ 'track_commit_timestamp is off') FROM replication_plugin.links"), 'nothing is applied, and the view links says why')
	or $mesh->dump_state;
is($mesh->sql(1, 'SELECT v FROM t WHERE id = 2001'), 'newer', 'nothing has been applied');
restart_with(1, "track_commit_timestamp = on\n");
is($mesh->sql(1, 'SELECT pg_xact_commit_timestamp(xmin) FROM t WHERE id = 2001'), $stamp, 'no version is lost');
$mesh->sql(1, "COMMIT PREPARED 'before'");
$mesh->resume($_, 1) for 2, 3;
$mesh->wait_for_streaming;
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT string_agg(id || v, $$ $$ ORDER BY id) FROM t WHERE id > 2000'), '2001newer 2003prepared', "what was newer has won: node $_") for 1 .. 3;
$mesh->is_identical('after a run without commit timestamps');

# neither: the timestamps are gone, and nobody can say what is older
$mesh->pause(1, 2, 3);
$mesh->sql(1, "UPDATE t SET v = 'lost' WHERE id = 2001");
$mesh->wait_identical(['t'], 60, 1, 2, 3) or die;
restart_with(1, "track_commit_timestamp = off\nshared_preload_libraries = ''\n");
refused(1, 'replication_plugin is not in shared_preload_libraries', 'shared_preload_libraries', 'neither') if 0;
restart_with(1, "track_commit_timestamp = on\nshared_preload_libraries = 'replication_plugin'\n");
ok($mesh->poll(1, "SELECT state FROM replication_plugin.nodes WHERE is_local", 'needs_rejoin'), 'a node that has lost versions must join anew') or $mesh->dump_state;
like($mesh->sql(1, 'SELECT progress FROM replication_plugin.nodes WHERE is_local'), qr/commit timestamps .* lost.*rejoin/, 'and says why');
$mesh->rejoin(1);
$mesh->wait_for_streaming;
$mesh->sql(1, "INSERT INTO t VALUES (3001, 'again')");
$mesh->wait_converged;
$mesh->is_identical('after the rejoin');
is($mesh->sql(1, $session_preload), 'session_preload_libraries=plpgsql, replication_plugin', 'sessions load the library');

# ---------- as a standby ----------
open my $signal, '>', $mesh->node(1)->data_dir . '/standby.signal' or die;
close $signal;
restart_with(1, '');
ok($mesh->poll(2, "SELECT last_error ~ 'the server of node .node1. is in recovery: .*HINT: .*pg_promote' AND state <> 'streaming' FROM replication_plugin.links WHERE provider = 'node1'"), 'of a node that is a standby others say so')
	or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.links'));
$mesh->node(1)->promote;
$mesh->wait_for_streaming;
$mesh->sql(1, "INSERT INTO t VALUES (3002, 'promoted')");
$mesh->wait_converged;
$mesh->is_identical('promoted');

# ---------- leaving takes the setting back ----------
$mesh->sql($_, 'SELECT replication_plugin.leave_group()') for 1, 3;
is($mesh->sql(1, $session_preload), 'session_preload_libraries=plpgsql', 'sessions load what they loaded before');
is($mesh->sql(3, $session_preload), '', 'and no more');
restart_with(1, "shared_preload_libraries = ''\ntrack_commit_timestamp = off\n");
$mesh->sql(1, "INSERT INTO t VALUES (4001, 'free'); DELETE FROM s");
is($mesh->sql(1, 'SHOW track_commit_timestamp'), 'off', 'a server without nodes is as it is set');
done_testing();
