# Deletes are remembered where and as long as an older write can come, and after that nothing of them is left to be in the
# way: also without autovacuum. Whether a put has to look for deletes at all is known from shared memory: it must not be
# wrong after a restart, a crash, or a transaction that was prepared.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(2, conf => "autovacuum = off\nmax_prepared_transactions = 5\nreplication_plugin.frontier_interval = 50ms\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE many (id int PRIMARY KEY);
CREATE TABLE tick (id int PRIMARY KEY, n int);
INSERT INTO t SELECT g, 'first' FROM generate_series(1, 100) g;
INSERT INTO many SELECT g FROM generate_series(1, 70000) g;
SQL
$mesh->wait_converged;
my $tick = "INSERT INTO tick VALUES (:side, 0) ON CONFLICT (id) DO UPDATE SET n = tick.n + 1;";

# ---------- what is forgotten ----------
$mesh->sql(1, 'DELETE FROM many');
$mesh->wait_converged;
my @load = $mesh->start_load($tick, 10, 1, 2);
for my $i (1, 2)
{
	ok($mesh->poll($i, 'SELECT count(*) FROM replication_plugin.tombstone', 0), "node $i forgets the deletes");
	ok($mesh->poll($i, "SELECT n_tup_del >= 70000 FROM pg_stat_all_tables WHERE relid = 'replication_plugin.tombstone'::regclass"),
		"node $i: autovacuum would hear of it");
	ok($mesh->poll($i, "SELECT n_dead_tup < 50000 AND vacuum_count > 0 FROM pg_stat_all_tables WHERE relid = 'replication_plugin.tombstone'::regclass"),
		"node $i: without autovacuum nothing is left of them");
}
$mesh->stop_load(@load);

# ---------- what is remembered ----------

# Node 1 deletes a row and puts it anew; node 2, which has not heard of that, deletes it later, in some way. So it is gone.
sub loses_to
{
	my ($id, $name, $delete) = @_;
	$mesh->pause(2, 1);
	$mesh->sql(1, "DELETE FROM t WHERE id = $id");
	$mesh->sql(1, "INSERT INTO t VALUES ($id, 'older')");
	$delete->("DELETE FROM t WHERE id = $id");
	$mesh->resume(2, 1);
	$mesh->wait_converged;
	is($mesh->sql($_, "SELECT count(*) FROM t WHERE id = $id"), 0, "$name: the older row is gone on node $_") for 1, 2;
}

sub restart
{
	my ($mode) = @_;
	$mesh->node(2)->stop($mode, fail_ok => 1);
	$mesh->start_server(2);
	$mesh->poll(2, "SELECT state FROM replication_plugin.links WHERE provider = 'node1'", 'paused') or die;
}

loses_to(1, 'a delete', sub { $mesh->sql(2, $_[0]) });
loses_to(2, 'a delete in a subtransaction', sub { $mesh->sql(2, "BEGIN; SAVEPOINT a; $_[0]; RELEASE a; SAVEPOINT b; DELETE FROM t WHERE id = 50; ROLLBACK TO b; COMMIT") });
loses_to(3, 'a delete before a restart', sub { $mesh->sql(2, $_[0]); restart('fast') });
loses_to(4, 'a delete before a crash', sub { $mesh->sql(2, $_[0]); restart('immediate') });
loses_to(5, 'a prepared delete', sub { $mesh->sql(2, "BEGIN; $_[0]; PREPARE TRANSACTION 'p'"); $mesh->sql(2, "COMMIT PREPARED 'p'") });
loses_to(6, 'a delete that was prepared before a crash',
	sub { $mesh->sql(2, "BEGIN; $_[0]; PREPARE TRANSACTION 'p'"); restart('immediate'); $mesh->sql(2, "COMMIT PREPARED 'p'") });
loses_to(7, 'a delete of the whole table', sub { $mesh->sql(2, 'TRUNCATE t'); $mesh->sql(2, "INSERT INTO t VALUES (1000, 'after')") });
loses_to(8, 'a change of the key', sub { $mesh->sql(2, "INSERT INTO t VALUES (8, 'there')"); $mesh->sql(2, "UPDATE t SET id = 1008 WHERE id = 8") });

# one that is in progress is waited for
$mesh->sql(1, "INSERT INTO t VALUES (9, 'first')");
$mesh->wait_converged;
$mesh->pause(2, 1);
$mesh->sql(1, 'DELETE FROM t WHERE id = 9');
$mesh->sql(1, "INSERT INTO t VALUES (9, 'older')");
$mesh->sql(2, "BEGIN; DELETE FROM t WHERE id = 9; PREPARE TRANSACTION 'p'");
$mesh->resume(2, 1);
ok($mesh->poll(2, "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.backend_type LIKE 'replication_plugin link%'"),
	'a delete in progress is waited for');
$mesh->sql(2, "COMMIT PREPARED 'p'");
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT count(*) FROM t WHERE id = 9'), 0, "a delete in progress: the older row is gone on node $_") for 1, 2;
$mesh->wait_converged;
$mesh->is_identical('all of it');
done_testing();
