# A try of a transaction that is aborted does not count as applied: since PostgreSQL 16, aborts advance the progress of the
# session's origin, those of subtransactions too (shared/origin_mark.c). Here tries fail, are ended and are cut short, and roll back
# subtransactions, while links and the park worker apply.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2, conf => "replication_plugin.table_patience = 1s\nmax_prepared_transactions = 2\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE locked (id int PRIMARY KEY);
SQL
$mesh->wait_converged;
my $bad = qr/terminated by signal|TRAP:|PANIC:/;

# The trigger rolls back a subtransaction that has written; then it fails, if there is a row in "hurdle".
$mesh->sql(2, <<'SQL');
CREATE SCHEMA local;
CREATE TABLE local.hurdle (id int);
CREATE TABLE local.notes (id int);
SELECT replication_plugin.exclude_table('local.hurdle'), replication_plugin.exclude_table('local.notes');
CREATE FUNCTION local.hinder() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		INSERT INTO local.notes VALUES (NEW.id);
		RAISE EXCEPTION 'never mind';
	EXCEPTION WHEN others THEN
		NULL;
	END;
	IF EXISTS (SELECT FROM local.hurdle) THEN
		RAISE EXCEPTION 'a hurdle';
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER hinder BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION local.hinder();
ALTER TABLE t ENABLE ALWAYS TRIGGER hinder;
SQL

sub frontier_waits
{
	my ($what) = @_;
	ok(!$mesh->sql(2, 'SELECT count(*) FROM t WHERE v = $$' . $what . '$$'), "$what: not applied yet");
}

# subtransactions that are rolled back in a transaction that is applied, again and again under one hold
$mesh->sql(1, "INSERT INTO t VALUES ($_, 'plain')") for 1 .. 20;
$mesh->wait_converged;
$mesh->is_identical('subtransactions that are rolled back');

# a try that fails after such a subtransaction, and after a row that was written
$mesh->sql(2, 'INSERT INTO local.hurdle VALUES (1)');
$mesh->sql(1, "BEGIN; INSERT INTO locked VALUES (1); INSERT INTO t VALUES (101, 'failed'); COMMIT");
$mesh->sql(1, "INSERT INTO t VALUES (102, 'behind it')");
ok($mesh->poll(2, "SELECT last_error LIKE '%a hurdle%' FROM replication_plugin.links WHERE provider = 'node1'", 't', 60), 'the link says why it fails');
frontier_waits('failed');
$mesh->sql(2, 'DELETE FROM local.hurdle');
$mesh->wait_converged;
$mesh->is_identical('a try that failed is made again');
is($mesh->sql(2, "SELECT count(*) FROM t WHERE id IN (101, 102)"), 2, 'nothing of it is lost');

# a worker that is ended in the middle: it waits for a lock, and has written before
my $session = $mesh->node(2)->background_psql('app');
$session->query_safe('BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE');
$mesh->sql(1, "BEGIN; INSERT INTO t VALUES (201, 'ended'); INSERT INTO locked VALUES (2); COMMIT");
for my $signal ('terminate', 'cancel', 'terminate')
{
	ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%' AND wait_event_type = 'Lock'", 1, 60), "a link waits before $signal");
	$mesh->sql(2, "SELECT pg_${signal}_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%' AND wait_event_type = 'Lock'");
}
frontier_waits('ended');
$session->query_safe('COMMIT');
$session->quit;
$mesh->wait_converged;
$mesh->is_identical('a worker that was ended applies it again');
is($mesh->sql(2, 'SELECT count(*) FROM t WHERE id = 201'), 1, 'nothing of it is lost');

# the server is stopped fast in the middle; the lock that the link waits for stays
$mesh->sql(2, "BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'lock'");
$mesh->sql(1, "BEGIN; INSERT INTO t VALUES (301, 'stopped'); INSERT INTO locked VALUES (3); COMMIT");
ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%' AND wait_event_type = 'Lock'", 1, 60), 'a link waits before the stop');
$mesh->node(2)->restart;
frontier_waits('stopped');
$mesh->sql(2, "ROLLBACK PREPARED 'lock'");
$mesh->wait_converged;
$mesh->is_identical('after a restart');
is($mesh->sql(2, 'SELECT count(*) FROM t WHERE id = 301'), 1, 'nothing of it is lost');

unlike(PostgreSQL::Test::Utils::slurp_file($mesh->node($_)->logfile), $bad, "node $_: no crash") for 1 .. 2;
done_testing();
