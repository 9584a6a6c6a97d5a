# Tables without a key, REPLICA IDENTITY FULL: a change is about the row with the identical image, also where the type's equality
# does not tell rows apart, or there is none; of identical rows about one. Many changes do not need a search of the table each.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = Mesh::seed();
my $mesh = Mesh->new(2);
my $setup = <<'SQL';
CREATE EXTENSION citext;
CREATE TYPE pair AS (a int, b text);
CREATE TABLE ev (k int, j json);
CREATE TABLE num (n numeric, v int);
CREATE TABLE flt (f float8, r real);
CREATE TABLE pt (p point, v text);
CREATE TABLE big (k int, a text, j json);
CREATE TABLE same (k int);
CREATE TABLE arr (k int, a int[], p pair, v int);
CREATE TABLE ci (c citext, v int);
CREATE INDEX ON ci (c);
CREATE TABLE nums (a numeric[], p pair, v int);
CREATE TABLE alt (k int, gone text, n numeric, g numeric GENERATED ALWAYS AS (n * 2) STORED);
CREATE TABLE od (o oid, b bool, c "char", n name, d date, v bit(3));
CREATE TABLE part (k int, v text) PARTITION BY LIST (k);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 (v text, gone int, k int);
ALTER TABLE part2 DROP COLUMN gone;
ALTER TABLE part ATTACH PARTITION part2 FOR VALUES IN (2);
CREATE TABLE many (a int, b int, c text);
CREATE TABLE idx (a int, b int, c text);
CREATE INDEX ON idx (b);
SQL
$setup .= "ALTER TABLE $_ REPLICA IDENTITY FULL;\n" for qw(ev num flt pt big same arr ci nums alt od part part1 part2 many idx);
$mesh->make_group($setup);

# All nodes have the same rows, byte for byte?
sub same
{
	my ($table, $name) = @_;
	$mesh->wait_converged;
	my @rows = map { $mesh->sql($_, "SELECT coalesce(string_agg(x::text, ' ' ORDER BY x::text COLLATE \"C\"), '') FROM $table x") } 1, 2;
	is($rows[1], $rows[0], $name);
	return $rows[0];
}

