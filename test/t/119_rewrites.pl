# ALTER TABLE that writes all rows anew, on nodes that have not heard of each other's changes: rows keep their versions.
use strict;
use warnings;
use Mesh;
use Test::More;
use Time::HiRes qw(sleep);

my $mesh = Mesh->new(2);
my @plain = qw(typed twice defaulted unlogged inside identity parts);
$mesh->make_group(<<'SQL' . join('', map { "CREATE TABLE $_ (id int PRIMARY KEY, n int, v text, m int);" } grep { $_ ne 'parts' } @plain));
CREATE TABLE cart (id int PRIMARY KEY, n int, v text, m int);
CREATE TABLE parts (id int, n int, v text, m int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (4);
CREATE TABLE parts2 (v text, n int, m int, id int NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts2 FOR VALUES FROM (4) TO (100);
CREATE TABLE cache (id int PRIMARY KEY, v text);
CREATE TABLE floats (id int PRIMARY KEY, r real, i int);
SQL
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('cart', 'siblings')");
my @tables = (@plain, 'cart');
$mesh->sql(1, join ';', map { "INSERT INTO $_ SELECT g, g, 'old', 0 FROM generate_series(1, 12) g" } @tables);
$mesh->wait_converged;
$mesh->pause_all;

# On all tables: rows that only one has written, or both, one or the other later.
sub write_all { my ($i, $sql) = @_; $mesh->sql($i, join ';', map { my $t = $_; $sql =~ s/TABLE/$t/gr } @tables); }
write_all(1, "UPDATE TABLE SET v = 'a' WHERE id IN (1, 3, 5, 6, 9)");
write_all(1, "DELETE FROM TABLE WHERE id = 2");
write_all(2, "UPDATE TABLE SET v = 'b' WHERE id IN (3, 4, 10)");

my %rewrite = (
	typed => 'ALTER TABLE typed ALTER n TYPE bigint',
	twice => 'ALTER TABLE twice ALTER n TYPE bigint; ALTER TABLE twice ALTER m TYPE bigint',
	defaulted => 'ALTER TABLE defaulted ADD COLUMN at timestamptz DEFAULT clock_timestamp()',
	unlogged => 'ALTER TABLE unlogged SET UNLOGGED; ALTER TABLE unlogged SET LOGGED',
	identity => 'ALTER TABLE identity ADD COLUMN s int GENERATED ALWAYS AS IDENTITY',
	parts => 'ALTER TABLE parts ALTER n TYPE bigint',
	cart => 'ALTER TABLE cart ALTER n TYPE bigint',
);
$mesh->sql(2, $rewrite{$_}) for sort keys %rewrite;
# beside other writes of the same transaction
$mesh->sql(2, "BEGIN; UPDATE inside SET v = 'b before' WHERE id = 5; SAVEPOINT s; ALTER TABLE inside ALTER n TYPE bigint; UPDATE inside SET v = 'b after' WHERE id = 6; RELEASE s;
	INSERT INTO inside VALUES (20, 20, 'b new', 0); DELETE FROM inside WHERE id = 9; COMMIT");
write_all(2, "UPDATE TABLE SET v = 'b later' WHERE id = 7");
$mesh->sql(1, $_) for map { $rewrite{$_} } sort keys %rewrite;
$mesh->sql(1, 'ALTER TABLE inside ALTER n TYPE bigint');
write_all(1, "UPDATE TABLE SET v = 'a last' WHERE id IN (8, 10)");
$mesh->resume_all;
$mesh->sql($_, 'ALTER TABLE defaulted DROP COLUMN at; ALTER TABLE identity DROP COLUMN s') for 1, 2;
$mesh->wait_converged;
my $old = '1 a,3 b,4 b,5 a,6 a,7 b later,8 a last,9 a,10 a last,11 old,12 old';
for my $t (@tables)
{
	my $expected = $t eq 'inside' ? '1 a,3 b,4 b,5 b before,6 b after,7 b later,8 a last,10 a last,11 old,12 old,20 b new' : $old;
	is($mesh->sql($_, "SELECT string_agg(id || ' ' || v, ',' ORDER BY id) FROM $t"), $expected, "$t on node $_: versions survive a rewrite") for 1, 2;
}
$mesh->is_same_siblings('cart', 'siblings after a rewrite');
my $left = '';
for my $round (1 .. 300)
{
	$mesh->sql($_, "INSERT INTO cache VALUES ($round * 10 + $_, 'later')") for 1, 2;
	$left = join ' ', map { $mesh->sql($_, 'SELECT count(*) FROM replication_plugin.table_rewrite') } 1, 2;
	last if $left eq '0 0';
	sleep 0.3;
}
is($left, '0 0', 'what is noted for it goes when all have the rows');
$mesh->sql(1, 'TRUNCATE cache');
$mesh->wait_converged;
write_all(1, "UPDATE TABLE SET v = 'a end' WHERE id = 11");
write_all(2, "UPDATE TABLE SET v = 'b end' WHERE id = 12");
$mesh->wait_converged;
is($mesh->sql(2, "SELECT replication_plugin.resend_table('unlogged') > 0"), 't', 'a table that was unlogged is given to all');

# ---------- unlogged tables that become logged ----------

$mesh->sql($_, 'ALTER TABLE cache SET UNLOGGED') for 1, 2;
$mesh->sql(1, "INSERT INTO cache SELECT g, 'only here' FROM generate_series(1, 5) g");
$mesh->sql($_, 'ALTER TABLE cache SET LOGGED') for 1, 2;
$mesh->sql(1, "INSERT INTO cache VALUES (6, 'logged')");
$mesh->wait_converged;
ok($mesh->sql(2, "SELECT count(*) FROM cache") == 6 ||
	$mesh->poll(2, "SELECT note ~ 'out of step.*unlogged.*resend_table' FROM replication_plugin.tables WHERE \"table\" = 'cache'::regclass"), 'rows of a table that was unlogged are not missing without a word');
$mesh->sql(1, "SELECT replication_plugin.resend_table('cache')");
$mesh->wait_converged;
is($mesh->sql(2, "SELECT count(*) FROM cache"), 6, 'then they are there');

# ---------- values under way while a column gets another type ----------

$mesh->pause_all;
$mesh->sql(1, 'INSERT INTO floats VALUES (1, 0.1, 1), (2, 3.3333333, 2)');
$mesh->sql($_, 'ALTER TABLE floats ALTER r TYPE float8, ALTER i TYPE numeric(10, 2)') for 1, 2;
$mesh->resume_all;
is($mesh->sql(2, 'SELECT string_agg(x::text, $$ $$ ORDER BY id) FROM floats x'), $mesh->sql(1, 'SELECT string_agg(x::text, $$ $$ ORDER BY id) FROM floats x'),
	'a value under way becomes what ALTER TABLE made of it at its origin');

# ---------- a partition that is gone ----------

$mesh->sql($_, 'CREATE TABLE parts3 PARTITION OF parts FOR VALUES FROM (100) TO (200)') for 1, 2;
$mesh->sql(1, "INSERT INTO parts (id, v) VALUES (101, 'x'), (102, 'x')");
$mesh->wait_converged;
$mesh->pause(2, 1);
$mesh->sql(1, "DELETE FROM parts WHERE id = 101; UPDATE parts SET v = 'moved', id = 13 WHERE id = 102; DROP TABLE parts3");
$mesh->sql(2, 'DROP TABLE parts3');
$mesh->resume(2, 1);
ok($mesh->poll(2, "SELECT count(*) FROM parts WHERE v = 'moved'", 1), 'a delete of a row whose partition is gone is done already')
	or BAIL_OUT($mesh->sql(2, 'SELECT last_error FROM replication_plugin.links'));

# ---------- the order of steps of docs/operations.md, while both nodes write ----------

$mesh->sql($_, <<'SQL') for 1, 2;
CREATE TYPE state AS ENUM ('open', 'closed');
CREATE TYPE address AS (street text, zip text);
CREATE TABLE orders (id bigint PRIMARY KEY, number bigint NOT NULL, n int DEFAULT 0, discount int, price real DEFAULT 0.1, s state, a address);
CREATE UNIQUE INDEX orders_number ON orders (number);
CREATE FUNCTION being_altered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is being altered, try again', TG_TABLE_NAME USING ERRCODE = 'serialization_failure';
END $$;
-- a client that knows all forms of the schema
CREATE FUNCTION client(k int, side int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t text := CASE WHEN to_regclass('orders') IS NULL THEN 'invoices' ELSE 'orders' END;
	has boolean := EXISTS (SELECT FROM pg_attribute WHERE attrelid = t::regclass AND attname = 'discount');
	label text := (SELECT max(enumlabel::text) FROM pg_enum WHERE enumtypid = 'state'::regtype AND enumlabel IN ('open', 'begun'));
BEGIN
	EXECUTE format('INSERT INTO %I (id, number, %s s, a) VALUES (%s, %s, %s %L, (%L, %L))', t, CASE WHEN has THEN 'discount,' END, k * 2 + side, k * 2 + side, CASE WHEN has THEN '5,' END, label, 'street', k);
	EXECUTE format('UPDATE %I SET %I = %2$I + 1 WHERE number %% 10 = %s', t,
		(SELECT attname FROM pg_attribute WHERE attrelid = t::regclass AND attname IN ('n', 'amount')), k % 10);
	EXECUTE format('DELETE FROM %I WHERE number %% 100 = %s', t, k % 100);
EXCEPTION WHEN serialization_failure OR undefined_column OR undefined_table OR invalid_text_representation OR deadlock_detected OR unique_violation THEN
	NULL;
END $$;
SQL
my @load = $mesh->start_load("\\set k random(1, 100000000)\nSELECT client(:k, :side % 2);\n", 40, 1, 2);
my $table = 'orders';
for my $change ('ALTER TABLE orders DROP COLUMN discount', 'ALTER TABLE orders RENAME COLUMN n TO amount', 'ALTER TABLE orders ALTER price TYPE float8',
	"ALTER TYPE state RENAME VALUE 'open' TO 'begun'", 'ALTER TYPE address RENAME ATTRIBUTE zip TO postcode CASCADE',
	'ALTER TABLE orders DROP CONSTRAINT orders_pkey; ALTER TABLE orders ADD PRIMARY KEY USING INDEX orders_number', 'ALTER TABLE orders RENAME TO invoices')
{
	$mesh->sql($_, "CREATE TRIGGER being_altered BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON $table FOR EACH STATEMENT EXECUTE FUNCTION being_altered()") for 1, 2;
	$mesh->wait_converged;
	$mesh->sql($_, $change) for 1, 2;
	$table = 'invoices' if $change =~ /RENAME TO/;
	$mesh->sql($_, "DROP TRIGGER being_altered ON $table") for 1, 2;
	my $before = $mesh->sql(1, "SELECT coalesce(max(xmin::text::bigint), 0) FROM $table");
	ok($mesh->poll(1, "SELECT count(*) > 5 FROM $table WHERE xmin::text::bigint > $before"), "clients go on after $change");
}
$mesh->stop_load(@load);
$mesh->wait_converged;
# (one may try something again for a moment: both have written the same rows)
ok($mesh->poll($_, "SELECT count(*) FROM replication_plugin.links WHERE state NOT IN ('backoff', 'retrying')", 1), "node $_: the link goes on") for 1, 2;
is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.links WHERE last_error ~ 'invoices|orders'"), 0, "node $_: no link has stopped") for 1, 2;
$mesh->is_identical('at the end');
done_testing();
