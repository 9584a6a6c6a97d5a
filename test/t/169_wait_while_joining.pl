# A table begins to wait on a node through which another one joins: the members go on, and the one that joins is told to begin anew.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(3, conf => "replication_plugin.table_patience = 1s\n");
my $as = 'SET SESSION AUTHORIZATION mallory; ';
my $fails = "CREATE FUNCTION m.fails() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF session_user <> 'mallory' THEN RAISE 'no way'; END IF; RETURN new; END \$\$";

$mesh->sql($_, 'CREATE ROLE mallory LOGIN') for 1 .. 3;
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, "CREATE TABLE bank (id int PRIMARY KEY, v text); CREATE SCHEMA m AUTHORIZATION mallory; $as $fails; CREATE TABLE m.t (id int PRIMARY KEY, v text); INSERT INTO m.t VALUES (1, 'copied'), (2, 'copied')");
$mesh->join(2);

# node 2 does not hear that node 3 joins, so node 3 cannot get ready
$mesh->sql(2, "SELECT replication_plugin.pause_link('node1')");
ok($mesh->poll(2, "SELECT state FROM replication_plugin.links WHERE provider = 'node1'", 'paused'), 'node 2 takes nothing from node 1');
$mesh->start_join(3, 1);
ok($mesh->poll(3, "SELECT progress ~ 'catching up, waiting for its acknowledgement by node2' FROM replication_plugin.nodes WHERE is_local", 't', 120), 'node 3 catches up');

$mesh->sql(1, "$as CREATE TRIGGER t BEFORE INSERT OR UPDATE ON m.t FOR EACH ROW EXECUTE FUNCTION m.fails(); ALTER TABLE m.t ENABLE ALWAYS TRIGGER t");
$mesh->sql(2, "$as UPDATE m.t SET v = 'by node 2' WHERE id = 1; INSERT INTO m.t VALUES (3, 'by node 2')");
$mesh->sql(2, "INSERT INTO bank VALUES (1, 'goes on')");
ok($mesh->poll(1, 'SELECT v FROM bank WHERE id = 1', 'goes on', 60), 'others go on, also while a node joins')
	or diag($mesh->sql(1, 'SELECT provider, state, last_error FROM replication_plugin.links; SELECT * FROM replication_plugin.waiting_tables'));
ok($mesh->poll(3, "SELECT progress ~ 'the link from the source fails: see the view links' FROM replication_plugin.nodes WHERE is_local", 't', 60), 'the node that joins says that it cannot go on');
like($mesh->sql(3, 'SELECT last_error FROM replication_plugin.links'), qr/changes of table m\.t have come to wait on the source of the join.*rejoin\(\)/s, 'and why, and what to do');
is($mesh->sql(3, "SELECT v FROM m.t WHERE id = 1"), 'copied', 'it has decided nothing');

# the hint, by way of another member
$mesh->sql(2, "SELECT replication_plugin.resume_link('node1')");
$mesh->sql(3, sprintf("SELECT replication_plugin.rejoin(via => '%s')", $mesh->dsn(2)));
is($mesh->sql(3, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'node 3 joins by way of node 2');
is($mesh->sql(3, "SELECT string_agg(id || v, ' ' ORDER BY id) FROM m.t"), '1by node 2 2copied 3by node 2', 'with the rows that node 1 keeps');
$mesh->sql(1, "$as DROP TRIGGER t ON m.t");
ok($mesh->poll(1, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 120), 'nothing waits any more');
$mesh->sql(3, "$as INSERT INTO m.t VALUES (4, 'by node 3'); UPDATE m.t SET v = 'by node 3' WHERE id = 2");
$mesh->wait_converged(1 .. 3);
$mesh->is_identical('all nodes', 1 .. 3);
is($mesh->sql($_, "SELECT string_agg(node_name || ' ' || state, ', ' ORDER BY node_name) FROM replication_plugin.nodes WHERE state <> 'needs_rejoin'"), 'node1 ready, node2 ready, node3 ready', "node $_ knows three members") for 1 .. 3;
done_testing();