# ---------- which row ----------
$mesh->sql(1, <<'SQL');
INSERT INTO ev VALUES (1, '{"n":1}'), (1, '{"n":4}'), (1, '{"n": 4}');
INSERT INTO num VALUES (1.0, 1), (1.00, 1), (1.000, 1), ('NaN', 1), (NULL, 1);
INSERT INTO flt VALUES (0, 0), ('-0', 0), (0, '-0'), ('NaN', 1);
INSERT INTO pt VALUES ('(1,2)', 'x'), ('(1,3)', 'x'), ('(1,2.0000001)', 'x'), (NULL, 'x');
INSERT INTO ci VALUES ('a', 1), ('A', 1), ('b', 1), ('B', 1), (NULL, 1);
INSERT INTO nums VALUES ('{1.0,2}', '(1,x)', 1), ('{1.00,2}', '(1,x)', 1), ('{1,2}', '(1,x)', 1), ('{1,2}', '(1,X)', 1);
INSERT INTO alt VALUES (1, 'x', 1.0), (1, 'x', 1.00), (1, 'x', NULL);
INSERT INTO same SELECT 1 FROM generate_series(1, 5);
INSERT INTO od VALUES (4294967295, true, '\377', 'x', 'today', '101'), (4294967294, true, '\376', 'x', 'today', '101'), (1, false, 'a', 'y', 'today', '111');
INSERT INTO part VALUES (1, 'a'), (1, 'b'), (2, 'a'), (2, 'b');
INSERT INTO big SELECT 1, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 500) i) || g, to_json(repeat('x', 9000) || g) FROM generate_series(1, 4) g;
SQL
$mesh->wait_converged;
$mesh->sql(1, <<'SQL');
DELETE FROM ev WHERE j->>'n' = '4' AND j::text = '{"n":4}';
DELETE FROM num WHERE n::text IN ('1.00', 'NaN');
UPDATE num SET v = 2 WHERE n::text = '1.000';
UPDATE num SET v = 2 WHERE n IS NULL;
DELETE FROM flt WHERE f::text = '-0';
UPDATE flt SET f = 5 WHERE r::text = '-0';
DELETE FROM flt WHERE f = 'NaN';
UPDATE pt SET v = 'y' WHERE p[1] = 3;
DELETE FROM pt WHERE p[1] > 2 AND p[1] < 3;
DELETE FROM pt WHERE p IS NULL;
DELETE FROM ci WHERE c::text = 'A';
UPDATE ci SET v = 2 WHERE c::text = 'B';
UPDATE ci SET v = 3 WHERE c IS NULL;
DELETE FROM nums WHERE a::text = '{1.00,2}';
UPDATE nums SET v = 2 WHERE p::text = '(1,X)';
DELETE FROM same WHERE ctid IN (SELECT ctid FROM same LIMIT 2);
DELETE FROM od WHERE o = 4294967295;
UPDATE od SET d = 'yesterday' WHERE c = 'a';
UPDATE od SET o = 7 WHERE o = 4294967294;
DELETE FROM part WHERE v = 'a' AND k = 2;
UPDATE part SET k = 2 WHERE v = 'b' AND k = 1;
UPDATE big SET k = 2 WHERE right(a, 1) = '3';
DELETE FROM big WHERE right(a, 1) = '2';
UPDATE big SET a = 'short' WHERE right(a, 1) = '4';
SQL
same($_->[0], "$_->[0]: $_->[1]") for ['ev', 'json'], ['num', 'numeric'], ['ci', 'citext, with an index'], ['nums', 'arrays and composites'], ['flt', 'negative zero'], ['pt', 'point'],
	['big', 'large values'], ['od', 'values that are passed by value'], ['part', 'partitions with columns in another order'];
is(same('same', 'same: identical rows'), '(1) (1) (1)', 'of identical rows those are gone that were deleted');

# a value that was put together here has another image than one that has travelled
$mesh->sql(2, "INSERT INTO arr VALUES (1, '{1,2,3}', '(1,x)', 1), (2, '{1,2,3}', '(1,x)', 1); UPDATE arr SET a[2] = NULL; UPDATE arr SET a[2] = 7;
	DO \$\$ DECLARE q pair; BEGIN q.b := 'y'; q.a := 2; UPDATE arr SET p = q WHERE k = 1; END \$\$".
	'; UPDATE arr SET p = ROW(NULL, repeat(\'z\', 10)) WHERE k = 2; UPDATE arr SET p.a = 1 WHERE k = 2');
same('arr', 'arrays and composites have arrived');
$mesh->sql(1, 'UPDATE arr SET v = 2 WHERE k = 1; DELETE FROM arr WHERE k = 2');
same('arr', 'arrays and composites that were changed where they were written');

# columns that were dropped, added with a value for old rows, and generated
$mesh->sql($_, "ALTER TABLE alt DROP COLUMN gone; ALTER TABLE alt ADD COLUMN d numeric DEFAULT 3.0") for 1, 2;
$mesh->sql(1, "INSERT INTO alt (k, n, d) VALUES (1, 1.0, 3.00); UPDATE alt SET k = 2 WHERE n::text = '1.0' AND d::text = '3.00'; DELETE FROM alt WHERE n::text = '1.00'; UPDATE alt SET k = 4 WHERE n IS NULL");
same('alt', 'dropped, added and generated columns');

