# A group of version 1.0, with data, conflicts, siblings and parked rows, becomes one of this version: at a standstill its servers get the new
# files. Until ALTER EXTENSION has run, nobody writes and workers wait, and both say why.
use strict;
use warnings;
use File::Basename;
use Mesh;
use Test::More;

plan skip_all => 'version 1.0 is not built' unless $ENV{OLD_BIN};

my $mesh = Mesh->new(3, install_path => dirname($ENV{OLD_BIN}));
$mesh->make_group('CREATE TABLE plain (id int PRIMARY KEY, v text); CREATE TABLE wiki (id int PRIMARY KEY, v text);
	CREATE TABLE posts (id int PRIMARY KEY, likes int); CREATE TABLE rooms (id int PRIMARY KEY, name text UNIQUE);
	INSERT INTO plain SELECT g, $$old $$ || g FROM generate_series(1, 1000) g');
is($mesh->sql(1, "SELECT extversion FROM pg_extension WHERE extname = 'replication_plugin'"), '1.0', 'a group of version 1.0');
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('wiki', 'siblings'), replication_plugin.set_column_merge('posts', 'likes', 'counter')");
$mesh->sql(1, 'INSERT INTO posts VALUES (1, 0)');
$mesh->wait_converged;
$mesh->pause_all;
$mesh->sql($_, "INSERT INTO wiki VALUES (1, 'of $_'); UPDATE posts SET likes = likes + $_; INSERT INTO rooms VALUES ($_, 'one');
	DELETE FROM plain WHERE id = 100 + $_; UPDATE plain SET v = 'by $_' WHERE id < 10") for 1 .. 3;
$mesh->sql($_, "SELECT replication_plugin.resume_link(node_name) FROM replication_plugin.nodes WHERE NOT is_local") for 1 .. 3;
$mesh->wait_converged;
$mesh->is_identical('before the update');

for my $i (1 .. 3)
{
	my $node = $mesh->node($i);
	$node->stop;
	delete $node->{_install_path};
	$node->start;
}
for my $i (1 .. 3)
{
	my (undef, undef, $err) = $mesh->try_sql($i, "INSERT INTO plain VALUES (5000 + $i, 'too early')");
	like($err, qr/ERROR:.*extension.*1\.0.*\n?HINT:.*ALTER EXTENSION replication_plugin UPDATE/s, "node $i: writes wait for ALTER EXTENSION");
	is($mesh->sql($i, 'SELECT count(*) FROM plain'), 997, "node $i: reads work");
}
$mesh->sql($_, 'ALTER EXTENSION replication_plugin UPDATE') for 1 .. 3;
$mesh->wait_for_streaming;
for my $i (1 .. 3)
{
	is($mesh->sql($i, 'SELECT count(*) FROM replication_plugin.siblings($$wiki$$, $${"id": 1}$$)'), 3, "node $i: siblings are kept");
	is($mesh->sql($i, 'SELECT likes FROM posts'), 6, "node $i: counters are kept");
	is($mesh->sql($i, 'SELECT count(*) FROM replication_plugin.parked_rows'), 2, "node $i: parked rows are kept");
}
$mesh->sql($_, "INSERT INTO plain VALUES (6000 + $_, 'new'); UPDATE posts SET likes = likes + 1") for 1 .. 3;
$mesh->sql(2, 'DELETE FROM rooms');
$mesh->poll($_, 'SELECT (SELECT count(*) FROM rooms), (SELECT count(*) FROM replication_plugin.parked_rows)', '1|1') for 1 .. 3;
$mesh->sql(3, "UPDATE wiki SET v = 'settled'");
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT likes FROM posts'), 9, "node $_: counters go on") for 1 .. 3;
$mesh->is_identical('after the update');
done_testing();
