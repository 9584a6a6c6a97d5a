# Changes of tables that their bookkeeping would not survive are refused, with what to do; and that is done. The type of a key column
# (int to bigint, as it has to one day): what was remembered of deleted keys of the old type stands in nobody's way. Names of mergeable tables.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2);
my @tables = qw(plain places cart parts);
$mesh->make_group('CREATE TABLE plain (id int PRIMARY KEY, v text);
	CREATE TABLE places (id int PRIMARY KEY, v text, place int UNIQUE);
	CREATE TABLE cart (id int PRIMARY KEY, v text);
	CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (100)');
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('cart', 'siblings')");
$mesh->sql(1, "INSERT INTO $_ SELECT g, 'old' FROM generate_series(1, 5) g") for @tables;
$mesh->wait_converged;
$mesh->sql(2, "DELETE FROM $_ WHERE id > 1") for @tables;
$mesh->wait_converged;

for my $t (@tables)
{
	my (undef, undef, $err) = $mesh->try_sql(1, "ALTER TABLE $t ALTER v TYPE varchar(100), ALTER id TYPE bigint");
	like($err, qr/cannot change the type of column "id", which is in the key of the replicated table public\.$t\n.*exclude_table\('public\.$t'\)/, "$t: refused, with what to do")
		if $t ne 'parts';
	like($err, qr/"id".*public\.parts/, 'parts: refused') if $t eq 'parts';
}
$mesh->all_sql('ALTER TABLE plain ALTER v TYPE varchar(100)');
$mesh->sql(1, "SELECT replication_plugin.exclude_table('$_')") for @tables;
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT (SELECT count(*) FROM replication_plugin.tombstone) + (SELECT count(*) FROM replication_plugin.row_state)'), 0,
	"node $_ has forgotten the deletes of excluded tables") for 1, 2;
$mesh->sql(1, "ALTER TABLE $_ ALTER id TYPE bigint") for grep { $_ ne 'parts' } @tables;
$mesh->sql(2, "ALTER TABLE $_ ALTER id TYPE bigint") for grep { $_ ne 'parts' } @tables;
$mesh->sql(1, "SELECT replication_plugin.include_table('$_')") for @tables;
$mesh->wait_converged;
for my $t (@tables)
{
	$mesh->sql(1, "INSERT INTO $t SELECT g, 'one' FROM generate_series(2, 3) g");
	$mesh->sql(2, "INSERT INTO $t SELECT g, 'two' FROM generate_series(4, 5) g");
}
$mesh->sql(2, "INSERT INTO $_ VALUES (5000000000, 'big')") for grep { $_ ne 'parts' } @tables;
$mesh->wait_converged;
$mesh->sql(1, "DELETE FROM $_ WHERE id IN (1, 2, 5)") for @tables;
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT count(*) FROM plain'), 3, "node $_ has all rows") for 1, 2;
$mesh->is_identical('bigint');

# a key of the old type that was remembered after all (those of the new type may be forgotten by now): nobody hears of it, as it is under
# the origin of repairs
$mesh->poll(1, "SELECT count(pg_replication_origin_session_setup(roname)) FROM pg_replication_origin WHERE roname LIKE '%_repair';
	INSERT INTO replication_plugin.tombstone SELECT 'plain'::regclass, 7, '\\x0001690407000000'
	RETURNING encode(key, 'hex')", "1\n0001690407000000") or die;
$mesh->sql(2, "INSERT INTO plain VALUES (7, 'seven')");
$mesh->wait_converged;
$mesh->is_identical('a remembered key of another type');

# names
$mesh->all_sql('CREATE SCHEMA shop; CREATE TABLE shop.posts (id int PRIMARY KEY, likes int, title text); CREATE SCHEMA other');
$mesh->sql(1, "SELECT replication_plugin.set_column_merge('shop.posts', 'likes', 'counter'); INSERT INTO shop.posts VALUES (1, 1, 'a')");
$mesh->wait_converged;
for my $case ([ 'ALTER TABLE shop.posts RENAME TO posts2', 'the table' ], [ 'ALTER TABLE shop.posts SET SCHEMA other', 'the table' ],
	[ 'ALTER TABLE shop.posts RENAME likes TO n', 'column "likes"' ], [ 'ALTER SCHEMA shop RENAME TO shop2', 'schema "shop"' ])
{
	my (undef, undef, $err) = $mesh->try_sql(2, $case->[0]);
	like($err, qr/cannot rename $case->[1]: the conflict policy and column merges of table shop\.posts .*\n.*exclude_table\('shop\.posts'\)/, "refused: $case->[0]");
}
$mesh->all_sql('ALTER TABLE shop.posts RENAME title TO name; ALTER TABLE plain RENAME TO plain2; ALTER TABLE plain2 SET SCHEMA other; ALTER SCHEMA other RENAME TO other2');
$mesh->sql(1, "SELECT replication_plugin.exclude_table('shop.posts')");
$mesh->wait_converged;
$mesh->all_sql('ALTER TABLE shop.posts RENAME likes TO n; ALTER TABLE shop.posts RENAME TO posts2; ALTER SCHEMA shop RENAME TO shop2');
$mesh->sql(2, "SELECT replication_plugin.set_column_merge('shop2.posts2', 'n', 'counter')");
$mesh->wait_converged;
$mesh->pause_all;
$mesh->sql($_, 'UPDATE shop2.posts2 SET n = n + 1') for 1, 2;
$mesh->sql(1, "UPDATE other2.plain2 SET v = 'renamed'");
$mesh->resume_all;
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT n FROM shop2.posts2'), 3, "node $_: after excluding it, names change, and it merges again") for 1, 2;
$mesh->is_identical('names');

done_testing();
