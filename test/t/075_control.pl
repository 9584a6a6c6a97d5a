# The control plane: requirements are named before anything is made; managers come back, do not
# crash-loop and miss no request; a copy of a server cannot end the original's membership; a
# node that was removed while it was away can leave. Nodes are databases of one server here.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('control');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "fsync = off\nmax_worker_processes = 20\nreplication_plugin.retry_min = 100ms\nreplication_plugin.retry_max = 2s");
$node->start;

sub dsn { my ($db, $server) = @_; $server ||= $node; return sprintf('host=%s port=%d dbname=%s', $server->host, $server->port, $db); }
sub sql { my ($db, $sql) = @_; return $node->safe_psql($db, $sql); }
sub error
{
	my ($db, $sql, $server) = @_;
	my ($status, $out, $err) = ($server || $node)->psql($db, $sql);
	return $status ? $err : 'no error';
}
sub create { my ($db) = @_; return error($db, sprintf("SELECT replication_plugin.create_group('g', '%s', '%s')", $db, dsn($db))); }
sub join_via { my ($db, $via) = @_; return sql($db, sprintf("SELECT replication_plugin.join_group('%s', '%s', '%s')", $db, dsn($db), dsn($via))); }
sub preflight { my ($what) = @_; return sql('a', "SELECT ok, fix FROM replication_plugin.preflight() WHERE requirement = '$what'"); }
sub poll { my ($db, $query, $expected) = @_; return $node->poll_query_until($db, $query, $expected); }

# Each requirement that is not met is named, with its fix; nothing is made.
$node->safe_psql('postgres', "CREATE DATABASE a; CREATE DATABASE b; CREATE DATABASE c");
sql('a', 'CREATE EXTENSION replication_plugin');
like(create('a'), qr/replication_plugin is not in shared_preload_libraries.*HINT.*restart/s, 'not preloaded');
like(preflight('shared_preload_libraries'), qr/^f\|in postgresql.conf: shared_preload_libraries = 'replication_plugin'/, 'preflight says the same');
is(sql('a', 'SELECT count(*) FROM replication_plugin.links'), 0, 'views work without the preload');
is(sql('a', 'SELECT count(*) FROM replication_plugin.preflight()'), 14, 'preflight has all its rows');

my @needs = (
	[ "wal_level = replica\nshared_preload_libraries = 'replication_plugin'", 'wal_level', qr/ALTER SYSTEM SET wal_level = logical/ ],
	[ "wal_level = logical", 'track_commit_timestamp', qr/ALTER SYSTEM SET track_commit_timestamp = on/ ]);
push @needs, [ "track_commit_timestamp = on", 'output_plugin_libraries', qr/ALTER SYSTEM SET output_plugin_libraries = pgoutput, test_decoding, replication_plugin;/ ]
	if Mesh::has_whitelist();
push @needs, [ "track_commit_timestamp = on\nmax_replication_slots = 0" . (Mesh::has_whitelist() ? "\noutput_plugin_libraries = 'pgoutput, test_decoding, replication_plugin'" : ''),
	'replication slots', qr/ALTER SYSTEM SET max_replication_slots/ ];
push @needs, [ "max_replication_slots = 20\nmax_wal_senders = 0", 'walsenders', qr/ALTER SYSTEM SET max_wal_senders/ ];
push @needs, [ "max_wal_senders = 20\nmax_worker_processes = 3", 'worker processes', qr/ALTER SYSTEM SET max_worker_processes/ ];
for my $n (@needs)
{
	my ($conf, $requirement, $fix) = @$n;
	$node->append_conf('postgresql.conf', $conf);
	$node->restart;
	like(create('a'), qr/not ready for replication: $requirement.*HINT:.*$fix/s, "create_group() names $requirement");
	like(preflight($requirement), qr/^f\|.*$fix/, 'and so does preflight()');
}
$node->append_conf('postgresql.conf', 'max_worker_processes = 20');
$node->restart;
is(sql('a', "SELECT count(*) FROM replication_plugin.preflight() WHERE NOT ok"), 0, 'all is well then');
is(sql('a', 'SELECT count(*) FROM replication_plugin.nodes'), 0, 'nothing half-made is left');
sql($_, 'CREATE EXTENSION replication_plugin') for qw(b c);

# A request that meets a leaving manager is not lost.
for (1 .. 25)
{
	sql('c', sprintf("SELECT replication_plugin.create_group('g', 'c', '%s')", dsn('c')));
	sql('c', 'SELECT replication_plugin.leave_group()');
}
sql('c', sprintf("SELECT replication_plugin.create_group('g', 'c', '%s')", dsn('c')));
sleep 0.5;
ok(poll('c', 'SELECT replication_plugin.manager_pid() IS NOT NULL', 't'), 'a manager is there after leaving and creating many times');
sql('c', 'SELECT replication_plugin.leave_group()');