# a session here has the row in hand, and gives another one instead, or none
for my $end ('COMMIT', 'ROLLBACK')
{
	$mesh->sql(1, "TRUNCATE same; INSERT INTO same VALUES (7), (7), (7)");
	$mesh->wait_converged;
	my $session = $mesh->start_sql(2, <<"SQL");
BEGIN;
DELETE FROM same WHERE ctid = (SELECT min(ctid) FROM same);
DO 'BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = ''transactionid'') LOOP PERFORM pg_sleep(0.02); END LOOP; END';
$end;
SQL
	$mesh->poll(2, "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DO %'");
	$mesh->sql(1, 'UPDATE same SET k = 8 WHERE ctid = (SELECT min(ctid) FROM same)');
	$mesh->finish_sql($session);
	is(same('same', "a row that a session deleted, $end"), $end eq 'COMMIT' ? '(7) (8)' : '(7) (7) (8)', "rows after $end");
}
is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.conflict_stats'), 0, "node $_ has missed no row so far") for 1, 2;

# none is the same: what is equal by its type's equality only is another row
$mesh->pause(1, 2);
$mesh->pause(2, 1);
$mesh->sql(2, "UPDATE num SET n = 1.0000 WHERE n::text = '1.0'");
$mesh->sql(1, "UPDATE num SET v = 9 WHERE n::text = '1.0'");
$mesh->resume(1, 2);
$mesh->resume(2, 1);
$mesh->wait_converged;
is($mesh->sql(2, "SELECT string_agg(conflict_type || ' ' || resolution, ',') FROM replication_plugin.conflicts WHERE table_name LIKE '%num'"),
	'update_missing keep_local', 'an update that finds no row with its image is told');
$mesh->sql(1, 'TRUNCATE num');
$mesh->wait_converged;
my $missed = $mesh->sql(1, 'SELECT sum(count) FROM replication_plugin.conflict_stats').$mesh->sql(2, 'SELECT sum(count) FROM replication_plugin.conflict_stats');

# ---------- many changes ----------
$mesh->sql(1, "INSERT INTO many SELECT g, g % 7, 'x' || g % 100 FROM generate_series(1, 20000) g; INSERT INTO idx SELECT g, 1, 'x' FROM generate_series(1, 20000) g");
same('many', 'many rows');
$mesh->sql(1, "UPDATE many SET b = 100 WHERE a > 15000; DELETE FROM many WHERE a % 10 = 3; UPDATE idx SET c = 'y' WHERE a > 17000");
same('many', 'updates and deletes of many rows');
same('idx', 'updates of many rows, with an index that is no help');
my @statements = ('UPDATE many SET b = b + 1 WHERE a % 50 = N', 'DELETE FROM many WHERE a % 400 = N', "INSERT INTO many SELECT g, g % 3, 'new' FROM generate_series(1, 200) g",
	'UPDATE many SET c = c || b WHERE a % 97 = N', 'UPDATE many SET a = a + 1 WHERE a % 80 = N');
for my $round (1 .. 15)
{
	my $sql = join ';', map { my $s = $statements[ rand @statements ]; my $n = int rand 50; $s =~ s/\bN\b/$n/; $s } 1 .. 1 + rand 4;
	$sql = "BEGIN; SAVEPOINT a; $sql; ROLLBACK TO a; $sql; COMMIT" if $round % 4 == 0;
	$mesh->sql(1 + $round % 2, $sql);
	$mesh->wait_converged;
	# what the worker remembers of the table is not true any more
	$mesh->sql(2, 'VACUUM FULL many') if $round == 5;
	$mesh->sql(2, 'VACUUM many') if $round == 8;
	$mesh->sql(1, 'TRUNCATE many'), $mesh->sql(2, "INSERT INTO many SELECT g, g % 7, 'x' || g % 100 FROM generate_series(1, 3000) g"), $mesh->wait_converged if $round == 11;
}
same('many', "random changes by both nodes (seed $seed)");
is(join('', map { $mesh->sql($_, 'SELECT sum(count) FROM replication_plugin.conflict_stats') } 1, 2), $missed, 'no row was missed');
$mesh->is_identical('all of it');
done_testing();
