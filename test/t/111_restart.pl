# The first moments after a restart, and restarts with settings that replication cannot do with: versions of rows are
# right in any session, writes that nobody would get, or whose versions nobody would know, are refused with the fix.
use strict;
use warnings;
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $mesh = Mesh->new(3, conf => "replication_plugin.frontier_interval = 100ms\n");
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
done_testing();
