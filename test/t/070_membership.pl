# Nodes leave, are removed, come back, are cloned; bad joins are refused; nothing is left behind.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3);
my ($status, $out, $err);

sub refused
{
	my ($i, $sql, $like, $what) = @_;
	($status, $out, $err) = $mesh->try_sql($i, $sql);
	isnt($status, 0, "$what is refused");
	like($err, $like, "$what: the message says why");
}

# before and at the beginning of a group
refused(1, "SELECT replication_plugin.create_group('g', 'node1', 'host=/nowhere dbname=app')", qr/could not connect/, 'a dsn that leads nowhere');
refused(1, "SELECT replication_plugin.create_group('g', 'node1', 'no dsn at all')", qr/invalid dsn/, 'a malformed dsn');
refused(1, sprintf("SELECT replication_plugin.create_group('g', 'node1', '%s')", $mesh->dsn(2)), qr/leads to another server/, 'the dsn of another server');
refused(1, sprintf("SELECT replication_plugin.create_group('g', 'node1', '%s')", $mesh->dsn(1, 'postgres')), qr/leads to another (server|database)/, 'the dsn of another database');
is($mesh->sql(1, 'SELECT count(*) FROM replication_plugin.nodes'), 0, 'nothing half-made is left');
refused(2, sprintf("SELECT replication_plugin.join_group('node2', '%s', '%s')", $mesh->dsn(2), $mesh->dsn(1)), qr/is in no group/, 'joining where no group is');
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, 'CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g FROM generate_series(1, 100) g');
refused(1, sprintf("SELECT replication_plugin.create_group('two', 'x', '%s')", $mesh->dsn(1)), qr/already node "node1"/, 'a second group in one database');
refused(2, sprintf("SELECT replication_plugin.join_group('node1', '%s', '%s')", $mesh->dsn(2), $mesh->dsn(1)), qr/name "node1" is taken/, 'a name that is taken');
refused(2, sprintf("SELECT replication_plugin.join_group('node2', '%s', '%s')", $mesh->dsn(1), $mesh->dsn(1)), qr/leads to another server/, 'joining with the dsn of another');
refused(2, sprintf("SELECT replication_plugin.join_group('node2', '%s', 'host=/nowhere dbname=app')", $mesh->dsn(2)), qr/could not connect/, 'a via that leads nowhere');
$mesh->sql(2, 'CREATE TABLE already (id int)');
refused(2, sprintf("SELECT replication_plugin.join_group('node2', '%s', '%s')", $mesh->dsn(2), $mesh->dsn(1)), qr/has contents of its own/, 'a database with other contents');
$mesh->sql(2, 'DROP TABLE already');
$mesh->node(3)->safe_psql('postgres', "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
$mesh->sql(3, 'CREATE EXTENSION replication_plugin', 'latin');
($status, $out, $err) = $mesh->try_sql(3, sprintf("SELECT replication_plugin.join_group('node3', '%s', '%s')", $mesh->dsn(3, 'latin'), $mesh->dsn(1)), 'latin');
like($err, qr/has encoding UTF8, this database has LATIN1/, 'another encoding is refused');
is($mesh->sql(2, 'SELECT count(*) FROM replication_plugin.nodes'), 0, 'nothing half-made is left');
is($mesh->sql(1, "SELECT count(*) FROM pg_replication_slots WHERE slot_name !~ 'group'"), 0, 'no slots either');

# another group of the same name is another group
$mesh->sql(3, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(3)));
refused(3, sprintf("SELECT replication_plugin.join_group('node3', '%s', '%s')", $mesh->dsn(3), $mesh->dsn(1)), qr/already node/, 'a second join');
($status, $out, $err) = $mesh->try_sql(3, "SELECT replication_plugin.handshake('{\"group_id\": \"00000000-0000-0000-0000-000000000001\", \"node_id\": 1}')");
like($err, qr/is in another group: "test"/, 'a peer of another group of that name is told so');
$mesh->sql(3, 'SELECT replication_plugin.leave_group()');

$mesh->join(2);
$mesh->join(3);
$mesh->wait_for_streaming;
$mesh->is_identical('three members');

# a member that is down makes a join say so
my $four = $mesh->add_server;
$mesh->kill_server(3);
refused(4, sprintf("SELECT replication_plugin.join_group('node4', '%s', '%s')", $mesh->dsn(4), $mesh->dsn(1)), qr/member "node3" cannot be reached/, 'joining while a member is down');
$mesh->start_server(3);
$mesh->wait_for_streaming(1 .. 3);

