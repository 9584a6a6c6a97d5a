# A node that joins anew again and again: each time it gets another number, and the origin of the one before gives its place for
# progress back, so max_replication_slots is enough; what was written under it keeps its version.
use strict;
use warnings;
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $rounds = 12;
my $mesh = Mesh->new(2, conf => "max_replication_slots = 10\nreplication_plugin.frontier_interval = 100ms\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE s (id int PRIMARY KEY, v text);
SELECT replication_plugin.set_conflict_policy('s', 'siblings');
SQL
$mesh->wait_converged;
my $versions = q{SELECT string_agg(id || ' ' || x.version || ' ' || x.node, ', ' ORDER BY id) FROM s, LATERAL replication_plugin.siblings('s', jsonb_build_object('id', id)) x};
my $rejoined = 0;
my $first = '';
for my $round (1 .. $rounds)
{
	$mesh->sql(2, "INSERT INTO t VALUES ($round, 'of round $round'); INSERT INTO s VALUES ($round, 'of round $round')");
	$mesh->wait_converged;
	$first ||= $mesh->sql(1, $versions);
	$mesh->sql(1, "SELECT replication_plugin.remove_node('node2')");
	$mesh->poll(2, "SELECT state = 'removed' FROM replication_plugin.nodes WHERE is_local") or last;
	last unless eval { $mesh->rejoin(2); 1 };
	$rejoined++;
}
is($rejoined, $rounds, "node 2 has joined anew $rounds times, with ten places for progress");
diag($mesh->sql(1, 'SELECT provider, state, last_error FROM replication_plugin.links')) if $rejoined < $rounds;
SKIP:
{
	skip 'it has not', 1 if $rejoined < $rounds;
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
	ok($mesh->poll($_, 'SELECT count(*) <= 3 FROM pg_replication_origin_status'), "node $_: only origins that are in use take a place") for 1, 2;
	is($mesh->sql($_, "SELECT count(*) FROM t, s WHERE t.id = s.id"), $rounds, "node $_ has all rows") for 1, 2;
	like($mesh->sql($_, $versions), qr/^\Q$first\E/, "node $_: the first row has the version that it had") for 1;
	# restarted, they are known by their names; and what a node that is out has written is not taken for this one's
	for my $i (1, 2)
	{
		$i == 1 ? $mesh->kill_server(1) : $mesh->node(2)->stop;
		$mesh->start_server($i);
	}
	$mesh->wait_for_streaming;
	like($mesh->sql(1, $versions), qr/^\Q$first\E/, 'also after a crash');
	$mesh->sql(1, "UPDATE s SET v = 'over it' WHERE id <= 6");
	$mesh->sql(2, "UPDATE s SET v = 'over it' WHERE id > 6; UPDATE t SET v = 'over it'");
	$mesh->wait_converged;
	is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.unresolved'), 0, "node $_: who has seen them replaces them") for 1, 2;
	$mesh->is_identical('at the end');
	is($mesh->sql(1, 'SELECT count(lsn) FROM replication_plugin.progress'), $rounds + 1, 'the view progress knows them all');
	is($mesh->sql(1, q{SELECT count(*) FROM replication_plugin.preflight() WHERE requirement LIKE 'replication %' AND NOT ok}), 0, 'there is room for more');
}
done_testing();