# Managers come back at once when they die, and with pauses when they fail again and again.
sql('a', 'CREATE TABLE t (id int PRIMARY KEY)');
sql('a', sprintf("SELECT replication_plugin.create_group('g', 'a', '%s')", dsn('a')));
join_via('b', 'a');
is(sql('b', "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'b joins');
ok(poll('a', 'SELECT replication_plugin.manager_pid() IS NOT NULL', 't'), 'a manager');
my $pid = sql('a', 'SELECT replication_plugin.manager_pid()');
sql('a', "SELECT pg_terminate_backend($pid)");
my $killed = time();
ok(poll('a', "SELECT replication_plugin.manager_pid() <> $pid", 't'), 'comes back when it is killed');
cmp_ok(time() - $killed, '<', 20, 'soon');
sql('a', 'SELECT pg_terminate_backend(replication_plugin.manager_pid())') for 1 .. 2;
sleep 2.5;    # time to start others
ok(poll('a', "SELECT string_agg(backend_type || ' ' || count, ', ' ORDER BY backend_type COLLATE \"C\") FROM (SELECT backend_type, count(*) FROM pg_stat_activity
	WHERE datname = 'a' AND backend_type LIKE 'replication_plugin %' GROUP BY 1) x",
	'replication_plugin group 1, replication_plugin link from node 2 1, replication_plugin manager 1'), 'and takes over the other workers');
sleep 1.5;
my $log = -s $node->logfile;
my $broken = time();
sql('a', 'SET allow_system_table_mods = on; ALTER FUNCTION replication_plugin.drop_slots_of_removed() RENAME TO slots_away');
my $failures = 0;
while ($failures < 7 && time() < $broken + 180)
{
	sleep 0.05;
	$failures = () = slurp_file($node->logfile, $log) =~ /drop_slots_of_removed\(\) does not exist/g;
}
cmp_ok($failures, '>=', 7, 'a failing manager is started again');
# of 0.1 s, 0.2 s, 0.4 s, ... : seven in a row need some seconds on any machine
cmp_ok(time() - $broken, '>=', 2, 'with pauses');
ok(poll('a', "SELECT progress ~ 'manager: .*drop_slots_of_removed\\(\\) does not exist' FROM replication_plugin.nodes WHERE is_local", 't'), 'and the view nodes says why it fails');
sql('a', 'SET allow_system_table_mods = on; ALTER FUNCTION replication_plugin.slots_away() RENAME TO drop_slots_of_removed');
ok(poll('a', "SELECT progress IS NULL FROM replication_plugin.nodes WHERE is_local", 't'), 'which is forgotten when it works again');
sql('a', 'INSERT INTO t VALUES (1)');
ok(poll('b', 'SELECT count(*) FROM t', 1), 'and its links go on');
ok(poll('b', "SELECT bool_and(state = 'streaming') FROM replication_plugin.links", 't'), 'links are up');

# So does the group worker; what it fails at is shown, and forgotten when it works again.
sql('a', 'SET allow_system_table_mods = on; ALTER FUNCTION replication_plugin.write_frontier_row() RENAME TO away');
sql('a', 'INSERT INTO t VALUES (2)');
ok(poll('a', "SELECT progress ~ 'group worker: .*write_frontier_row' FROM replication_plugin.nodes WHERE is_local", 't'), 'the error of a group worker is shown');
sql('a', 'SET allow_system_table_mods = on; ALTER FUNCTION replication_plugin.away() RENAME TO write_frontier_row');
ok(poll('a', "SELECT progress IS NULL FROM replication_plugin.nodes WHERE is_local", 't'), 'and forgotten when it is over')
	or diag(sql('a', 'SELECT progress FROM replication_plugin.nodes'), sql('a', "SELECT pid, backend_type, datname, wait_event, query FROM pg_stat_activity WHERE backend_type LIKE 'replication%'"),
		substr slurp_file($node->logfile, $log), 0, 20000);
ok(poll('b', "SELECT replication_plugin.frontier_lsn(vector, 1) IS NOT NULL FROM replication_plugin.frontier WHERE node_id = 1", 't'), 'frontier rows come again');

# A worker that is killed counts as a restart; one that is paused does not.
ok(poll('b', 'SELECT state FROM replication_plugin.links', 'streaming'), 'the link of b streams');
my $restarts = sql('b', 'SELECT restarts FROM replication_plugin.links');
sql('b', "SELECT replication_plugin.pause_link('a')");
ok(poll('b', 'SELECT state FROM replication_plugin.links', 'paused'), 'paused');
sql('b', "SELECT replication_plugin.resume_link('a')");
ok(poll('b', 'SELECT state FROM replication_plugin.links', 'streaming'), 'resumed');
is(sql('b', 'SELECT restarts FROM replication_plugin.links'), $restarts, 'that is no restart');
sql('b', 'SELECT pg_terminate_backend(pid) FROM replication_plugin.link_states()');
ok(poll('b', "SELECT restarts > $restarts FROM replication_plugin.links", 't'), 'a killed worker is restarted');
ok(poll('b', 'SELECT state FROM replication_plugin.links', 'streaming'), 'and streams');

# A server with little room for workers looks at its databases one after the other.
$node->safe_psql('postgres', "CREATE DATABASE more$_") for 1 .. 8;
$node->append_conf('postgresql.conf', 'max_worker_processes = 10');
$log = -s $node->logfile;
$node->restart;
ok(poll('a', "SELECT state FROM replication_plugin.links", 'streaming'), 'links after a restart among many databases');
unlike(slurp_file($node->logfile, $log), qr/no free background worker/, 'with few workers');

# A copy of the server: nothing runs there, and leave_group() there does not reach the original.
$node->stop;
my $copy = PostgreSQL::Test::Cluster->new('copy');
PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $copy->data_dir);
chmod 0700, $copy->data_dir;
$copy->append_conf('postgresql.conf', sprintf("port = %d\nunix_socket_directories = '%s'\nlisten_addresses = ''", $copy->port, $copy->host));
unlink $copy->data_dir . '/postmaster.pid';
$node->start;
$copy->start;
ok($copy->poll_query_until('a', "SELECT last_error ~ 'this server is a copy' AND transactions = 0 FROM replication_plugin.links"), 'a copy says so in links');
ok($copy->poll_query_until('a', "SELECT progress ~ 'this server is a copy.*forget_group' FROM replication_plugin.nodes WHERE is_local"), 'and in nodes');
like(error('a', 'SELECT replication_plugin.leave_group()', $copy), qr/leads to another server.*forget_group/s, 'leave_group() on a copy is refused');
is(sql('a', "SELECT state FROM replication_plugin.nodes WHERE is_local"), 'ready', 'the original is not touched');
$copy->safe_psql('a', 'SELECT replication_plugin.forget_group()');
is($copy->safe_psql('a', "SELECT count(*) FROM replication_plugin.nodes"), 0, 'forget_group() takes the copy out');
is($copy->safe_psql('a', "SELECT count(*) FROM pg_replication_slots WHERE database = 'a'"), 0, 'with its slots');
is($copy->safe_psql('postgres', 'DROP DATABASE a'), '', 'and its database can go');
$copy->stop('immediate');
ok(poll('a', 'SELECT state FROM replication_plugin.links', 'streaming'), 'the original streams');

