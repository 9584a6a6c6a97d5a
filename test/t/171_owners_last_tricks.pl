# What owners of tables could do until it was looked at: deferred triggers that fire as somebody else; errors that look as if they passed; locks on the
# provider; endless errors; large rows of a table that waits.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);
use Test::More;

my $mesh = Mesh->new(2, conf => "replication_plugin.table_patience = 3s\nreplication_plugin.lock_patience = 20s\n");
$mesh->sql($_, 'CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN') for 1, 2;
my $as = 'SET SESSION AUTHORIZATION mallory; ';
$mesh->make_group(<<"SQL");
CREATE SCHEMA m AUTHORIZATION mallory;
CREATE SCHEMA a AUTHORIZATION alice;
CREATE TABLE bank (id int PRIMARY KEY, v text);
SET SESSION AUTHORIZATION mallory;
CREATE FUNCTION m.late() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
	RAISE LOG 'who am I: late as % (superuser: %)', current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
	RETURN new;
END \$\$;
CREATE FUNCTION m.defers() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN SET CONSTRAINTS ALL DEFERRED; RETURN new; END \$\$;
CREATE TABLE m.other (id int, v text);
ALTER TABLE m.other REPLICA IDENTITY FULL;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON m.other DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION m.late();
ALTER TABLE m.other ENABLE ALWAYS TRIGGER late;
CREATE FUNCTION m.writes(i int) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN
	IF session_user <> 'mallory' THEN INSERT INTO m.other VALUES (i, session_user); END IF;
	RETURN true;
END \$\$;
CREATE FUNCTION m.ok(i int) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN
	IF session_user <> 'mallory' AND i < 0 THEN RAISE 'not yet' USING ERRCODE = '40001'; END IF;
	RETURN true;
END \$\$;
CREATE TABLE m.t (id int PRIMARY KEY, v text);
CREATE TRIGGER defers BEFORE INSERT ON m.t FOR EACH ROW EXECUTE FUNCTION m.defers();
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON m.t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION m.late();
ALTER TABLE m.t ENABLE ALWAYS TRIGGER defers;
ALTER TABLE m.t ENABLE ALWAYS TRIGGER late;
CREATE TABLE m.checked (id int PRIMARY KEY, CHECK (m.writes(id)));
CREATE TABLE m.passing (id int PRIMARY KEY, CHECK (m.ok(id)));
CREATE TABLE m.toast (id int PRIMARY KEY, n int, large text);
ALTER TABLE m.toast ALTER large SET STORAGE EXTERNAL;
CREATE TABLE m.locked (id int PRIMARY KEY);
CREATE TABLE m.loud (id int PRIMARY KEY, v text);
GRANT USAGE ON SCHEMA m TO alice;
GRANT INSERT ON m.t TO alice;
SET SESSION AUTHORIZATION alice;
CREATE TABLE a.t (id int PRIMARY KEY, v text);
CREATE FUNCTION a.fires() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RETURN new; END \$\$;
CREATE TRIGGER t AFTER INSERT ON a.t FOR EACH ROW EXECUTE FUNCTION a.fires();
ALTER TABLE a.t ENABLE ALWAYS TRIGGER t;
SQL

# As whom the deferred trigger was run on a node since a place in its log.
sub runners
{
	my ($i, $from) = @_;
	my %who;
	my $log = PostgreSQL::Test::Utils::slurp_file($mesh->node($i)->logfile, $from);
	$who{$1}++ while $log =~ /who am I: late as (\w+ \(superuser: \w\))/g;
	return join ', ', sort keys %who;
}
sub log_end { return -s $mesh->node($_[0])->logfile; }

subtest 'deferred triggers fire as the owner' => sub {
	my $from = log_end(2);
	$mesh->sql(1, "BEGIN; INSERT INTO m.t VALUES (1, 'x'); INSERT INTO a.t VALUES (1, 'x'); INSERT INTO m.t VALUES (2, 'x'); INSERT INTO bank VALUES (1, 'x'); COMMIT");
	$mesh->sql(1, "$as INSERT INTO m.checked VALUES (1)");
	$mesh->wait_converged;
	is($mesh->sql(2, 'SELECT count(*) FROM m.checked'), '1', 'the row is there');
	is($mesh->sql(2, 'SELECT count(*) FROM m.other'), '1', 'its check has written');
	is(runners(2, $from), 'mallory (superuser: f)', 'rows that arrive');
	$from = log_end(1);
	$mesh->sql(1, "SELECT replication_plugin.resend_table('m.t')");
	is(runners(1, $from), 'mallory (superuser: f)', 'resend_table()');
	$from = log_end(1);
	$mesh->sql(1, "SELECT replication_plugin.resend_table('m.checked')");
	is(runners(1, $from), 'mallory (superuser: f)', 'resend_table() of a table whose check writes');
	$from = log_end(1);
	$mesh->sql(1, "BEGIN; SET CONSTRAINTS ALL DEFERRED; SELECT replication_plugin.resend_table('m.t'); COMMIT");
	is(runners(1, $from), 'mallory (superuser: f)', 'resend_table() where constraints are deferred');
	$mesh->sql($_, "$as TRUNCATE m.other") for 1, 2;
	$mesh->wait_converged;
	$mesh->is_identical('deferred triggers');
};

