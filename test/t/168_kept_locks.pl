# Code of a table's owner that waits for a lock, with a lock_timeout of its own, holds up neither what is kept of others, nor a link.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(2, conf => "replication_plugin.table_patience = 1s\nreplication_plugin.lock_patience = 3s\n");
$mesh->sql($_, 'CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN') for 1, 2;
my $as = 'SET SESSION AUTHORIZATION mallory; ';
my $alice = 'SET SESSION AUTHORIZATION alice; ';
my $fails = "RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF session_user NOT IN ('mallory', 'alice') THEN RAISE 'no way'; END IF; RETURN new; END \$\$";
$mesh->make_group(<<"SQL");
CREATE TABLE bank (id int PRIMARY KEY, v text);
CREATE SCHEMA m AUTHORIZATION mallory;
CREATE SCHEMA a AUTHORIZATION alice;
$as
CREATE FUNCTION m.fails() $fails;
CREATE FUNCTION m.locks() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS \$\$ BEGIN LOCK TABLE m.x; RETURN new; END \$\$;
CREATE TABLE m.x (id int);
CREATE TABLE m.t (id int PRIMARY KEY, v text);
CREATE TABLE m.u (id int PRIMARY KEY, v text);
CREATE FUNCTION m.asks() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS \$\$ BEGIN IF session_user <> 'mallory' THEN PERFORM pg_advisory_xact_lock(42); END IF; RETURN new; END \$\$;
CREATE TABLE m.w (id int PRIMARY KEY, v text);
$alice
CREATE FUNCTION a.fails() $fails;
CREATE TABLE a.t (id int PRIMARY KEY, v text);
SQL
sub hinder { my ($t, $f) = @_; return "CREATE OR REPLACE TRIGGER t BEFORE INSERT ON $t FOR EACH ROW EXECUTE FUNCTION $f(); ALTER TABLE $t ENABLE ALWAYS TRIGGER t; "; }
sub kept { my ($t) = @_; return $mesh->poll(2, "SELECT count(*) FROM replication_plugin.waiting_tables WHERE schema || '.' || \"table\" = '$t' AND changes > 0", '1', 60); }

# a superuser's session, which is not ended
my $holder = $mesh->node(2)->background_psql('app');
subtest 'what is kept of others' => sub {
	$mesh->sql(2, $as . hinder('m.t', 'm.fails') . $alice . hinder('a.t', 'a.fails'));
	$mesh->sql(1, "$as INSERT INTO m.t VALUES (1, 'x'); $alice INSERT INTO a.t VALUES (1, 'x')");
	ok(kept($_), "$_ waits") or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables')) for 'm.t', 'a.t';
	$holder->query_safe('BEGIN; LOCK TABLE m.x');
	$mesh->sql(2, $as . hinder('m.t', 'm.locks'));
	ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'replication_plugin park' AND wait_event_type = 'Lock'", '1', 60), 'what is applied waits for a lock')
		or diag($mesh->sql(2, 'SELECT * FROM pg_stat_activity'));
	$mesh->sql(2, "$alice DROP TRIGGER t ON a.t");
	ok($mesh->poll(2, 'SELECT count(*) FROM a.t', '1', 60), 'what is kept of somebody else is applied meanwhile')
		or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables; SELECT * FROM pg_stat_activity'));
	ok($mesh->poll(2, q{SELECT reason ~ 'took longer than' FROM replication_plugin.waiting_tables}, 't', 60), 'the view says why the other one waits')
		or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables'));
};
subtest 'a link' => sub {
	$mesh->sql(2, $as . hinder('m.u', 'm.locks'));
	$mesh->sql(1, "$as INSERT INTO m.u VALUES (1, 'x')");
	$mesh->sql(1, "INSERT INTO bank VALUES (1, 'x')");
	ok($mesh->poll(2, 'SELECT count(*) FROM bank', '1', 120), 'others go on')
		or diag($mesh->sql(2, 'SELECT state, waits_for, last_error FROM replication_plugin.links; SELECT * FROM replication_plugin.waiting_tables'));
	ok(kept('m.u'), 'and the table waits') or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables'));
};
# Anybody can ask for any advisory lock.
subtest 'an advisory lock of somebody else' => sub {
	my $leader = $mesh->node(2)->background_psql('app', extra_params => [ '-U', 'alice' ], on_error_die => 0);
	$leader->query('SELECT pg_advisory_lock(42)');
	$mesh->sql(2, $as . hinder('m.w', 'm.asks'));
	$mesh->sql(1, "$as INSERT INTO m.w VALUES (1, 'x')");
	$mesh->sql(1, "INSERT INTO bank VALUES (2, 'x')");
	ok($mesh->poll(2, 'SELECT count(*) FROM bank WHERE id = 2', '1', 120), 'others go on')
		or diag($mesh->sql(2, 'SELECT state, waits_for, last_error FROM replication_plugin.links; SELECT * FROM replication_plugin.waiting_tables'));
	ok(kept('m.w'), 'the table waits') or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables'));
	is(eval { $leader->query('SELECT 40 + 2') } // 'ended', 42, 'who has the lock is not ended');
	eval { $leader->query('SELECT pg_advisory_unlock_all()'); $leader->quit };
	ok($mesh->poll(2, 'SELECT count(*) FROM m.w', '1', 60), 'its row comes when it is given back');
};
$holder->query_safe('COMMIT');
$holder->quit;
ok($mesh->poll(2, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 180), 'nothing waits when the lock is given back')
	or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables'));
$mesh->wait_converged;
$mesh->is_identical('in the end');
done_testing();
