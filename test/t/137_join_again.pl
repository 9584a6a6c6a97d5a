# Joins that would fail each time in the same way; and commands that fail in their middle, or are called by mistake: the node is what it was.
use strict;
use warnings;
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $mesh = Mesh->new(2, conf => "replication_plugin.frontier_interval = 200ms\n");
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));

# each table's CHECK looks at the other table, so sessions that copy both at a time wait for each other
$mesh->sql(1, <<'SQL');
CREATE SCHEMA shop;
CREATE FUNCTION shop.looks_at_b() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.005); PERFORM FROM shop.b LIMIT 1; RETURN true; END $$;
CREATE FUNCTION shop.looks_at_a() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.005); PERFORM FROM shop.a LIMIT 1; RETURN true; END $$;
CREATE TABLE shop.a (id int PRIMARY KEY, v text);
CREATE TABLE shop.b (id int PRIMARY KEY, v text);
INSERT INTO shop.a SELECT g, 'row' FROM generate_series(1, 200) g;
INSERT INTO shop.b SELECT g, 'row' FROM generate_series(1, 200) g;
ALTER TABLE shop.a ADD CHECK (shop.looks_at_b());
ALTER TABLE shop.b ADD CHECK (shop.looks_at_a());
CREATE TABLE t (id int PRIMARY KEY, v text);
SQL

# a schema of that name is here already, and empty
$mesh->sql(2, 'CREATE SCHEMA shop');
$mesh->start_join(2);
my $ready = $mesh->sql(2, "SELECT replication_plugin.wait_until_ready('120 seconds')");
is($ready, 't', 'a node with an empty schema of the same name, and tables whose copies wait for each other, joins') or diag($mesh->sql(2, 'SELECT progress FROM replication_plugin.nodes'));
# other contents are refused at once
is($mesh->sql(2, 'SELECT count(*) FROM shop.a, shop.b WHERE a.id = b.id'), 200, 'it has the rows') if $ready eq 't';
my $three = $mesh->add_server;
$mesh->sql($three, 'CREATE TYPE public.pair AS (a int, b int)');
my ($status, undef, $err) = $mesh->try_sql($three, sprintf("SELECT replication_plugin.join_group('node3', '%s', '%s')", $mesh->dsn($three), $mesh->dsn(1)));
ok($status != 0 && $err =~ /this database has contents of its own: composite type public\.pair.*HINT/s, 'a database with types of its own is refused at once') or diag($err);
if ($ready ne 't')
{
	done_testing();
	exit;
}
$mesh->sql($three, 'DROP TYPE public.pair');
$mesh->join($three);
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('joined');

# ---------- forget_group() on a member in good health ----------
my $id = 0;
sub all_well
{
	my ($name) = @_;
	$mesh->wait_for_streaming;
	$mesh->sql($_, 'INSERT INTO t VALUES (' . ++$id . ", 'of $_')") for 1 .. 3;
	$mesh->wait_converged;
	$mesh->is_identical($name);
	is($mesh->sql($_, "SELECT count(*) FROM t WHERE id > $id - 3"), 3, "$name: what is written arrives on node $_") for 1 .. 3;
}
($status, undef, $err) = $mesh->try_sql(2, 'SELECT replication_plugin.forget_group()');
ok($status != 0 && $err =~ /of group "test" count on node "node2".*HINT:.*leave_group/s, 'forget_group() of a member that others count on is refused') or diag($err);
all_well('not forgotten');

# ---------- a teardown that fails in its middle ----------
my $holder = $mesh->node(2)->background_psql('app');
$holder->query_safe('BEGIN; SELECT count(*) FROM t');
($status, undef, $err) = $mesh->try_sql(2, "SET lock_timeout = '1s'; SELECT replication_plugin.forget_group(force => true)");
ok($status != 0 && $err =~ /lock timeout/, 'forget_group() fails at a lock') or diag($err);
$holder->query_safe('COMMIT');
$holder->quit;
all_well('it has failed');
is($mesh->sql(2, "SELECT state FROM replication_plugin.nodes WHERE is_local"), 'ready', 'the node is what it was');

# ---------- a node is removed while somebody takes it out by hand ----------
my $taker = $mesh->node(2)->background_psql('app');
$taker->query_safe('BEGIN; DELETE FROM replication_plugin.local_node');
$mesh->sql(1, "SELECT replication_plugin.remove_node('node2', lost => true)");
ok($mesh->poll(2, "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'replication_plugin manager' AND wait_event_type = 'Lock'"), 'the manager is about to note it');
my $started = $mesh->sql(2, 'SELECT pg_postmaster_start_time(), pg_stat_get_backend_pid(1) IS NOT NULL');
$taker->query_safe('COMMIT');
$taker->quit;
ok($mesh->poll(2, 'SELECT count(*) = 0 FROM replication_plugin.local_node'), 'the node is gone from under it');
ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND backend_type LIKE 'replication_plugin %'", 0), 'nothing of it runs any more');
unlike(PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile), qr/was terminated by signal/, 'nothing has crashed');

# ---------- two sessions take a node in again at once ----------
$mesh->sql(1, "SELECT replication_plugin.remove_node('node3', lost => true)");
$mesh->poll($three, 'SELECT state FROM replication_plugin.nodes WHERE is_local', 'removed') or die;
$holder = $mesh->node($three)->background_psql('app');
$holder->query_safe('BEGIN; LOCK TABLE replication_plugin.local_node IN ROW EXCLUSIVE MODE');
my $waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'replication_plugin.local_node'::regclass AND NOT granted";
my @sessions;
for my $n (1, 2)
{
	push @sessions, $mesh->spawn_sql($three, 'SELECT replication_plugin.rejoin()');
	$mesh->poll($three, $waiting, $n) or die;
}
$holder->query_safe('COMMIT');
$holder->quit;
my $failed = 0;
for my $pid (@sessions) { waitpid $pid, 0; $failed++ if $? != 0; }
is($failed, 1, 'two rejoin() at once: one is refused');
like(PostgreSQL::Test::Utils::slurp_file($mesh->node($three)->logfile), qr/another session has taken this node out of its group meanwhile/, 'and told why');
is($mesh->sql($three, "SELECT replication_plugin.wait_until_ready('120 seconds')"), 't', 'the node joins');
$mesh->sql(1, "INSERT INTO t VALUES (-1, 'when it is back')");
$mesh->wait_converged(1, $three);
$mesh->is_identical('two rejoin() at once', 1, $three);
is($mesh->sql(1, "SELECT count(*) FROM replication_plugin.nodes WHERE node_name = 'node3' AND state <> 'removed'"), 1, 'once');
done_testing();
