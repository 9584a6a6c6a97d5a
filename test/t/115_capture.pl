# What takes triggers out of force does not keep writes from the other nodes: triggers disabled, dropped, enabled for some sessions only,
# catalogs changed by hand, pg_restore --disable-triggers, tables that come to be past the event trigger. What gets past them all the
# same (code that writes without triggers) is noticed, shown on all nodes, and can be mended.
use strict;
use warnings;
use File::Basename;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(3, conf => "max_prepared_transactions = 5\n");

# a table of a transaction that is open while the group is made
$mesh->sql(1, "BEGIN; CREATE TABLE early (id int PRIMARY KEY, v text); INSERT INTO early VALUES (1, 'a'), (2, 'b'), (3, 'c'); PREPARE TRANSACTION 'early'");
$mesh->make_group(<<'SQL');
COMMIT PREPARED 'early';
CREATE TABLE plain (id int PRIMARY KEY, v text);
CREATE TABLE cart (id int PRIMARY KEY, v text);
CREATE TABLE hits (id int PRIMARY KEY, n int, v text);
CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts2 PARTITION OF parts DEFAULT;
CREATE TABLE base (id int PRIMARY KEY, v text);
CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (base);
CREATE TABLE child (id int PRIMARY KEY, plain int REFERENCES plain);
SQL
my @tables = qw(plain cart hits parts heir);
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('cart', 'siblings'); SELECT replication_plugin.set_column_merge('hits', 'n', 'counter')");
$mesh->wait_converged;

sub fill
{
	$mesh->sql(1, "DELETE FROM $_; INSERT INTO $_ (id, v) SELECT g, 'old' FROM generate_series(1, 9) g") for @tables;
	$mesh->sql(1, 'UPDATE hits SET n = 1');
	$mesh->wait_converged;
}

my $counts = 'SELECT concat(' . join(', ', map { "(SELECT count(*) FROM $_)" } @tables) . ')';