# The own dsn leads nowhere: nothing runs, and that is said; it works when it works again.
sql('b', "UPDATE replication_plugin.local_node SET dsn = 'host=/nowhere port=1 dbname=b'");
$node->restart;
ok(poll('b', "SELECT progress ~ 'could not connect' FROM replication_plugin.nodes WHERE is_local", 't'), 'an own dsn that leads nowhere is said');
like(error('b', 'SELECT replication_plugin.leave_group()'), qr/the dsn of this node does not lead here/, 'leaving says it too');
sql('b', sprintf("UPDATE replication_plugin.local_node SET dsn = '%s'", dsn('b')));
ok(poll('b', 'SELECT state FROM replication_plugin.links', 'streaming'), 'and it goes on by itself');
ok(poll('b', 'SELECT progress IS NULL FROM replication_plugin.nodes WHERE is_local', 't'), 'the error is gone');

# Removed while it was away: it can leave at once, nobody is waited for.
sql('b', "SELECT replication_plugin.pause_link('a')");
ok(poll('b', 'SELECT state FROM replication_plugin.links', 'paused'), 'b is away');
sql('a', "SELECT replication_plugin.remove_node('b')");
ok(poll('a', 'SELECT count(*) FROM replication_plugin.slots WHERE subscriber IS NOT NULL', 0), 'its slot goes');
my $start = time();
sql('b', 'SELECT replication_plugin.leave_group()');
cmp_ok(time() - $start, '<', 50, 'a removed node leaves without waiting'); # it would for 60 s
is(sql('b', 'SELECT count(*) FROM replication_plugin.nodes'), 0, 'and is out');
is(error('postgres', 'DROP DATABASE b'), 'no error', 'its database can be dropped at once');

sql('a', 'SELECT replication_plugin.leave_group()');
is(error('postgres', 'DROP DATABASE a'), 'no error', 'and so can that of one that has left');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), 0, 'no slot is left');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_origin'), 0, 'no origin is left');
$node->stop;
done_testing();
