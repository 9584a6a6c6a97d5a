# What is kept of a table that waits is of that table, and of no other that has its name later: it is dropped, made anew, left out; and where it came from leaves.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Waiting;

my $mesh = Mesh->new(3, conf => "replication_plugin.table_patience = 1s\n");
my $as = 'SET SESSION AUTHORIZATION mallory; ';
$mesh->sql($_, 'CREATE ROLE mallory LOGIN') for 1 .. 3;
$mesh->make_group(<<"SQL");
CREATE TABLE bank (id int PRIMARY KEY, v text);
CREATE SCHEMA m AUTHORIZATION mallory;
$as
@{[fails()]};
CREATE TABLE m.t (id int PRIMARY KEY, v text);
CREATE TABLE m.left_out (id int PRIMARY KEY, v text);
CREATE TABLE m.unsent (id int PRIMARY KEY, v text, n int);
ALTER TABLE m.unsent ALTER v SET STORAGE EXTERNAL;
INSERT INTO m.unsent VALUES (1, repeat('x', 9000), 1);
SQL


# how many changes of a table are kept
sub keeps
{
	my ($i, $t, $n, $what) = @_;
	ok($mesh->poll($i, "SELECT changes FROM replication_plugin.waiting_tables WHERE \"table\" = '$t'", $n, 60), $what || "$n changes of $t are kept on node $i")
		or diag($mesh->sql($i, 'SELECT * FROM replication_plugin.waiting_tables; SELECT provider, state, last_error FROM replication_plugin.links'));
}

# Everybody has stopped writing, and all has arrived.
sub made_anew
{
	my ($t, $drop, $anew) = @_;
	$mesh->sql(1, "$as INSERT INTO $t VALUES (1, 'old'), (2, 'old')");
	keeps(2, 't', 2);
	$mesh->sql($_, "$as SELECT replication_plugin.wait_for_apply()") for 1 .. 3;
	$drop->();
	is($mesh->sql(2, 'SELECT count(*) FROM replication_plugin.waiting_change'), '0', 'nothing is kept');
	$mesh->sql($_, "$as $anew CREATE TABLE $t (id int PRIMARY KEY, v text)") for 1 .. 3;
	$mesh->sql(1, "$as INSERT INTO $t VALUES (3, 'new')");
	ok($mesh->poll(2, "SELECT string_agg(id || v, ' ') FROM $t", '3new', 60), 'a table that is made under its name has none of it');
	nothing_waits($mesh, 'in the end', 1 .. 3);
	$mesh->wait_converged;
	$mesh->is_identical('made anew');
}

subtest 'dropped, and made anew' => sub {
	my $warning = qr/WARNING:  2 changes of table \w\.t from other nodes that were kept on this node are given up, as it is dropped/;
	hinder($mesh, 2, 't');
	made_anew('m.t', sub {
		like(($mesh->try_sql(2, "$as DROP TABLE m.t"))[2], $warning, 'it is said what is given up');
		$mesh->sql($_, "$as DROP TABLE m.t") for 1, 3;
	}, '');
	$mesh->sql($_, "GRANT CREATE ON DATABASE app TO mallory; $as CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, v text)") for 1 .. 3;
	$mesh->sql(2, "$as CREATE TRIGGER t BEFORE INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION m.fails(); ALTER TABLE s.t ENABLE ALWAYS TRIGGER t");
	made_anew('s.t', sub {
		like(($mesh->try_sql(2, "$as DROP SCHEMA s CASCADE"))[2], $warning, 'with its schema');
		$mesh->sql($_, "$as DROP SCHEMA s CASCADE") for 1, 3;
	}, 'CREATE SCHEMA s;');
	hinder($mesh, 2, 't');
	my $old = $mesh->node(2)->background_psql('app', extra_params => [ '-U', 'mallory' ]);
	$old->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM m.t');
	made_anew('m.t', sub {
		$old->query('DROP TABLE m.t; COMMIT');
		$old->quit;
		$mesh->sql($_, "$as DROP TABLE m.t") for 1, 3;
	}, '');
	is($mesh->sql(2, q{SELECT count(*) FROM replication_plugin.conflicts WHERE conflict_type = 'table_missing' AND resolution = 'skip'
		AND detail = '2 changes that were kept: the table was dropped on this node'}), '3', 'the view conflicts tells');
	hinder($mesh, 2, 't');
	$mesh->sql(1, "$as INSERT INTO m.t VALUES (4, 'x')");
	keeps(2, 't', 1);
	$mesh->try_sql(2, "$as BEGIN; DROP TABLE m.t; ROLLBACK");
	keeps(2, 't', 1, 'nothing is given up where it is not dropped after all');
	$mesh->sql(2, "$as DROP TRIGGER t ON m.t");
	nothing_waits($mesh, 'in the end', 2);
};

