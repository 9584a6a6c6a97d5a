# Three nodes: rows of every kind travel, conflicts converge, nothing is applied twice.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3);
$mesh->make_group(<<'SQL');
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE types (id int PRIMARY KEY, i2 smallint, i8 bigint, f4 real, f8 float8, n numeric, t text, vc varchar(20),
	c char(5), b bytea, ts timestamptz, d date, iv interval, u uuid, j json, jb jsonb, ia int[], ta text[], r int4range,
	m mood, ma mood[], dom posint, p pair, ip inet, bl boolean, x xml, g int GENERATED ALWAYS AS (id * 2) STORED,
	ident int GENERATED ALWAYS AS IDENTITY);
CREATE TABLE toasted (id int PRIMARY KEY, n int, big text);
CREATE TABLE parts (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us');
CREATE TABLE keyless (a int, b text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE TABLE byindex (a int NOT NULL, b text);
CREATE UNIQUE INDEX byindex_a ON byindex (a);
ALTER TABLE byindex REPLICA IDENTITY USING INDEX byindex_a;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE);
SQL

my $insert_types = q{INSERT INTO types (id, i2, i8, f4, f8, n, t, vc, c, b, ts, d, iv, u, j, jb, ia, ta, r, m, ma, dom, p, ip, bl, x)
	SELECT g, g, g * 1000000000::bigint, g / 3.0, 'NaN', '123456789.123456789', 'text ' || g, 'vc', 'c', '\x00ff', '2024-02-29 12:00:00.123456+00',
	'0044-03-15 BC', '1 mon 2 days 3.5 secs', '00000000-0000-0000-0000-000000000001', '{"a": 1}', '{"b": [1, null]}', '{1,NULL,3}',
	'{"a,b","c\"d"}', '[1,5)', 'ok', '{sad,happy}', 5, '(1,"x y")', '10.0.0.0/8', true, '<a>b</a>' FROM generate_series(%d, %d) g};
$mesh->sql(1, sprintf $insert_types, 1, 50);
$mesh->sql(2, sprintf $insert_types, 51, 100);
$mesh->sql(3, 'INSERT INTO types (id) VALUES (1000)');
$mesh->wait_converged;
$mesh->is_identical('inserts of all types');

$mesh->sql(2, "UPDATE types SET t = 'changed', jb = jb || '{\"c\": 2}', m = 'happy' WHERE id <= 20; DELETE FROM types WHERE id = 30");
$mesh->sql(3, 'UPDATE types SET id = id + 500 WHERE id BETWEEN 90 AND 95');
$mesh->wait_converged;
$mesh->is_identical('updates, deletes and changes of the key');
is($mesh->sql(1, 'SELECT count(*) FROM types WHERE id > 500'), 7, 'keys have moved');

# TOAST
$mesh->sql(1, "INSERT INTO toasted SELECT g, 0, (SELECT string_agg(md5(x::text), '') FROM generate_series(1, 500) x) || g FROM generate_series(1, 20) g");
$mesh->wait_converged;
$mesh->sql(2, 'UPDATE toasted SET n = n + 1');
$mesh->wait_converged;
$mesh->is_identical('unchanged TOAST values');
is($mesh->sql(3, 'SELECT count(*) FROM toasted WHERE n = 1 AND length(big) > 15000'), 20, 'they are there');

# partitions, also a row that moves
$mesh->sql(1, "INSERT INTO parts SELECT g, CASE g % 2 WHEN 0 THEN 'eu' ELSE 'us' END, 'v' FROM generate_series(1, 40) g");
$mesh->wait_converged;
$mesh->sql(2, "UPDATE parts SET region = 'us' WHERE id = 2; UPDATE parts SET v = 'w' WHERE id < 10; DELETE FROM parts WHERE id > 35");
$mesh->wait_converged;
$mesh->is_identical('partitioned tables');
is($mesh->sql(3, "SELECT tableoid::regclass FROM parts WHERE id = 2"), 'parts_us', 'a row moved between partitions');

# no key: duplicates, exactly one is hit
$mesh->sql(1, "INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (1, 'x'), (2, NULL)");
$mesh->wait_converged;
$mesh->sql(2, "DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless WHERE a = 1); UPDATE keyless SET b = 'y' WHERE a = 2");
$mesh->wait_converged;
$mesh->is_identical('table without a key');
is($mesh->sql(3, 'SELECT count(*) FROM keyless WHERE a = 1'), 2, 'one of three equal rows was deleted');
$mesh->sql(3, 'TRUNCATE keyless');
$mesh->wait_converged;
is($mesh->sql(1, 'SELECT count(*) FROM keyless'), 0, 'TRUNCATE of a table without a key');

# replica identity index, truncate, foreign keys
$mesh->sql(1, "INSERT INTO byindex SELECT g, 'b' FROM generate_series(1, 10) g; INSERT INTO parent SELECT generate_series(1, 10)");
$mesh->wait_converged;
$mesh->sql(2, "UPDATE byindex SET b = 'c' WHERE a < 5; DELETE FROM byindex WHERE a = 6; INSERT INTO child SELECT g, g FROM generate_series(1, 10) g");
$mesh->wait_converged;
$mesh->sql(3, 'DELETE FROM parent WHERE id <= 3');
$mesh->sql(1, 'TRUNCATE types');
$mesh->wait_converged;
$mesh->is_identical('replica identity index, cascade, TRUNCATE');
is($mesh->sql(2, 'SELECT count(*) FROM types'), 0, 'TRUNCATE arrived');
is($mesh->sql(1, 'SELECT count(*) FROM child'), 7, 'cascade arrived');
is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.conflicts'), 0, "no conflicts on node $_") for 1 .. 3;

# each transaction is applied once
my $before = $mesh->sql(2, "SELECT transactions FROM replication_plugin.links WHERE provider = 'node1'");
$mesh->sql(1, "INSERT INTO parent VALUES ($_)") for 101 .. 120;
$mesh->wait_converged;
is($mesh->sql(2, "SELECT transactions FROM replication_plugin.links WHERE provider = 'node1'") - $before, 20,
	'20 transactions in, 20 transactions applied');

# extra and reordered columns, other but fitting types
$mesh->sql(1, 'CREATE TABLE odd (id int PRIMARY KEY, a int, b text)');
$mesh->sql(2, "CREATE TABLE odd (extra text DEFAULT 'here', b varchar(30), id bigint PRIMARY KEY, a numeric)");
$mesh->sql(3, 'CREATE TABLE odd (id int PRIMARY KEY, a int, b text)');
$mesh->sql(1, "INSERT INTO odd VALUES (1, 2, 'three')");
$mesh->wait_converged;
is($mesh->sql(2, 'SELECT * FROM odd'), 'here|three|1|2', 'columns go by name, a missing one gets its default');
$mesh->sql(1, 'UPDATE odd SET a = 3');
$mesh->wait_converged;
is($mesh->sql(2, 'SELECT * FROM odd'), 'here|three|1|3', 'update keeps the extra column');

done_testing();
