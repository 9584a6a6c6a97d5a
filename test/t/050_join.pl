# Joining a group: what is refused and how it is said, and that a join brings everything.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3, conf => "replication_plugin.copy_workers = 3\n");
my ($dsn1, $dsn2, $dsn3) = map { $mesh->dsn($_) } 1 .. 3;

# join_group on a node fails with a message; nothing is left behind.
sub refused
{
	my ($name, $i, $args, $message, $db) = @_;
	$db ||= 'app';
	my ($status, undef, $err) = $mesh->try_sql($i, "SELECT replication_plugin.join_group($args)", $db);
	ok($status != 0 && $err =~ $message, "refused: $name") or diag($err);
	is($mesh->sql($i, 'SELECT count(*) FROM replication_plugin.local_node', $db), 0, "... leaves nothing behind")
		unless $name =~ /already/;
	return $err;
}

refused('via is in no group', 2, "'b', '$dsn2', '$dsn1'", qr/is in no group.*HINT.*create_group/s);

$mesh->sql(1, "SELECT replication_plugin.create_group('test', 'node1', '$dsn1')");
$mesh->sql(1, <<'SQL');
CREATE ROLE owner_role; -- on the first server only, for now
CREATE SCHEMA "Odd schema";
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE types (id int PRIMARY KEY, i2 smallint, i8 bigint, f4 real, f8 float8, n numeric, t text, vc varchar(20),
	c char(5), b bytea, ts timestamptz, d date, iv interval, u uuid, j json, jb jsonb, ia int[], ta text[], r int4range,
	m mood, ma mood[], dom posint, p pair, ip inet, bl boolean, x xml, rc regclass, rca regtype[],
	g int GENERATED ALWAYS AS (id * 2) STORED, ident int GENERATED ALWAYS AS IDENTITY, gone int);
ALTER TABLE types DROP COLUMN gone;
INSERT INTO types (id, i2, i8, f4, f8, n, t, vc, c, b, ts, d, iv, u, j, jb, ia, ta, r, m, ma, dom, p, ip, bl, x, rc, rca)
	SELECT g, g, g * 1000000000::bigint, g / 3.0, 'NaN', '123456789.123456789', E'text\t\\ \n' || g, 'vc', 'c', '\x00ff',
	'2024-02-29 12:00:00.123456+00', '0044-03-15 BC', '1 mon 2 days 3.5 secs', '00000000-0000-0000-0000-000000000001',
	'{"a": 1}', '{"b": [1, null]}', '{1,NULL,3}', '{"a,b","c\"d"}', '[1,5)', 'ok', '{sad,happy}', 5, '(1,"x y")',
	'10.0.0.0/8', true, '<a>b</a>', 'types', '{mood,int}' FROM generate_series(1, 100) g;