# Writes of every kind to all tables.
my $n = 0;
sub writes
{
	$n++;
	return join '', map { "INSERT INTO $_ (id, v) VALUES (" . (100 + $n) . ", 'new'); UPDATE $_ SET v = 'changed $n' WHERE id = 1; DELETE FROM $_ WHERE id = 2;
		UPDATE $_ SET id = " . (200 + $n) . " WHERE id = 3;" } @tables;
}
sub ddl { my ($what) = @_; return join '', map { "ALTER TABLE $_ $what;" } @tables, 'base'; }

# ---------- ALTER TABLE ... DISABLE TRIGGER ----------

fill();
$mesh->sql(1, ddl('DISABLE TRIGGER ALL') . writes() . ddl('ENABLE TRIGGER ALL'));
$mesh->wait_converged;
$mesh->is_identical('triggers disabled while a session writes');
fill();
$mesh->sql(1, 'BEGIN;' . ddl('DISABLE TRIGGER ALL') . 'TRUNCATE plain, cart, hits, parts, heir CASCADE;'
	. join('', map { "INSERT INTO $_ (id, v) VALUES (1, 'new'), (2, 'new');" } @tables) . ddl('ENABLE TRIGGER ALL') . 'COMMIT');
$mesh->wait_converged;
is($mesh->sql($_, $counts), '22222', "node $_: TRUNCATE of tables with disabled triggers travels") for 1 .. 3;
$mesh->is_identical('TRUNCATE and INSERT in one transaction');

# what is back to firing as PostgreSQL leaves it does not fire for a replica session
fill();
$mesh->sql(1, 'SET session_replication_role = replica;' . writes());
$mesh->wait_converged;
$mesh->is_identical('session_replication_role = replica after ENABLE TRIGGER ALL');
fill();
my $names = $mesh->sql(1, "SELECT string_agg(format('ALTER TABLE %s DISABLE TRIGGER %I;', tgrelid::regclass, tgname), ' ') FROM pg_trigger WHERE tgname LIKE 'replication_plugin%'");
$mesh->sql(1, $names . writes());
$mesh->wait_converged;
$mesh->is_identical('triggers disabled one by one, by name');

# an older write that arrives after a delete that was made so does not bring the row back
fill();
$mesh->pause_all;
$mesh->sql(2, "UPDATE $_ SET v = 'older' WHERE id = 5") for qw(plain parts heir);
$mesh->sql(1, ddl('DISABLE TRIGGER ALL') . join '', map { "DELETE FROM $_ WHERE id = 5; UPDATE $_ SET id = 55 WHERE id = 6;" } qw(plain parts heir));
$mesh->resume_all;
is($mesh->sql($_, 'SELECT count(*) FROM plain WHERE id = 5') , 0, "node $_: the row stays deleted") for 1 .. 3;
$mesh->is_identical('older writes after such deletes');
$mesh->sql(1, ddl('ENABLE TRIGGER ALL'));

# ---------- DROP TRIGGER, by the owner of a table ----------

$mesh->all_sql('CREATE ROLE shop LOGIN') ;
$mesh->all_sql("ALTER TABLE $_ OWNER TO shop") for qw(plain cart hits parts parts1 parts2 base heir);
fill();
my $drops = $mesh->sql(1, "SELECT string_agg(format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass), ';' ORDER BY tgrelid::regclass::text, tgname)
	FROM pg_trigger WHERE tgname LIKE 'replication_plugin%' AND tgrelid <> 'child'::regclass");
my $refused = 0;
for my $drop (split /;/, $drops)
{
	my (undef, undef, $err) = $mesh->try_sql(1, "SET ROLE shop; $drop");
	$refused++ if $err =~ /by it the writes of table .* reach the other nodes.*exclude_table\('/s;
}
is($refused, scalar(split /;/, $drops), 'an owner cannot drop the triggers, and is told what he can do');
$mesh->sql(1, writes());
$mesh->wait_converged;
$mesh->is_identical('after DROP TRIGGER of each of them');
my (undef, undef, $err) = $mesh->try_sql(1, ($drops =~ s/;.*//sr) =~ s/DROP TRIGGER (\S+) ON (\S+)/ALTER TRIGGER $1 ON $2 DEPENDS ON EXTENSION plpgsql/r);
like($err, qr/cannot change trigger/, 'nor be made to go with something else');

# ---------- catalogs changed by hand ----------

for my $case ([ "UPDATE pg_trigger SET tgenabled = 'D' WHERE tgisinternal", "UPDATE pg_trigger SET tgenabled = 'O' WHERE tgisinternal" ],
	[ "DELETE FROM pg_trigger WHERE tgname LIKE 'replication_plugin%' AND tgrelid <> 'early'::regclass", 'SELECT 1' ],
	[ 'UPDATE pg_class SET relhastriggers = false WHERE oid IN (' . join(', ', map { "'$_'::regclass" } @tables, 'parts1', 'parts2') . ')', 'SELECT 1' ])
{
	my ($off, $on) = @$case;

	fill();
	$mesh->sql(1, "$off; " . writes() . $on);
	$mesh->wait_converged;
	$mesh->is_identical($off);
	fill();
	$mesh->sql(1, "BEGIN; $off; " . writes() . "$on; COMMIT");
	$mesh->wait_converged;
	$mesh->is_identical("$off, in one transaction");
}
# What else stands in a catalog that was changed by hand counts as it does in PostgreSQL, also for tables of the same transaction.
like($mesh->sql(1, "BEGIN; CREATE TABLE few (id int PRIMARY KEY); INSERT INTO few SELECT generate_series(1, 20000);
	UPDATE pg_class SET reltuples = 2, relpages = pg_relation_size('few') / 8192 WHERE relname = 'few';
	CREATE TABLE another AS SELECT 1 AS id; EXPLAIN SELECT * FROM few; ROLLBACK"), qr/Seq Scan on few .*rows=2 /, 'statistics set by hand count');
$mesh->sql(1, 'UPDATE pg_trigger SET tgenabled = tgenabled');
# Only the tables whose rows were changed are looked at: nobody waits for the lock of another.
my $holder = $mesh->node(1)->background_psql('app');
$holder->query_safe('BEGIN; LOCK TABLE base, child IN ACCESS EXCLUSIVE MODE');
for my $by_hand ("UPDATE pg_class SET reltuples = reltuples WHERE relname = 'early'", "UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 'plain'::regclass",
	'REVOKE ALL ON SCHEMA elsewhere FROM PUBLIC, replication_plugin_peer', 'REVOKE ALL ON ALL TABLES IN SCHEMA elsewhere FROM PUBLIC, replication_plugin_peer',
	'REASSIGN OWNED BY nobody_special TO CURRENT_USER', 'DROP OWNED BY nobody_special')
{
	my ($rc, undef, $err) = $mesh->try_sql(1, "CREATE SCHEMA elsewhere CREATE TABLE other (id int PRIMARY KEY); CREATE ROLE nobody_special; GRANT SELECT ON elsewhere.other TO nobody_special;
		SET lock_timeout = '3s'; BEGIN; $by_hand; CREATE TEMP TABLE made (a int); COMMIT; RESET lock_timeout;
		DO \$\$ BEGIN ASSERT NOT EXISTS (SELECT FROM pg_trigger WHERE tgenabled <> 'A' AND tgname LIKE 'replication_plugin%' AND tgrelid = 'plain'::regclass);
			ASSERT has_table_privilege('replication_plugin_peer', 'elsewhere.other', 'select') AND has_schema_privilege('replication_plugin_peer', 'elsewhere', 'usage'); END \$\$;
		DROP TABLE elsewhere.other; DROP SCHEMA elsewhere; DROP OWNED BY nobody_special; DROP ROLE nobody_special");
	is($err, '', "no wait for the lock of another table: $by_hand");
}
$holder->quit;
# Nobody is held up by a look at tables for longer than it takes.
is($mesh->sql(1, "BEGIN; UPDATE pg_class SET reltuples = reltuples WHERE relname = 'early'; CREATE TEMP TABLE made (a int);
	SELECT string_agg(relation::regclass::text, ' ') FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN (SELECT oid FROM pg_class
		WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace); ROLLBACK"), '', 'no lock of a table is kept');
fill();

# ---------- a dump that is restored with --disable-triggers ----------

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$mesh->node(2)->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-t', 'plain', '-t', 'cart', '-t', 'hits', '-t', 'parts*', '-t', 'heir', 'app' ], 'a dump');
$mesh->sql(1, "DELETE FROM $_ WHERE id > 4; UPDATE $_ SET v = 'newer'; DELETE FROM $_") for @tables;
$mesh->wait_converged;
$mesh->node(1)->command_ok([ 'pg_restore', '-a', '--disable-triggers', '-d', 'app', $dump ], 'its data, restored with triggers disabled');
$mesh->wait_converged;
is($mesh->sql($_, $counts), '99999', "node $_ has the restored rows") for 1 .. 3;
$mesh->is_identical('pg_restore --disable-triggers');

# ---------- tables that come to be in other ways ----------

(undef, undef, $err) = $mesh->try_sql(1, 'ALTER EVENT TRIGGER replication_plugin_ddl DISABLE');
$mesh->sql(1, "UPDATE pg_event_trigger SET evtenabled = 'D' WHERE evtname = 'replication_plugin_ddl'");
$mesh->all_sql('CREATE TABLE late (id int PRIMARY KEY, v text)');
$mesh->sql(1, "INSERT INTO late SELECT g, 'old' FROM generate_series(1, 5) g");
$mesh->all_sql('CREATE SCHEMA kept; CREATE TABLE kept.t (id int PRIMARY KEY, v text)');
$mesh->sql(1, "SELECT replication_plugin.exclude_table('kept.t')");
$mesh->wait_converged;
$mesh->all_sql('ALTER SCHEMA kept RENAME TO shared');
$mesh->sql(1, "INSERT INTO shared.t SELECT g, 'old' FROM generate_series(1, 5) g");
$mesh->all_sql('CREATE DOMAIN code AS int; CREATE TABLE coded (id int, k code, v text, PRIMARY KEY (k))');
$mesh->sql(1, "INSERT INTO coded SELECT g, g, 'old' FROM generate_series(1, 5) g");
$mesh->wait_converged;
$mesh->all_sql('DROP DOMAIN code CASCADE');
$mesh->pause_all;
$mesh->sql(2, "UPDATE $_ SET v = 'older' WHERE id = 1") for qw(early late shared.t);
$mesh->sql(1, "DELETE FROM $_ WHERE id = 1; UPDATE $_ SET id = 22 WHERE id = 2") for qw(early late shared.t);
$mesh->try_sql(1, "UPDATE coded SET v = 'changed' WHERE id = 1");
$mesh->try_sql(1, 'DELETE FROM coded WHERE id = 2');
$mesh->resume_all;
is($mesh->sql($_, 'SELECT count(*) FROM early WHERE id = 1'), 0, "node $_: a table that was made while the group was") for 1 .. 3;
$mesh->is_identical('made while the event trigger was disabled; a schema that got another name; a key that went with its domain');

# ---------- what gets past all triggers ----------

$mesh->sql(1, "CREATE FUNCTION raw_delete(regclass, tid) RETURNS void AS 'unit_tests' LANGUAGE C STRICT;
	CREATE FUNCTION raw_copy(regclass, regclass) RETURNS void AS 'unit_tests' LANGUAGE C STRICT");
fill();
my $status = join ' UNION ALL ', map { "SELECT '$_' AS name, (SELECT to_jsonb(t) ->> 'out_of_step' FROM replication_plugin.tables t WHERE \"table\" = '$_'::regclass) AS o" } 'plain', 'cart', 'hits', 'parts';
sub out_of_step { return $mesh->sql($_[0], "SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM ($status) s WHERE o = 'true'"); }
is(out_of_step($_), '', "node $_: none of all this was taken for an escape") for 1 .. 3;

# subtransactions, prepared transactions, cursors and MERGE are no escapes either
$mesh->sql(1, "BEGIN; DELETE FROM plain WHERE id = 1; SAVEPOINT a; DELETE FROM plain WHERE id = 2; UPDATE cart SET id = 77 WHERE id = 2; SAVEPOINT b;
	DELETE FROM plain WHERE id = 3; RELEASE b; ROLLBACK TO a; SAVEPOINT c; DELETE FROM plain WHERE id = 4; DELETE FROM parts WHERE id = 4; RELEASE c; TRUNCATE hits; COMMIT;
	BEGIN; DECLARE c CURSOR FOR SELECT * FROM plain WHERE id = 5 FOR UPDATE; FETCH c; DELETE FROM plain WHERE CURRENT OF c; COMMIT;
	MERGE INTO plain p USING (VALUES (6), (66)) v(id) ON v.id = p.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'merged');
	UPDATE parts SET id = 500 WHERE id = 5; UPDATE parts SET id = 60 WHERE id = 500;
	INSERT INTO cart VALUES (3, 'x') ON CONFLICT (id) DO UPDATE SET v = 'upserted'; TRUNCATE parts; DELETE FROM plain WHERE id = 7; INSERT INTO plain VALUES (7, 'again')");
$mesh->wait_converged;
is(out_of_step($_), '', "node $_: nor is anything else") for 1 .. 3;
$mesh->is_identical('captured');

fill();
my @before = map { $mesh->sql($_, 'SELECT sum(restarts) FROM replication_plugin.links') } 1 .. 3;
$mesh->sql(1, "SELECT raw_delete('plain', ctid) FROM plain WHERE id = 1; SELECT raw_delete('cart', ctid) FROM cart WHERE id = 1;
	CREATE TEMP TABLE more AS SELECT 300 AS id, 'raw'::text AS v; SELECT raw_copy('more', 'cart'); DELETE FROM parts WHERE id = 1");
$mesh->poll($_, "SELECT string_agg(name, ' ' ORDER BY name) FROM ($status) s WHERE o = 'true'", 'cart plain') or die for 1 .. 3;
is(out_of_step($_), 'cart plain', "node $_: tables that were written to past the triggers are shown") for 1 .. 3;
like($mesh->sql($_, "SELECT note FROM replication_plugin.tables WHERE \"table\" = 'cart'::regclass"), qr/out of step: .*of node node1 .*resend_table\('cart'\)/,
	"node $_: with what to do") for 1 .. 3;
$mesh->sql(1, "INSERT INTO plain VALUES (400, 'goes on')");
$mesh->wait_converged;
is($mesh->sql(3, 'SELECT v FROM plain WHERE id = 400'), 'goes on', 'and the links go on');
is($mesh->sql($_, 'SELECT sum(restarts) FROM replication_plugin.links'), $before[ $_ - 1 ], "node $_: without a restart") for 1 .. 3;
$mesh->sql(1, 'INSERT INTO plain SELECT g, $$more$$ FROM generate_series(401, 405) g');
$mesh->sql(1, "SELECT raw_delete('plain', ctid) FROM plain WHERE id = $_") for 401 .. 405;
$mesh->wait_converged;
my @told = slurp_file($mesh->node(1)->logfile) =~ /WARNING:.* got past the triggers of table "public\.plain"/g;
is(scalar @told, 1, 'the log of the node says it once, not for each transaction');

# ---------- and is mended ----------

my ($documented) = slurp_file(dirname(__FILE__) . '/../../docs/operations.md') =~ /## Writes that got past the triggers.*?\n    (SELECT [^\n]*resend_table\('orders'\));/s;

$mesh->sql(1, "SELECT raw_delete('parts1', ctid) FROM parts1 WHERE id = 2; SELECT raw_delete('hits', ctid) FROM hits WHERE id = 2;
	CREATE TEMP TABLE more AS SELECT 301 AS id, 7 AS n, 'raw'::text AS v; SELECT raw_copy('more', 'hits')");
$mesh->poll($_, "SELECT string_agg(name, ' ' ORDER BY name) FROM ($status) s WHERE o = 'true'", 'cart hits parts plain') or die for 1 .. 3;
for my $t (qw(plain cart hits parts))
{
	like($mesh->sql(1, $documented =~ s/orders/$t/r), qr/^\d+$/, "$t: sent again");
}
$mesh->wait_converged;
is(out_of_step($_), '', "node $_: no table is out of step any more") for 1 .. 3;
$mesh->is_identical('sent again');
is($mesh->sql(3, 'SELECT (SELECT v FROM cart WHERE id = 300) || (SELECT n FROM hits WHERE id = 301) || (SELECT count(*) FROM plain WHERE id = 1)'), 'raw70', 'with what was written past the triggers');
$mesh->pause_all;
$mesh->sql(2, 'UPDATE hits SET n = n + 10 WHERE id = 301');
$mesh->sql(3, 'UPDATE hits SET n = n + 100 WHERE id = 301');
$mesh->resume_all;
is($mesh->sql($_, 'SELECT n FROM hits WHERE id = 301'), 117, "node $_: a counter goes on from there") for 1 .. 3;
$mesh->is_identical('counters');

# ---------- rows of tables that inherit are none of the table's own ----------

$mesh->sql(1, "SELECT replication_plugin.exclude_table('base')");
$mesh->wait_converged;
$mesh->sql(2, "INSERT INTO base VALUES (500, 'of node 2 alone')");
$mesh->sql(1, "INSERT INTO heir VALUES (500, 'of all nodes'); SELECT replication_plugin.include_table('base')");
$mesh->wait_converged;
$mesh->sql(1, "SELECT replication_plugin.resend_table('base')");
$mesh->wait_converged;
is($mesh->sql($_, "SELECT string_agg(v, ' ') FROM base WHERE id = 500"), 'of all nodes', "node $_: a row that only another table has here is sent as none") for 1 .. 3;
$mesh->is_identical('a table with heirs, sent again');
$mesh->all_sql('CREATE TABLE plain_heir (PRIMARY KEY (id)) INHERITS (plain)');
$mesh->sql(1, "SET session_replication_role = replica; INSERT INTO plain_heir VALUES (900, 'heir'); INSERT INTO child VALUES (1, 900)");
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT "constraint" || missing FROM replication_plugin.dangling_references()'), 'child_plain_fkey{"id": 900}', "node $_: a reference to what only an heir has is a dangling one") for 1 .. 3;
done_testing();
