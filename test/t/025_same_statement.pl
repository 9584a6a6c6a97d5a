# One statement, or one transaction, that deletes a key and puts it again: the put stands, on every node,
# also where the transaction is forwarded to a node that joins.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3);
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, <<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE refilled (id int PRIMARY KEY, v text);
CREATE TABLE parts (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b');
CREATE TABLE undead (id int PRIMARY KEY, v text);
CREATE FUNCTION rise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF OLD.v <> 'risen' THEN
		INSERT INTO undead VALUES (OLD.id, 'risen');
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER a AFTER DELETE ON undead FOR EACH ROW EXECUTE FUNCTION rise();
INSERT INTO t SELECT g, 'v' FROM generate_series(1, 10) g;
INSERT INTO refilled SELECT g, 'v' FROM generate_series(1, 10) g;
INSERT INTO parts SELECT g, 'a', 'v' FROM generate_series(1, 10) g;
INSERT INTO undead SELECT g, 'v' FROM generate_series(1, 10) g;
SQL
$mesh->join(2);
$mesh->wait_for_streaming(1, 2);

my @writes = (
	[ 'keys move over one another', 'BEGIN; DELETE FROM t WHERE id = 1; UPDATE t SET id = id - 1; COMMIT', 't', 9 ],
	[ 'deleted and put back in one statement', "WITH d AS (DELETE FROM t WHERE id IN (2, 3) RETURNING id) INSERT INTO t SELECT id, 'again' FROM d", 't', 9 ],
	[ 'deleted and put back in one transaction', "BEGIN; DELETE FROM t WHERE id > 5; INSERT INTO t SELECT g, 'new' FROM generate_series(6, 9) g; COMMIT", 't', 9 ],
	[ 'put and deleted', "BEGIN; INSERT INTO t VALUES (20, 'x'); DELETE FROM t WHERE id = 20; COMMIT", 't', 9 ],
	[ 'again and again', "BEGIN; DELETE FROM t WHERE id = 4; INSERT INTO t VALUES (4, 'x'); DELETE FROM t WHERE id = 4; INSERT INTO t VALUES (4, 'y');"
		. " DELETE FROM t WHERE id = 4; INSERT INTO t VALUES (4, 'z'); UPDATE t SET v = 'zz' WHERE id = 4; COMMIT", 't', 9 ],
	[ 'truncated and filled', "BEGIN; TRUNCATE refilled; INSERT INTO refilled SELECT g, 'filled' FROM generate_series(1, 10) g; COMMIT", 'refilled', 10 ],
	[ 'between partitions and back', "BEGIN; UPDATE parts SET region = 'b'; UPDATE parts SET region = 'a', v = 'back'; COMMIT", 'parts', 10 ],
	[ 'a trigger puts what is deleted', 'DELETE FROM undead WHERE id < 5', 'undead', 10 ],
	[ 'deleted for good', 'DELETE FROM undead WHERE id < 3', 'undead', 8 ]);

# directly, from either side
for my $w (@writes)
{
	my ($name, $sql, $table, $rows) = @$w;
	$mesh->sql(2, $sql);
	$mesh->wait_converged(1, 2);
	is($mesh->sql(1, "SELECT count(*) FROM $table"), $rows, $name);
	$mesh->is_identical($name, 1, 2);
}

# through a source: the joining node takes everything of all origins from it
$mesh->sql(1, "TRUNCATE t, refilled, parts, undead; INSERT INTO t SELECT g, 'v' FROM generate_series(1, 10) g;"
	. "INSERT INTO refilled SELECT g, 'v' FROM generate_series(1, 10) g; INSERT INTO parts SELECT g, 'a', 'v' FROM generate_series(1, 10) g;"
	. "INSERT INTO undead SELECT g, 'v' FROM generate_series(1, 10) g");
$mesh->wait_converged(1, 2);
# without a frontier row of node 2 it cannot get ready
$mesh->sql(2, $_) for "ALTER SYSTEM SET replication_plugin.frontier_interval = '1h'", 'SELECT pg_reload_conf()';
# a group worker that begins with the setting, and has written the row with which each one begins
$mesh->poll(2, 'SHOW replication_plugin.frontier_interval', '1h') or die;
my $before = $mesh->sql(2, "SELECT pg_terminate_backend(pid), pid FROM pg_stat_activity WHERE backend_type = 'replication_plugin group'") =~ s/.*\|//r || 0;
$mesh->poll(2, "SELECT f.written_at > a.backend_start FROM replication_plugin.frontier f, pg_stat_activity a
	WHERE f.node_id = 2 AND a.backend_type = 'replication_plugin group' AND a.pid <> $before") or die;
$mesh->start_join(3, 1);
$mesh->poll(3, q{SELECT state = 'joining: catching up' FROM replication_plugin.local_node}) or die;
$mesh->sql(2, $_->[1]) for @writes;
$mesh->wait_converged(1, 2);
is($mesh->sql(3, 'SELECT state FROM replication_plugin.local_node'), 'joining: catching up', 'not ready before all have acknowledged it');
$mesh->sql(2, $_) for 'ALTER SYSTEM RESET replication_plugin.frontier_interval', 'SELECT pg_reload_conf()';
is($mesh->sql(3, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'joined meanwhile');
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('forwarded by the source');
for my $i (1 .. 3) { is($mesh->sql($i, 'SELECT count(*) FROM replication_plugin.conflicts'), 0, "no conflicts on node $i")
		or diag($mesh->sql($i, 'SELECT table_name, conflict_type, resolution, row_key, local_row, local_origin, local_timestamp, remote_row, remote_origin, remote_timestamp FROM replication_plugin.conflicts ORDER BY detected_at LIMIT 20')); }
done_testing();
