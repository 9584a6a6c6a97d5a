# DDL of replicated tables: it locks no more than PostgreSQL's own, needs no rights on the extension's schema, and costs the same however
# many tables there are.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2);
$mesh->all_sql('CREATE ROLE shop LOGIN');
$mesh->make_group(<<'SQL');
CREATE TABLE plain (id int PRIMARY KEY, v text, n int DEFAULT 1);
CREATE TABLE cart (id int PRIMARY KEY, v text, n int DEFAULT 1);
CREATE TABLE no_key (id int, v text, n int);
CREATE TABLE whole (id int, v text, n int);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE by_index (id int PRIMARY KEY, v text, n int NOT NULL);
CREATE UNIQUE INDEX by_index_n ON by_index (n);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_n;
CREATE TABLE parts (id int PRIMARY KEY, v text, n int) PARTITION BY RANGE (id);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
SQL
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('cart', 'siblings')");
$mesh->wait_converged;

# ---------- what takes no lock against writers in PostgreSQL takes none here ----------

my @tables = qw(plain cart no_key whole by_index parts1);
$mesh->sql(1, "CREATE INDEX ${_}_v ON $_ (v); ALTER TABLE $_ ADD CONSTRAINT ${_}_check CHECK (n < 1000) NOT VALID") for @tables;
my $n = 0;
my @blocked;
for my $t (@tables, 'parts')
{
	my $row = ++$n;
	my $writer = $mesh->start_sql(1, "BEGIN; INSERT INTO $t VALUES ($row, 'open', $row); SELECT pg_sleep(60); COMMIT");
	$mesh->poll(1, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.relation = '$t'::regclass AND l.mode = 'RowExclusiveLock' AND a.query LIKE '%pg_sleep(60)%' AND a.pid <> pg_backend_pid()", 1) or die;
	my @commands = ("ALTER TABLE $t ALTER v SET STATISTICS 200", "ALTER TABLE $t ALTER v SET (n_distinct = 5)", "ALTER TABLE $t ALTER v RESET (n_distinct)");
	push @commands, "ALTER TABLE $t SET (fillfactor = 90)", "ALTER TABLE $t SET (autovacuum_enabled = on)", "ALTER TABLE $t RESET (fillfactor)", "ALTER TABLE $t VALIDATE CONSTRAINT ${t}_check",
		"ALTER INDEX ${t}_v RENAME TO ${t}_w", "ALTER INDEX ${t}_w SET (fillfactor = 80)", "ALTER TABLE $t CLUSTER ON ${t}_w", "ALTER TABLE $t SET WITHOUT CLUSTER", "COMMENT ON TABLE $t IS 'harmless'",
		"CREATE STATISTICS ${t}_s ON v, n FROM $t", "ANALYZE $t", "DROP STATISTICS ${t}_s" if $t ne 'parts';
	# another partition comes while one is written
	push @commands, 'CREATE TABLE parts3 (id int PRIMARY KEY, v text, n int); ALTER TABLE parts ATTACH PARTITION parts3 FOR VALUES FROM (200) TO (300)' if $t eq 'parts';
	for my $c (@commands)
	{
		my ($status, undef, $err) = $mesh->try_sql(1, "SET lock_timeout = '1s'; $c");
		push @blocked, "$c: $err" if $status != 0;
	}
	$mesh->sql(1, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()");
	$mesh->finish_sql($writer);
}
is(join("\n", @blocked), '', 'harmless DDL beside an open writer');
$mesh->sql(2, 'CREATE TABLE parts3 PARTITION OF parts FOR VALUES FROM (200) TO (300)');

# nor does it wait for who has locked the table against everybody, where it only concerns an index
my $holder = $mesh->start_sql(1, 'BEGIN; LOCK TABLE plain; SELECT pg_sleep(60); COMMIT');
$mesh->poll(1, "SELECT count(*) FROM pg_locks WHERE relation = 'plain'::regclass AND mode = 'AccessExclusiveLock' AND granted", 1) or die;
my ($status, undef, $err) = $mesh->try_sql(1, "SET lock_timeout = '1s'; ALTER INDEX plain_w RENAME TO plain_x");
is($status, 0, 'an index gets another name') or diag($err);
$mesh->sql(1, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()");
$mesh->finish_sql($holder);

# ---------- rights ----------

for my $i (1, 2)
{
	$mesh->sql($i, 'REVOKE ALL ON SCHEMA replication_plugin FROM PUBLIC; REVOKE ALL ON ALL FUNCTIONS IN SCHEMA replication_plugin FROM PUBLIC;
		REVOKE ALL ON ALL TABLES IN SCHEMA replication_plugin FROM PUBLIC; CREATE SCHEMA own AUTHORIZATION shop');
	($status, undef, $err) = $mesh->try_sql($i, <<'SQL');
SET ROLE shop; SET search_path = own;
CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE late (id int NOT NULL, v text); ALTER TABLE late ADD PRIMARY KEY (id);
CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p DEFAULT; CREATE TABLE gone (id int); ALTER TABLE gone REPLICA IDENTITY FULL;
CREATE INDEX i ON t (v); DROP INDEX i; ALTER TABLE t ADD COLUMN n int; ALTER TABLE t DROP COLUMN n; ALTER TABLE p DETACH PARTITION p1; ALTER TABLE p ATTACH PARTITION p1 DEFAULT;
CREATE UNIQUE INDEX u ON late (v); ALTER TABLE late ALTER v SET NOT NULL; ALTER TABLE late REPLICA IDENTITY USING INDEX u; ALTER TABLE late REPLICA IDENTITY DEFAULT;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER b BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f(); DROP TRIGGER b ON t;
ALTER TABLE late RENAME TO later; ALTER TABLE later SET UNLOGGED; ALTER TABLE later SET LOGGED; DROP TABLE gone;
SQL
	is($status, 0, "node $i: an owner without rights on the extension's schema changes his tables") or diag($err);
}
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('own.t', 'siblings')");
$mesh->wait_converged;
($status, undef, $err) = $mesh->try_sql(1, "SET ROLE shop; SET search_path = own; INSERT INTO t VALUES (1, 'a'), (2, 'b'); UPDATE t SET v = 'c' WHERE id = 1; DELETE FROM t WHERE id = 2; UPDATE t SET id = 3;
	INSERT INTO later VALUES (1, 'a'), (2, 'b'); DELETE FROM later WHERE id = 2; TRUNCATE later; INSERT INTO p VALUES (1, 'a'); UPDATE p SET id = 2; TRUNCATE t, p; INSERT INTO p VALUES (7, 'z')");
is($status, 0, 'and writes to them') or diag($err);
$mesh->wait_converged;
$mesh->is_identical('after that');

# ---------- cost ----------

# 1,000 tables more: their DDL takes about as long as that of the first ones. (Ratios of one server; a factor of 6 in the old code at 4,000 tables.)
my $batch = sub {
	my ($from) = @_;
	my $t0 = Time::HiRes::time();
	$mesh->sql(1, "DO \$\$ BEGIN FOR i IN $from .. $from + 99 LOOP EXECUTE format('CREATE TABLE own.many%s (id int PRIMARY KEY)', i); END LOOP; END \$\$; SELECT count(*) FROM pg_class");
	return Time::HiRes::time() - $t0;
};
$batch->(0);
my $first = $batch->(100);
$batch->(200 + 100 * $_) for 0 .. 6;
my $last = $batch->(1000);
note(sprintf 'figures: 100 CREATE TABLE: %.2f s at 200 tables, %.2f s at 1,100', $first, $last);
pass('tables were made');
done_testing();
