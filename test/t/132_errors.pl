# Errors name table, row and the right remedy: of gathered inserts, of functions, of decoding at the provider; and conflicts with
# several rows have their name.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2);
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v int);
CREATE TABLE e (id int PRIMARY KEY, v text);
CREATE TABLE two (id int PRIMARY KEY, a text UNIQUE, b text UNIQUE);
CREATE TABLE spec (id int PRIMARY KEY, v int);
CREATE TABLE other (id int PRIMARY KEY);
SQL
$mesh->wait_converged;

sub last_error { return $mesh->sql(2, "SELECT last_error FROM replication_plugin.links WHERE provider = 'node1'"); }
sub stops
{
	my ($like) = @_;
	return ok($mesh->poll(2, "SELECT coalesce(last_error ~ '$like', false) FROM replication_plugin.links WHERE provider = 'node1'", 't', 30), "the link says: $like") || diag(last_error());
}
sub goes_on
{
	my ($what) = @_;
	$mesh->wait_converged;
	ok($mesh->poll(2, "SELECT state FROM replication_plugin.links WHERE provider = 'node1'", 'streaming'), "$what: the link goes on");
}

subtest 'an error in one of many inserts' => sub {
	$mesh->sql(2, 'CREATE INDEX bad ON t ((100 / (v - 7)))');
	$mesh->sql(1, 'INSERT INTO t SELECT i, i FROM generate_series(1, 50) i');
	stops('division by zero');
	like(last_error(), qr/INSERT in table "public.t", row \(id=7\), transaction [0-9A-F]+\/[0-9A-F]+ of node 1/, 'it names table, row and transaction');
	like(last_error(), qr/HINT: (?!The link).*skip_transaction/, 'the right remedy comes first, the last resort last');
	$mesh->sql(2, 'DROP INDEX bad');
	goes_on('division by zero');
	$mesh->sql(2, 'ALTER TABLE t ADD CONSTRAINT few CHECK (v < 140)');
	$mesh->sql(1, 'INSERT INTO t SELECT i, i FROM generate_series(101, 150) i');
	stops('violates check constraint');
	like(last_error(), qr/row \(id=140\).*HINT: .*the same types and constraints/, 'a constraint: row and remedy');
	$mesh->sql(2, 'ALTER TABLE t DROP CONSTRAINT few');
	goes_on('check');
};

subtest 'each kind of error has its remedy' => sub {
	$mesh->sql(2, "CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'no such order'; END \$\$;
		CREATE TRIGGER fails BEFORE INSERT ON e FOR EACH ROW EXECUTE FUNCTION fails(); ALTER TABLE e ENABLE ALWAYS TRIGGER fails");
	$mesh->sql(1, "INSERT INTO e VALUES (1, 'x')");
	stops('no such order');
	like(last_error(), qr/PL\/pgSQL function .*fails\(\).*table "public.e", row \(id=1\).*HINT: A function that comes with the table.*mend it.*skip_transaction/, 'a trigger: which function, and what to do');
	$mesh->sql(2, 'DROP TRIGGER fails ON e');
	goes_on('trigger');
	$mesh->sql(2, 'ALTER TABLE e ALTER v TYPE varchar(3)');
	$mesh->sql(1, "INSERT INTO e VALUES (2, 'longer')");
	stops('value too long');
	like(last_error(), qr/row \(id=2\).*HINT: .*the same types and constraints.*skip_transaction/, 'a value that does not fit');
	$mesh->sql(2, 'ALTER TABLE e ALTER v TYPE text');
	goes_on('value');
};

subtest 'a transaction that the provider cannot decode' => sub {
	# PostgreSQL's own error: what an index expression inserts comes between an INSERT ... ON CONFLICT and its confirmation
	$mesh->sql(1, 'CREATE FUNCTION really_inserts(int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO other VALUES ($1); RETURN $1; END $$;
		CREATE FUNCTION inserts(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN really_inserts($1); END $$;
		CREATE INDEX inserts ON spec (inserts(v))');
	$mesh->sql(1, "INSERT INTO spec VALUES (1, 1) ON CONFLICT DO NOTHING");
	$mesh->sql(1, 'DROP INDEX inserts');
	$mesh->sql(1, 'INSERT INTO t VALUES (1000, 1)');
	stops('invalid ordering of speculative insertion changes');
	my ($lsn) = last_error() =~ /skip_transaction\('node1', '([0-9A-F\/]+)'\)/;
	like(last_error(), qr/node "node1" cannot send its transaction/, 'it says where, and which transaction');
	$mesh->try_sql(2, "SELECT replication_plugin.skip_transaction('node1', '$lsn')") if $lsn;
	ok($mesh->poll(2, 'SELECT count(*) FROM t WHERE id = 1000', 1, 30), 'skip_transaction() gets the link over it');
	goes_on('decoding');
	like(PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile), qr/was skipped by skip_transaction/, 'the log tells of it');
	$mesh->all_sql('DELETE FROM spec; DELETE FROM other');
	$mesh->wait_converged;
};

subtest 'one arriving row against two' => sub {
	my $conflict = sub {
		my ($i) = @_;
		return $mesh->sql($i, "SELECT string_agg(conflict_type || ' ' || resolution || ' ' || row_key, ', ' ORDER BY conflict_type, row_key::text) FROM replication_plugin.conflicts WHERE table_name = 'public.two'");
	};
	$mesh->pause_all;
	$mesh->sql(2, "INSERT INTO two VALUES (2, 'a', 'x'), (3, 'y', 'b')");
	$mesh->sql(1, "INSERT INTO two VALUES (1, 'a', 'b')");
	$mesh->resume_all;
	is($conflict->(2), 'multiple_unique_conflicts parked {"id": 2}, multiple_unique_conflicts parked {"id": 3}', 'two rows that make room');
	$mesh->all_sql('DELETE FROM replication_plugin.conflict_log');
	$mesh->pause_all;
	$mesh->sql(1, "INSERT INTO two VALUES (4, 'c', 'd')");
	$mesh->sql(2, "INSERT INTO two VALUES (5, 'c', 'd')");
	$mesh->resume_all;
	is($conflict->(1), 'multiple_unique_conflicts parked {"id": 4}', 'one row by two keys');
	$mesh->all_sql('DELETE FROM replication_plugin.conflict_log');
	$mesh->pause_all;
	$mesh->sql(1, "INSERT INTO two VALUES (6, 'e', 'f'), (7, 'g', 'h')");
	$mesh->sql(2, "INSERT INTO two VALUES (6, 'g', 'i')");
	$mesh->resume_all;
	is($conflict->(1), 'multiple_unique_conflicts apply_remote {"id": 6}, multiple_unique_conflicts parked {"id": 7}', 'its own key and another');
};

$mesh->is_identical('at the end');
done_testing();