# a copy of a server
my $copy = $mesh->add_server(backup_of => 2);
ok($mesh->poll(5, "SELECT progress ~ 'this server is a copy' FROM replication_plugin.nodes WHERE is_local"), 'a copy of a server notices that it is one');
is($mesh->sql(5, 'SELECT count(*) FROM replication_plugin.links WHERE transactions > 0'), 0, 'and takes nothing');
$mesh->sql(1, "INSERT INTO t VALUES (1000, 'after the copy')");
$mesh->wait_converged(1 .. 3);
$mesh->is_identical('the original is not disturbed', 1 .. 3);
$mesh->sql(5, 'SELECT replication_plugin.forget_group()');
is($mesh->sql(5, 'SELECT count(*) FROM replication_plugin.nodes'), 0, 'the copy is taken out');
$mesh->node(5)->stop('immediate');

# dropping is refused with what to call first
refused(2, 'DROP EXTENSION replication_plugin CASCADE', qr/leave_group/, 'DROP EXTENSION');
refused(2, 'DROP SCHEMA replication_plugin CASCADE', qr/cannot drop/, 'DROP SCHEMA');
($status, $out, $err) = $mesh->try_sql(2, 'DROP DATABASE app', 'postgres');
like($err, qr/node of a replication group.*leave_group/s, 'DROP DATABASE is refused with what to call first');

# removed from outside, with writes of its own that only one member has
$mesh->sql(2, "SELECT replication_plugin.pause_link('node3')");
$mesh->poll(2, "SELECT state FROM replication_plugin.links WHERE provider = 'node3'", 'paused') or die;
$mesh->sql(3, "INSERT INTO t SELECT g, 'last words' FROM generate_series(2001, 2050) g; UPDATE t SET v = 'by 3' WHERE id <= 10");
$mesh->poll(1, "SELECT count(*) FROM t WHERE v = 'last words'", 50) or die;
$mesh->kill_server(3);
$mesh->sql(1, "SELECT replication_plugin.remove_node('node3', lost => true)");
ok($mesh->poll(2, "SELECT state FROM replication_plugin.nodes WHERE node_name = 'node3'", 'removed'), 'all members know of the removal');
ok($mesh->poll(2, "SELECT count(*) FROM t WHERE v = 'last words'", 50), 'what one member had of it, the others get');
$mesh->wait_converged(1, 2);
$mesh->is_identical('after the removal', 1, 2);
for my $i (1, 2)
{
	ok($mesh->poll($i, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%\\_3'", 0), "its slot on node $i is gone");
	ok($mesh->poll($i, "SELECT count(*) FROM replication_plugin.links WHERE provider = 'node3'", 0), "its link on node $i is gone");
	is($mesh->sql($i, "SELECT count(*) FROM pg_replication_origin WHERE roname ~ '_3(@|\$)'"), 1, "its origin on node $i stays");
}
# it comes back and is told
$mesh->start_server(3);
ok($mesh->is_told(3, 'has been removed', 'removed'), 'the removed node is told that it is out') or $mesh->dump_state;
$mesh->sql(3, 'SELECT replication_plugin.forget_group()');
$mesh->sql(3, 'DROP TABLE t');
$mesh->join(3);
$mesh->wait_for_streaming(1 .. 3);
$mesh->is_identical('it joined again', 1 .. 3);
is($mesh->sql(3, "SELECT node_id FROM replication_plugin.nodes WHERE is_local") > 3, 1, 'with a new number');
refused(1, "SELECT replication_plugin.remove_node('nobody')", qr/there is no node "nobody"/, 'removing an unknown node');
refused(1, "SELECT replication_plugin.remove_node('node1')", qr/is this node/, 'removing oneself');

# leaving: nothing stays behind
$mesh->sql(2, "INSERT INTO t VALUES (3000, 'before leaving')");
$mesh->sql(2, 'SELECT replication_plugin.leave_group()');
is($mesh->sql(1, 'SELECT v FROM t WHERE id = 3000'), 'before leaving', 'its last write is here');
is($mesh->sql(2, 'SELECT count(*) FROM pg_replication_slots'), 0, 'no slot');
is($mesh->sql(2, 'SELECT count(*) FROM pg_replication_origin'), 0, 'no origin');
is($mesh->sql(2, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'replication_plugin%' AND tgrelid = 't'::regclass"), 0, 'no trigger');
ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND backend_type LIKE 'replication_plugin%'", 0), 'no worker');
ok($mesh->poll(1, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE '%\\_2'", 0), 'no slot for it elsewhere');
$mesh->sql(2, 'DELETE FROM t WHERE id = 3000');
$mesh->sql(2, 'DROP EXTENSION replication_plugin');
$mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'", 0, undef, 'postgres');
$mesh->node(2)->safe_psql('postgres', 'DROP DATABASE app');
pass('DROP EXTENSION and DROP DATABASE work');
$mesh->wait_converged(1, 3);
$mesh->is_identical('those who stay', 1, 3);
done_testing();
