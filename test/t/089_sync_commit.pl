# A commit is decoded before others on its node can see it: with synchronous replication, long before. A subscriber that
# asks for values which the stream left out gets those of that very row.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3, conf => "replication_plugin.reroute_timeout = 1h\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text, big text);
ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
INSERT INTO t SELECT g, 'first', repeat('first ', 600) FROM generate_series(1, 10) g;
SQL
$mesh->wait_converged;

$mesh->pause(2, 3);
$mesh->pause(1, 3);
# Commits on node 1 wait for a standby that is not there; they are in the WAL, and nobody sees them.
$mesh->sql(1, $_) for "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", 'SELECT pg_reload_conf()';
$mesh->poll(1, 'SHOW synchronous_standby_names', 'nobody') or die;
$mesh->sql(1, 'CHECKPOINT'); # the checkpointer puts the setting in force, before anything else that it does
# older states of rows that node 1 writes to as well, and does not see
$mesh->sql(3, "UPDATE t SET big = repeat('other ', 600) WHERE id IN (2, 3)");
my @writers = map { $mesh->spawn_sql(1, $_) } "UPDATE t SET id = 101, v = 'moved' WHERE id = 1", "UPDATE t SET v = 'new' WHERE id = 2",
	"BEGIN; UPDATE t SET v = 'one' WHERE id = 3; SAVEPOINT s; UPDATE t SET v = 'two' WHERE id = 3; RELEASE s; COMMIT",
	"BEGIN; DELETE FROM t WHERE id = 5; UPDATE t SET id = 5, v = 'from 6' WHERE id = 6; COMMIT";
$mesh->poll(1, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'", 4) or die;
is($mesh->sql(1, "SELECT count(*) FROM t WHERE v <> 'first'"), 0, 'nobody sees the writes');
my $expected = '2=new=first 3=two=first 5=from 6=first 101=moved=first';
my $rows = "SELECT string_agg(id || '=' || v || '=' || substr(big, 1, 5), ' ' ORDER BY id) FROM t WHERE id IN (1, 2, 3, 5, 6, 101)";
for my $i (3, 2)
{
	$mesh->resume(2, 3) if $i == 2;
	ok($mesh->poll($i, $rows, $expected), "node $i has them, whole");
}
# what has seen them does not come to be seen before them
$mesh->sql(2, "INSERT INTO t VALUES (201, 'effect', 'x')");
ok($mesh->poll(1, "SELECT state || ' ' || (waits_for LIKE 'node1 %') FROM replication_plugin.links WHERE provider = 'node2'", 'blocked true'), 'what has seen them waits');
is($mesh->sql(1, 'SELECT count(*) FROM t WHERE id = 201'), 0, 'and does not show');
$mesh->sql(1, $_) for 'ALTER SYSTEM RESET synchronous_standby_names', 'SELECT pg_reload_conf()';
waitpid $_, 0 for @writers;
$mesh->resume(1, 3);
$mesh->wait_for_streaming;
$mesh->wait_converged;
is($mesh->sql(1, $rows), $expected, 'and so it stays');
$mesh->is_identical('afterwards');
done_testing();