CREATE TABLE plain (id serial PRIMARY KEY, n numeric, at timestamptz, big text);
INSERT INTO plain (n, at, big) SELECT g / 7.0, now(), repeat(md5(g::text), 300) FROM generate_series(1, 500) g;
CREATE TABLE "Odd schema"."odd ""table""" ("the key" int PRIMARY KEY, "comma, col" text);
INSERT INTO "Odd schema"."odd ""table""" VALUES (1, 'x');
CREATE TABLE parts (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parts_eu PARTITION OF parts FOR VALUES IN ('eu');
CREATE TABLE parts_us PARTITION OF parts FOR VALUES IN ('us') PARTITION BY RANGE (id);
CREATE TABLE parts_us_1 PARTITION OF parts_us FOR VALUES FROM (1) TO (20);
CREATE TABLE parts_us_2 PARTITION OF parts_us DEFAULT;
INSERT INTO parts SELECT g, CASE g % 2 WHEN 0 THEN 'eu' ELSE 'us' END, 'v' FROM generate_series(1, 40) g;
CREATE TABLE inh_parent (id int PRIMARY KEY);
CREATE TABLE inh_child (extra text, PRIMARY KEY (id)) INHERITS (inh_parent);
INSERT INTO inh_parent VALUES (1);
INSERT INTO inh_child VALUES (2, 'child');
CREATE TABLE no_columns ();
ALTER TABLE no_columns REPLICA IDENTITY FULL;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE);
INSERT INTO parent SELECT generate_series(1, 50);
INSERT INTO child SELECT g, g FROM generate_series(1, 50) g;
CREATE TABLE unwanted (id int PRIMARY KEY);
INSERT INTO unwanted VALUES (1);
SELECT replication_plugin.exclude_table('unwanted');
CREATE UNLOGGED TABLE passing (id int PRIMARY KEY);
INSERT INTO passing VALUES (1);
CREATE MATERIALIZED VIEW summary AS SELECT region, count(*) FROM parts GROUP BY region;
CREATE FUNCTION log_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fired'; END $$;
CREATE TABLE with_trigger (id int PRIMARY KEY);
INSERT INTO with_trigger VALUES (1);
CREATE TRIGGER t BEFORE INSERT ON with_trigger FOR EACH ROW EXECUTE FUNCTION log_it();
ALTER TABLE with_trigger ENABLE ALWAYS TRIGGER t;
CREATE SEQUENCE seq START 100;
SELECT nextval('seq') FROM generate_series(1, 5);
CREATE SEQUENCE untouched;
-- whoever copies the rows must not do so as a superuser
CREATE TABLE witness (who text PRIMARY KEY);
GRANT USAGE, CREATE ON SCHEMA public TO owner_role;
GRANT ALL ON witness TO owner_role;
SET ROLE owner_role;
CREATE FUNCTION am_owner(int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	RETURN current_user = 'owner_role';
END $$;
CREATE TABLE owned (id int PRIMARY KEY CHECK (public.am_owner(id)));
INSERT INTO owned VALUES (1);
RESET ROLE;
SQL

# ---------- what is refused ----------
refused('nonsense for a dsn', 2, "'b', 'nonsense', '$dsn1'", qr/invalid dsn.*HINT.*host=/s);
refused('nonsense for via', 2, "'b', '$dsn2', 'nonsense'", qr/invalid dsn/);
my $err = refused('a dsn that leads nowhere', 2, "'b', 'host=/nowhere dbname=app password=secret', '$dsn1'", qr/could not connect.*nowhere/s);
unlike($err, qr/secret/, 'the password is not in the message');
unlike(refused('a dsn in parts, with a password', 2, "'b', 'host=/nowhere password=my secret', '$dsn1'", qr/invalid dsn/),
	qr/ERROR:.*secret|DETAIL:.*secret/, 'nor is it here');
refused('a dsn of another server', 2, "'b', '$dsn1', '$dsn1'", qr/leads to another server.*HINT/s);
$mesh->sql(2, 'CREATE DATABASE other', 'postgres');
$mesh->sql(2, 'CREATE EXTENSION replication_plugin', 'other');
refused('a dsn of another database', 2, "'b', '" . $mesh->dsn(2, 'other') . "', '$dsn1'", qr/another database of this server/);
refused('via is this node', 2, "'b', '$dsn2', '$dsn2'", qr/in no group/);
refused('via without the extension', 2, "'b', '$dsn2', '" . $mesh->dsn(1, 'postgres') . "'", qr/does not have the extension/);
refused('via unreachable', 2, "'b', '$dsn2', 'host=/nowhere'", qr/behind via cannot be reached.*HINT/s);
refused('null', 2, "NULL, '$dsn2', '$dsn1'", qr/must not be null/);
refused('no name', 2, "'', '$dsn2', '$dsn1'", qr/1 to 63 characters/);
refused('name taken', 2, "'node1', '$dsn2', '$dsn1'", qr/"node1" is taken.*HINT/s);
$mesh->sql(2, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0", 'postgres');
$mesh->sql(2, 'CREATE EXTENSION replication_plugin', 'latin');
refused('another encoding', 2, "'b', '" . $mesh->dsn(2, 'latin') . "', '$dsn1'", qr/encoding UTF8, this database has LATIN1.*HINT/s, 'latin');
$mesh->sql(2, 'CREATE TABLE mine (id int)');
refused('tables of its own', 2, "'b', '$dsn2', '$dsn1'", qr/contents of its own: table public.mine.*HINT.*allow_existing/s);
$mesh->sql(2, 'DROP TABLE mine; CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1');
refused('a function of its own', 2, "'b', '$dsn2', '$dsn1'", qr/contents of its own: function public.mine/);
$mesh->sql(2, 'DROP FUNCTION mine; CREATE TABLE mine (id int PRIMARY KEY); INSERT INTO mine VALUES (1)');
refused('rows of its own', 2, "'b', '$dsn2', '$dsn1', copy_schema => false", qr/rows in table public.mine.*HINT.*copy_data/s);
$mesh->sql(2, 'DROP TABLE mine');

# ---------- a join that cannot get on says why, and goes on when the cause is gone ----------
$mesh->start_join(2);
($err) = ($mesh->try_sql(2, "SELECT replication_plugin.join_group('b', '$dsn2', '$dsn1')"))[2];
like($err, qr/already node "node2" of group "test".*HINT.*leave_group/s, 'a second join of the same node is refused');
ok($mesh->poll(2, q{SELECT progress ~ 'role "owner_role" does not exist' FROM replication_plugin.nodes WHERE is_local}),
	'a missing role is named');
like($mesh->sql(2, 'SELECT state FROM replication_plugin.nodes WHERE is_local'), qr/^joining: /, 'the state is that of a joining node');
is($mesh->sql(2, "SELECT count(*) FROM pg_class WHERE relname = 'types'"), 0, 'no half of a schema');
($err) = ($mesh->try_sql(3, "SELECT replication_plugin.join_group('c', '$dsn3', '$dsn2')"))[2];
like($err, qr/"node2" is not ready/, 'nobody joins through a joining node');
$mesh->sql(2, 'CREATE ROLE owner_role');
is($mesh->sql(2, "SELECT replication_plugin.wait_until_ready('60 seconds')"), 't', 'the join completes');
is($mesh->sql(2, 'SELECT coalesce(progress, last_error) IS NULL AND failures = 0 FROM replication_plugin.local_node'), 't', 'no error remains');
$mesh->wait_for_streaming(1, 2);
$mesh->wait_converged(1, 2);
$mesh->is_identical('after the join', 1, 2);
is($mesh->sql(2, 'SELECT count(*) FROM unwanted'), 0, 'an excluded table is there, and empty');
is($mesh->sql(2, 'SELECT region, count FROM summary ORDER BY 1'), "eu|20\nus|20", 'materialized views are filled');
is($mesh->sql(2, "SELECT nextval('seq'), nextval('untouched'), nextval('plain_id_seq')"), '105|1|501', 'sequences go on from where the source was');
is($mesh->sql(2, "SELECT count(*) FROM pg_constraint WHERE conrelid = 'child'::regclass AND contype = 'f' AND convalidated"), 1, 'foreign keys are there');
is($mesh->sql(2, "SELECT count(*) FROM inh_parent"), 2, 'inherited rows came once');
is($mesh->sql(2, "SELECT relowner::regrole FROM pg_class WHERE relname = 'owned'"), 'owner_role', 'tables keep their owner');
is($mesh->sql(2, "SELECT count(*) FROM replication_plugin.tombstone"), 0, 'copying leaves no tombstones');
is($mesh->sql(2, 'SELECT count(*) FROM replication_plugin.join_script'), 0, 'nor a script');
is($mesh->sql(2, "SELECT count(DISTINCT (pg_xact_commit_timestamp_origin(t.xmin)).roident) FROM types t"
	. " JOIN pg_replication_origin o ON o.roident = (pg_xact_commit_timestamp_origin(t.xmin)).roident WHERE o.roname ~ 'repair'"), 1,
	'copied rows are marked as copied');

# ---------- the third needs everybody ----------
$mesh->sql(3, 'CREATE ROLE owner_role');
$mesh->node(2)->stop;
refused('a member is down', 3, "'node3', '$dsn3', '$dsn1'", qr/member "node2" cannot be reached.*HINT/s);
$mesh->start_server(2);
$mesh->poll(2, "SELECT count(*) FROM replication_plugin.links WHERE state = 'streaming'", 1);
$mesh->join(3, 2);
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('three nodes');
is($mesh->sql(1, 'SELECT node_id FROM replication_plugin.nodes WHERE node_name = $$node3$$') > 2, 1, 'its number is new');
$mesh->sql(3, "INSERT INTO plain (id, n) VALUES (10001, 3); UPDATE types SET t = 'from node3' WHERE id < 10; DELETE FROM parent WHERE id > 100");
$mesh->sql(1, "UPDATE plain SET big = 'from node1' WHERE id = 1");
$mesh->sql(2, "DELETE FROM types WHERE id = 99; UPDATE parts SET region = 'us' WHERE id = 2");
$mesh->wait_converged;
$mesh->is_identical('writes after the join, on all three');

# ---------- schema and rows made by hand ----------
my $fourth = $mesh->add_server;
my $dsn4 = $mesh->dsn($fourth);
$mesh->sql($fourth, 'CREATE ROLE owner_role');
my $dump = $mesh->node(1)->basedir . '/schema.sql';
PostgreSQL::Test::Utils::system_or_bail('pg_dump', '--schema-only', '-N', 'replication_plugin', '-f', $dump, '-d', $dsn1);
PostgreSQL::Test::Utils::system_or_bail('psql', '-q', '-X', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $dump, '-d', $dsn4);
$mesh->sql($fourth, 'SET session_replication_role = replica; INSERT INTO child VALUES (777, 777)');
refused('rows in a table with foreign keys', $fourth, "'node4', '$dsn4', '$dsn1', copy_schema => false", qr/rows in table public.child/);
# a trigger that the source has ENABLE ALWAYS stands here already; it would fire
$mesh->sql($fourth, 'ALTER TABLE with_trigger DISABLE TRIGGER t');
$mesh->sql($fourth, "SELECT replication_plugin.join_group('node4', '$dsn4', '$dsn1', copy_schema => false, allow_existing => true)");
is($mesh->sql($fourth, "SELECT replication_plugin.wait_until_ready('60 seconds')"), 't', 'join into a schema made by hand');
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('rows that were there have been replaced');

# ---------- leaving in the middle ----------
my $fifth = $mesh->add_server;
$mesh->sql($fifth, "SELECT replication_plugin.join_group('node5', '" . $mesh->dsn($fifth) . "', '$dsn1')");
ok($mesh->poll($fifth, q{SELECT progress ~ 'owner_role' FROM replication_plugin.nodes WHERE is_local}), 'a join that cannot complete');
$mesh->sql($fifth, 'SELECT replication_plugin.leave_group()');
is($mesh->sql($fifth, 'SELECT count(*) FROM replication_plugin.local_node'), 0, 'the user can give it up');
ok($mesh->poll($_, q{SELECT (SELECT state = 'removed' FROM replication_plugin.nodes WHERE node_name = 'node5')
	AND NOT EXISTS (SELECT FROM replication_plugin.slots WHERE subscriber = 'node5')}), "node $_ forgets it and its slot") for 1 .. $fourth;

done_testing();
