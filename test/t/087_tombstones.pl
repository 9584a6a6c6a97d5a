# What remembers a delete goes when every member has what came before it, and not earlier: an older write of a member
# that was cut off meanwhile still loses, wherever the delete was, and whatever was killed in between.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

Mesh::seed();
# a link that is held stays held: nothing is asked for on other ways
my $mesh = Mesh->new(3, conf => "replication_plugin.reroute_timeout = 1h\nreplication_plugin.frontier_interval = 50ms\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE other (a int, b int, PRIMARY KEY (b, a));
CREATE TABLE tick (id int PRIMARY KEY, n int);
CREATE UNLOGGED TABLE go (id int); -- of each node alone
INSERT INTO t SELECT g, 'first' FROM generate_series(1, 1000) g;
INSERT INTO other SELECT g, g FROM generate_series(1, 100) g;
SQL
$mesh->wait_converged;
my $tick = "INSERT INTO tick VALUES (:side, 0) ON CONFLICT (id) DO UPDATE SET n = tick.n + 1;";
my $count = 'SELECT count(*) FROM replication_plugin.tombstone';

sub rows
{
	my ($i, $where) = @_;
	return $mesh->sql($i, "SELECT coalesce(string_agg(id || '=' || v, ' ' ORDER BY id), '') FROM t WHERE $where");
}

# A lightly loaded group forgets all deletes.
sub all_forgotten
{
	my ($name) = @_;
	my @load = $mesh->start_load($tick, 10, 1 .. 3);
	my @late = grep { !$mesh->poll($_, $count, 0) } 1 .. 3;
	$mesh->stop_load(@load);
	is("@late", '', "$name: the tombstones go, on all nodes");
}

# Time passes on some nodes: they write, tell the others how far they are five times, and checkpoint.
sub time_passes
{
	my (@nodes) = @_;
	my @load = $mesh->start_load($tick, 20, @nodes);
	for my $i (@nodes)
	{
		my $written = '-infinity';
		for (1 .. 5)
		{
			$mesh->poll($i, "SELECT written_at > '$written' FROM replication_plugin.frontier WHERE node_id = $i") or die;
			$written = $mesh->sql($i, "SELECT written_at FROM replication_plugin.frontier WHERE node_id = $i");
		}
		$mesh->sql($i, 'CHECKPOINT');
	}
	# longer than the group slot rests between two moves
	my $start = $mesh->sql($nodes[0], 'SELECT clock_timestamp()');
	$mesh->poll($nodes[0], "SELECT clock_timestamp() > '$start'::timestamptz + interval '1.5 seconds'") or die;
	$mesh->stop_load(@load);
}

# ---------- they go ----------
$mesh->sql(1, 'DELETE FROM t WHERE id BETWEEN 101 AND 200');
$mesh->sql(2, 'DELETE FROM t WHERE id BETWEEN 201 AND 300; UPDATE other SET a = a + 1000 WHERE a <= 20');
$mesh->sql(3, 'DELETE FROM t WHERE id BETWEEN 301 AND 400; TRUNCATE other');
$mesh->wait_converged;
$mesh->is_identical('deletes');
all_forgotten('deletes');
for my $i (1 .. 3)
{
	# and nothing else is kept for ever
	my @load = $mesh->start_load($tick, 10, 1 .. 3);
	my $end = $mesh->sql($i, 'SELECT pg_current_wal_lsn()');
	ok($mesh->poll($i, "SELECT confirmed_lsn >= '$end' FROM replication_plugin.slots WHERE subscriber IS NULL"), "the group slot of node $i moves on");
	$mesh->stop_load(@load);
}
$mesh->sql(1, "INSERT INTO t SELECT g, 'again' FROM generate_series(101, 110) g");
$mesh->wait_converged;
$mesh->is_identical('after deletes are forgotten, the keys are used again');

# ---------- not while a member is cut off ----------

# Node 3 and the others hear nothing of each other.
sub part
{
	$mesh->pause($_, 3) for 1, 2;
	$mesh->pause(3, 1, 2);
}

sub unite
{
	$mesh->resume($_, 3) for 1, 2;
	$mesh->resume(3, 1, 2);
}

part();
$mesh->sql(3, "UPDATE t SET v = 'old' WHERE id BETWEEN 1 AND 5; UPDATE t SET id = id + 5000, v = 'old' WHERE id = 6; DELETE FROM t WHERE id = 7");
$mesh->sql(1, 'DELETE FROM t WHERE id IN (1, 2, 6)');
$mesh->sql(2, "DELETE FROM t WHERE id IN (3, 4); UPDATE t SET id = id + 6000 WHERE id = 5");
$mesh->sql(1, "UPDATE t SET v = 'new' WHERE id = 7");
$mesh->poll(1, 'SELECT count(*) FROM t WHERE id IN (3, 4, 5)', 0) or die;
$mesh->poll(2, 'SELECT count(*) FROM t WHERE id IN (1, 2, 6)', 0) or die;
my @there = map { $mesh->sql($_, $count) } 1 .. 3;
is(join(' ', map { $_ > 1 } @there), '1 1 1', 'cut off: there are tombstones on all nodes');
time_passes(1, 2);
time_passes(3);
is($mesh->sql($_, $count), $there[$_ - 1], "cut off: node $_ keeps its tombstones") for 1 .. 3;
$mesh->kill_server(1);
$mesh->start_server(1);
$mesh->kill_server(3);
$mesh->start_server(3);
$mesh->poll($_, "SELECT state FROM replication_plugin.links WHERE provider = 'node" . (3 - $_) . "'", 'streaming') or die for 1, 2;
time_passes(1, 2);
cmp_ok($mesh->sql($_, $count), '>=', $there[$_ - 1], "cut off: node $_ has them after a crash, too") for 1 .. 3;
unite();
$mesh->wait_for_streaming;
$mesh->wait_converged;
is(rows(1, 'id <= 7 OR id > 5000'), '7=new 5006=old 6005=first', 'cut off: the older writes have lost');
$mesh->is_identical('cut off: afterwards');
all_forgotten('cut off');

# ---------- all subscribers have the delete, and an older write is still on its way ----------
$mesh->pause(1, 3);
$mesh->sql(3, "UPDATE t SET v = 'old' WHERE id BETWEEN 11 AND 15; INSERT INTO t VALUES (5100, 'old')");
$mesh->poll(2, 'SELECT count(*) FROM t WHERE id = 5100', 1) or die;
$mesh->sql(1, "DELETE FROM t WHERE id BETWEEN 11 AND 15; INSERT INTO t VALUES (5100, 'new'); DELETE FROM t WHERE id = 5100; INSERT INTO t VALUES (5101, 'x')");
for my $i (2, 3)
{
	ok($mesh->poll($i, 'SELECT count(*) FROM t WHERE id = 5101', 1), "one link: node $i has the deletes");
}
my $deletes = $mesh->sql(1, $count);
cmp_ok($deletes, '>=', 6, 'one link: the deletes are noted');
time_passes(1, 2, 3);
is($mesh->sql(1, $count), $deletes, 'one link: and stay so');
$mesh->resume(1, 3);
$mesh->wait_for_streaming;
$mesh->wait_converged;
is(rows(1, 'id BETWEEN 11 AND 15 OR id >= 5100 AND id < 6000'), '5101=x', 'one link: the older writes have lost');
$mesh->is_identical('one link: afterwards');
all_forgotten('one link');

# ---------- a delete in a transaction that began long before ----------
my $pid = $mesh->spawn_sql(1, "DO \$\$ BEGIN DELETE FROM t WHERE id IN (21, 22); LOOP EXIT WHEN EXISTS (SELECT FROM go); PERFORM pg_sleep(0.01); END LOOP; END \$\$");
$mesh->poll(1, "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'id IN .21, 22' AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()", 1) or die;
time_passes(1, 2, 3);
part();
$mesh->sql(3, "UPDATE t SET v = 'old' WHERE id IN (21, 22)");
$mesh->sql(1, 'INSERT INTO go VALUES (1)');
waitpid $pid, 0;
$mesh->poll(2, 'SELECT count(*) FROM t WHERE id IN (21, 22)', 0) or die;
time_passes(1, 2);
unite();
$mesh->wait_for_streaming;
$mesh->wait_converged;
is(rows(1, 'id IN (21, 22)'), '', 'open transaction: the older writes have lost');
$mesh->is_identical('open transaction: afterwards');
all_forgotten('open transaction');

# ---------- a node that joins through one that still has them ----------
part();
$mesh->sql(3, "UPDATE t SET v = 'old' WHERE id IN (31, 32)");
$mesh->sql(1, 'DELETE FROM t WHERE id IN (31, 32)');
my $four = $mesh->add_server;
$mesh->start_join($four, 1);
$mesh->poll($four, "SELECT state FROM replication_plugin.local_node", 'joining: catching up') or die;
unite();
$mesh->sql($four, "SELECT replication_plugin.wait_until_ready('240 seconds')");
$mesh->wait_for_streaming;
$mesh->wait_converged;
is(rows($four, 'id IN (31, 32)'), '', 'joining: the older writes have lost there, too');
$mesh->is_identical('joining: afterwards');
done_testing();