# The hint of the view waiting_tables: give it its former name.
subtest 'renamed before its rows came to wait' => sub {
	$mesh->sql($_, "$as CREATE TABLE m.name (id int PRIMARY KEY)") for 1 .. 3;
	$mesh->sql(2, "$as ALTER TABLE m.name RENAME TO name2");
	$mesh->sql(1, "$as INSERT INTO m.name VALUES (1), (2)");
	keeps(2, 'name', 2);
	$mesh->sql($_, "$as ALTER TABLE m.name RENAME TO name2") for 1, 3;
	$mesh->sql(1, "$as DELETE FROM m.name2 WHERE id = 1");
	$mesh->sql(1, 'INSERT INTO bank VALUES (-1); DELETE FROM bank');
	$mesh->wait_converged;
	my $deletes = sub { return "SELECT count(*) FROM replication_plugin.tombstone WHERE relid = '$_[0]'::regclass"; };
	ok($mesh->poll(2, $deletes->('bank'), '0', 60), 'deletes that all have are forgotten');
	is($mesh->sql(2, $deletes->('m.name2')), '1', 'but not those of a table that what waits may belong to');
	$mesh->sql(2, "$as ALTER TABLE m.name2 RENAME TO name");
	nothing_waits($mesh, 'in the end', 2);
	$mesh->sql(2, "$as ALTER TABLE m.name RENAME TO name2");
	is($mesh->sql(2, 'SELECT string_agg(id::text, $$ $$) FROM m.name2'), '2', 'a row that was deleted meanwhile stays so');
	$mesh->wait_converged;
	$mesh->is_identical('renamed');
};

subtest 'left out while it exists and fails' => sub {
	hinder($mesh, 2, 'left_out');
	$mesh->sql(1, "$as INSERT INTO m.left_out VALUES (1, 'x'), (2, 'x')");
	keeps(2, 'left_out', 2);
	$mesh->sql(1, "SELECT replication_plugin.exclude_table('m.left_out')");
	nothing_waits($mesh, 'in the end', 2);
	is($mesh->sql(2, 'SELECT count(*) FROM m.left_out'), '0', 'what was kept is passed over');
	$mesh->sql(2, "$as DROP TRIGGER t ON m.left_out");
};

# Node 3 gets what node 1 writes by way of node 2.
subtest 'gone when a node met it, and made anew' => sub {
	$mesh->sql(1, "SELECT replication_plugin.set_topology('star', '{node2,node1,node3}')");
	$mesh->wait_for_links(Mesh::star_links(2, 1, 3));
	$mesh->sql(3, "SELECT replication_plugin.pause_link('node2')");
	$mesh->sql(1, "$as CREATE TABLE m.scratch (id int PRIMARY KEY); INSERT INTO m.scratch VALUES (1)");
	keeps(2, 'scratch', 1);
	$mesh->sql(1, "$as DROP TABLE m.scratch");
	$mesh->sql(3, "SELECT replication_plugin.resume_link('node2')");
	ok($mesh->poll(3, q{SELECT count(*) FROM replication_plugin.conflicts WHERE table_name = 'm.scratch' AND conflict_type = 'table_missing'}, '1', 60), 'its rows are passed over on node 3')
		or diag($mesh->sql(3, 'SELECT * FROM replication_plugin.waiting_tables; SELECT provider, state, last_error FROM replication_plugin.links'));
	$mesh->sql(1, "$as CREATE TABLE m.scratch (id int PRIMARY KEY); INSERT INTO m.scratch VALUES (2)");
	$mesh->sql(1, "INSERT INTO bank VALUES (1, 'behind')");
	ok($mesh->poll(3, 'SELECT count(*) FROM bank', '1', 60), 'node 3 has what came behind');
	$mesh->sql($_, "$as CREATE TABLE m.scratch (id int PRIMARY KEY)") for 2, 3;
	ok($mesh->poll(3, 'SELECT string_agg(id::text, $$ $$) FROM m.scratch WHERE id > 1', '2', 60), 'node 3 has the row of the new one')
		or diag($mesh->sql(3, 'SELECT * FROM replication_plugin.waiting_tables'));
	nothing_waits($mesh, 'in the end', 1 .. 3);
	$mesh->sql(1, "SELECT replication_plugin.set_topology('all_to_all')");
	$mesh->wait_for_links(Mesh::mesh_links(1 .. 3));
};

subtest 'what is kept is of a node that has left' => sub {
	hinder($mesh, 1, 'unsent');
	# node 3 updates another state of the row, and does not send the value that it does not touch
	$mesh->sql(3, "SELECT replication_plugin.pause_link('node1')");
	$mesh->sql(1, "$as UPDATE m.unsent SET v = repeat('y', 9000)");
	ok($mesh->poll(2, "SELECT left(v, 1) FROM m.unsent", 'y', 60), 'node 2 has what node 1 wrote');
	$mesh->sql(3, "$as UPDATE m.unsent SET n = 2");
	keeps(1, 'unsent', 1);
	ok($mesh->poll(2, "SELECT left(v, 1) || n FROM m.unsent", 'x2', 60), 'node 2 has what node 3 wrote');
	$mesh->node(3)->stop('fast');
	$mesh->sql(1, "SELECT replication_plugin.remove_node('node3', lost => true)");
	$mesh->sql(1, "$as DROP TRIGGER t ON m.unsent");
	ok($mesh->poll(1, q{SELECT bool_or(reason ~ 'node 3, which sent it, is no member any more') FROM replication_plugin.waiting_tables}, 't', 60), 'the reason says so')
		or diag($mesh->sql(1, 'SELECT * FROM replication_plugin.waiting_tables'));
	$mesh->sql(2, "SELECT replication_plugin.resend_table('m.unsent')");
	ok($mesh->poll(1, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 60), 'and resend_table() ends that');
};
done_testing();
