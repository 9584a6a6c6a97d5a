# A node whose clock is ahead: what its transactions do is decided alike on all nodes, whatever is written while they
# are being applied.
use strict;
use warnings;
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $mesh = Mesh->new(3, clock => 1);
$mesh->set_clock(1, 600);
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (1000);
CREATE TABLE u (id int PRIMARY KEY, v text);
CREATE TABLE k (id int PRIMARY KEY, v text UNIQUE);
INSERT INTO t SELECT g, 'first' FROM generate_series(1, 20) g;
INSERT INTO p SELECT g, 'first' FROM generate_series(1, 20) g;
INSERT INTO u SELECT g, 'first' FROM generate_series(1, 3) g;
SQL
$mesh->wait_converged;

# Node 2 does not hear of node 1 until it applies a transaction of it, which waits for a row; while it is so, applied and not
# committed, something is written on node 2.
sub while_it_is_applied
{
	my ($name, %history) = @_;
	$mesh->pause(2, 3);
	$mesh->pause($_, 2) for 1, 3;
	if ($history{first})
	{
		$mesh->sql(3, $history{first});
		$mesh->poll(1, "SELECT v = 'here' FROM t WHERE id = 19") or die;
		# node 2 writes later than node 3, and before node 1
		$mesh->sql(2, sprintf("SELECT replication_plugin.observe_clock('%s')", $mesh->sql(3, 'SELECT replication_plugin.clock_tick()')));
	}
	$mesh->sql(2, $history{before});
	$mesh->resume(2, 3);
	$mesh->poll(2, $history{until}) or die if $history{until};
	$mesh->pause(2, 1);
	my $holder = $mesh->node(2)->background_psql('app');
	my $pid = $holder->query_safe('SELECT pg_backend_pid()');
	$holder->query_safe('BEGIN; SELECT v FROM t WHERE id = 20 FOR UPDATE');
	$mesh->sql(1, "BEGIN; $history{long}; UPDATE t SET v = 'the last' WHERE id = 20; COMMIT");
	$mesh->resume(2, 1);
	$mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%' AND $pid = ANY (pg_blocking_pids(pid))", 1)
		or die 'the transaction is not being applied';
	$mesh->sql(2, $history{meanwhile});
	$holder->query_safe('COMMIT');
	$holder->quit;
	$mesh->resume($_, 2) for 1, 3;
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
	$mesh->is_identical($name);
	# who wrote later, by what he could see, stays
	is($mesh->sql($_, $history{query}), $history{expected}, "$name: on node $_") for 1 .. 3;
}

while_it_is_applied('a row that both have deleted is inserted again',
	before => 'DELETE FROM t WHERE id = 5',
	long => 'DELETE FROM t WHERE id = 5',
	meanwhile => "INSERT INTO t VALUES (5, 'again')",
	query => "SELECT v FROM t WHERE id = 5", expected => 'again');
while_it_is_applied('a key that is changed',
	before => 'DELETE FROM t WHERE id = 6',
	long => 'UPDATE t SET id = 106 WHERE id = 6',
	meanwhile => "INSERT INTO t VALUES (6, 'again')",
	query => "SELECT string_agg(id || v, ' ' ORDER BY id) FROM t WHERE id IN (6, 106)", expected => '6again 106first');
while_it_is_applied('a partition, and another one',
	before => 'DELETE FROM p WHERE id IN (5, 15)',
	long => 'DELETE FROM p WHERE id = 5; UPDATE p SET id = 7, v = $$moved$$ WHERE id = 7; DELETE FROM p WHERE id = 15',
	meanwhile => "INSERT INTO p VALUES (5, 'again'), (15, 'again')",
	query => "SELECT string_agg(id || v, ' ' ORDER BY id) FROM p WHERE id IN (5, 15)", expected => '5again 15again');
while_it_is_applied('a table that is emptied',
	before => 'DELETE FROM u WHERE id = 2',
	long => 'TRUNCATE u',
	meanwhile => "INSERT INTO u VALUES (2, 'again')",
	query => "SELECT string_agg(id || v, ' ' ORDER BY id) FROM u", expected => '2again');
while_it_is_applied('a row that is parked on node 2',
	first => "INSERT INTO k VALUES (1, 'x'); UPDATE t SET v = 'here' WHERE id = 19",
	before => "INSERT INTO k VALUES (3, 'x')",
	until => 'SELECT count(*) = 1 FROM replication_plugin.parked_rows',
	long => 'DELETE FROM k WHERE id = 1',
	meanwhile => "INSERT INTO k VALUES (1, 'again')",
	query => "SELECT string_agg(id || v, ' ' ORDER BY id) FROM k", expected => '1again 3x');
is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.conflicts WHERE resolution = 'stop'"), 0, "nothing stopped on node $_") for 1 .. 3;
done_testing();