subtest 'errors that look as if they passed' => sub {
	$mesh->sql(1, "BEGIN; INSERT INTO m.passing VALUES (1), (2); SET LOCAL SESSION AUTHORIZATION mallory; INSERT INTO m.passing SELECT -g FROM generate_series(1, 10) g; COMMIT");
	ok($mesh->poll(2, q{SELECT changes >= 10 FROM replication_plugin.waiting_tables WHERE "table" = 'passing'}, 't', 60), 'the table waits')
		or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables; SELECT state, last_error FROM replication_plugin.links'));
	$mesh->sql(1, "INSERT INTO bank VALUES (2, 'x')");
	ok($mesh->poll(2, 'SELECT count(*) FROM bank WHERE id = 2', '1', 30), 'the link goes on');
	my $from = log_end(2);
	# it has waited lately: it is given little time when it fails the next time
	$mesh->sql(2, "$as CREATE OR REPLACE FUNCTION m.ok(i int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END'");
	ok($mesh->poll(2, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 90), 'nothing waits when that is mended');
	$mesh->wait_converged;
	$mesh->is_identical('errors that pass');
};

subtest 'an error without an end' => sub {
	$mesh->sql(2, "$as CREATE FUNCTION m.shouts() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''%'', repeat(''\"'', 200000000); END'; CREATE TRIGGER t BEFORE INSERT ON m.loud FOR EACH ROW EXECUTE FUNCTION m.shouts(); ALTER TABLE m.loud ENABLE ALWAYS TRIGGER t");
	$mesh->sql(1, "$as INSERT INTO m.loud VALUES (1, 'x')");
	ok($mesh->poll(2, q{SELECT changes FROM replication_plugin.waiting_tables WHERE "table" = 'loud'}, '1', 90), 'the table waits');
	cmp_ok($mesh->sql(2, q{SELECT length(reason) FROM replication_plugin.waiting_tables WHERE "table" = 'loud'}), '<', 2100, 'its reason is as long as people read');
	$mesh->sql(2, "$as DROP TRIGGER t ON m.loud");
	ok($mesh->poll(2, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 90), 'nothing waits when that is mended');
	$mesh->wait_converged;
	$mesh->is_identical('a long error');
};

subtest 'large rows are kept' => sub {
	$mesh->sql(2, "$as CREATE FUNCTION m.fails() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not yet''; END'; CREATE TRIGGER t BEFORE INSERT ON m.toast FOR EACH ROW EXECUTE FUNCTION m.fails(); ALTER TABLE m.toast ENABLE ALWAYS TRIGGER t");
	$mesh->sql(1, "$as INSERT INTO m.toast SELECT g, 0, repeat(md5(g::text), 100000) FROM generate_series(1, 12) g");
	ok($mesh->poll(2, q{SELECT changes FROM replication_plugin.waiting_tables WHERE "table" = 'toast'}, '12', 90), 'the table waits');
	$mesh->sql(2, "$as DROP TRIGGER t ON m.toast");
	ok($mesh->poll(2, 'SELECT count(*) FROM m.toast', '12', 90), 'all come');
	ok($mesh->poll(2, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 90), 'nothing waits');
	$mesh->wait_converged;
	$mesh->is_identical('large rows');
};
# The first time he has all of lock_patience, then half of it.
subtest 'a table that is locked again and again' => sub {
	my @took;
	for my $i (1 .. 2)
	{
		my $job = $mesh->start_sql(2, "\\connect - mallory\nBEGIN; LOCK TABLE m.locked; SELECT pg_sleep(600)");
		ok($mesh->poll(2, q{SELECT count(*) FROM pg_locks WHERE relation = 'm.locked'::regclass AND granted AND mode = 'AccessExclusiveLock'}, '1', 30), 'he has it');
		my $begun = time;
		$mesh->sql(1, "INSERT INTO m.locked VALUES ($i); INSERT INTO bank VALUES (100 + $i, 'x')");
		ok($mesh->poll(2, "SELECT count(*) FROM bank WHERE id = 100 + $i", '1', 90), 'what comes behind his rows does');
		push @took, time - $begun;
		like(($mesh->finish_sql($job))[1], qr/terminating connection/, 'his session is ended');
	}
	cmp_ok($took[0], '>', 15, 'after lock_patience');
	cmp_ok($took[1], '<', 17, 'and sooner the next time') or diag("@took");
	$mesh->wait_converged;
	$mesh->is_identical('locked again and again');
};
done_testing();
