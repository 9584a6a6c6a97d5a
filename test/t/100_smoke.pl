# Something of every area in one group, in less than a minute: what a build is worth that nobody has tried yet. Runs on
# the stock server with the files that "make install" installs, too.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3);
my @views = split /\n/, $mesh->sql(1, "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'replication_plugin'::regnamespace AND c.relkind = 'v' ORDER BY 1");
is($mesh->sql(1, 'SELECT string_agg(requirement, $$, $$) FROM replication_plugin.preflight() WHERE NOT ok'), '', 'preflight finds nothing');

# a group, and nodes that join it with its schema and rows
$mesh->make_group(<<'SQL');
CREATE TABLE plain (id int PRIMARY KEY, v text, big text);
CREATE TABLE wiki (id int PRIMARY KEY, v text);
CREATE TABLE cart (id int PRIMARY KEY, items text[]);
CREATE TABLE posts (id int PRIMARY KEY, likes int, tags text[], meta jsonb);
CREATE TABLE rooms (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
CREATE TABLE log (at int, v text);
ALTER TABLE log REPLICA IDENTITY FULL;
CREATE FUNCTION both_carts(older cart, newer cart) RETURNS cart LANGUAGE sql IMMUTABLE
	RETURN ROW(newer.id, ARRAY(SELECT DISTINCT x FROM unnest(older.items || newer.items) x ORDER BY 1))::cart;
INSERT INTO plain SELECT g, 'row ' || g, repeat(md5(g::text), 200) FROM generate_series(1, 100) g;
SQL
$mesh->is_identical('a join copies the rows');
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('wiki', 'siblings'), replication_plugin.set_conflict_policy('cart', 'handler', 'both_carts(cart,cart)'),
	replication_plugin.set_column_merge('posts', 'likes', 'counter'), replication_plugin.set_column_merge('posts', 'tags', 'set'),
	replication_plugin.set_column_merge('posts', 'meta', 'map')");
$mesh->sql(1, "INSERT INTO posts VALUES (1, 0, '{}', '{}'); INSERT INTO parts VALUES (1, 'x'), (101, 'y'); INSERT INTO log VALUES (1, 'a'), (1, 'a'), (2, 'b')");
$mesh->wait_converged;

# concurrent writes of each kind
$mesh->pause_all;
for my $i (1 .. 3)
{
	$mesh->sql($i, "UPDATE plain SET v = 'of $i' WHERE id = 1; DELETE FROM plain WHERE id = 10 + $i; UPDATE plain SET id = 1000 + $i WHERE id = 20 + $i;
		INSERT INTO wiki VALUES (1, 'of $i'); INSERT INTO cart VALUES (1, '{item$i}');
		UPDATE posts SET likes = likes + $i, tags = tags || '{tag$i}', meta = meta || '{\"key$i\": $i}';
		INSERT INTO rooms VALUES ($i, 'the best one'); UPDATE parts SET v = 'of $i' WHERE id = 101; INSERT INTO log VALUES (10 + $i, 'of $i')");
}
$mesh->sql(1, 'DELETE FROM log WHERE v = $$b$$; UPDATE parts SET id = 150 WHERE id = 1');
$mesh->sql($_, "SELECT replication_plugin.resume_link(node_name) FROM replication_plugin.nodes WHERE NOT is_local") for 1 .. 3;
$mesh->wait_converged;
$mesh->is_identical('after concurrent writes');
for my $i (1 .. 3)
{
	is($mesh->sql($i, 'SELECT count(*) FROM replication_plugin.siblings($$wiki$$, $${"id": 1}$$)'), 3, "node $i: three siblings");
	is($mesh->sql($i, 'SELECT items FROM cart'), '{item1,item2,item3}', "node $i: the handler's union");
	is($mesh->sql($i, 'SELECT likes, (SELECT count(*) FROM unnest(tags)), (SELECT count(*) FROM jsonb_object_keys(meta)) FROM posts'), '6|3|3', "node $i: counter, set and map");
	is($mesh->sql($i, 'SELECT (SELECT count(*) FROM rooms), (SELECT count(*) FROM replication_plugin.parked_rows)'), '1|2', "node $i: one in the place, two parked");
	is($mesh->sql($i, 'SELECT string_agg(v, $$ $$ ORDER BY at, v) FROM log'), 'a a of 1 of 2 of 3', "node $i: a table without a key");
	cmp_ok($mesh->sql($i, 'SELECT coalesce(sum(count), 0) FROM replication_plugin.conflict_stats'), '>=', 0, "node $i: counts of conflicts");
	ok(defined $mesh->sql($i, "SELECT count(*) FROM replication_plugin.$_"), "node $i: view $_ can be read") for @views;
}
$mesh->sql(2, 'DELETE FROM rooms');
$mesh->poll($_, 'SELECT (SELECT count(*) FROM rooms), (SELECT count(*) FROM replication_plugin.parked_rows)', '1|1') for 1 .. 3;
$mesh->sql(3, "SELECT replication_plugin.resolve('wiki', '{\"id\": 1}', '{\"id\": 1, \"v\": \"settled\"}', replication_plugin.causal_context('wiki', '{\"id\": 1}'))");
$mesh->sql(2, 'TRUNCATE parts');
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT v, (SELECT count(*) FROM parts) FROM wiki'), 'settled|0', "node $_: resolved, and truncated") for 1 .. 3;

# another shape, a crash, a restart
$mesh->sql(1, "SELECT replication_plugin.set_topology('star', nodes => '{node1,node2,node3}')");
$mesh->wait_for_links(Mesh::star_links(1, 2, 3));
$mesh->sql(2, "INSERT INTO plain VALUES (2000, 'through the hub')");
$mesh->wait_converged;
is($mesh->sql(3, 'SELECT v FROM plain WHERE id = 2000'), 'through the hub', 'a star forwards');
$mesh->node(3)->stop('immediate');
$mesh->sql(1, "INSERT INTO plain VALUES (2001, 'while one is down')");
$mesh->node(3)->start;
$mesh->sql(1, "SELECT replication_plugin.set_topology('all_to_all')");
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('after a crash');

# for other programs
$mesh->sql(1, "SELECT pg_create_logical_replication_slot('audit', 'replication_plugin')");
$mesh->sql(1, "INSERT INTO plain VALUES (3000, 'seen', NULL)");
like($mesh->sql(1, "SELECT data FROM pg_logical_slot_get_changes('audit', NULL, NULL, 'format', 'json')"),
	qr/"action":"I","schema":"public","table":"plain","columns":\[\{"name":"id","type":"integer","value":3000\}/, 'changes as JSON');
$mesh->sql(1, "SELECT pg_drop_replication_slot('audit')");

# out again
is($mesh->sql(3, 'SELECT replication_plugin.leave_group()'), '', 'a node leaves');
$mesh->sql(3, 'DROP EXTENSION replication_plugin');
$mesh->poll($_, "SELECT count(*) FROM replication_plugin.nodes WHERE state = 'ready'", '2') for 1, 2;
$mesh->sql(2, "INSERT INTO plain VALUES (4000, 'two are left')");
$mesh->wait_converged(1, 2);
$mesh->is_identical('two are left', 1, 2);
done_testing();
