# When a table that waits is tried again: soon after its reason is mended here by DDL, not in a loop if somebody changes it in a loop; and slow code of one owner's
# tables leaves time for what is kept of others.
use strict;
use warnings;
use Mesh;
use Time::HiRes qw(time);
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(2, conf => "replication_plugin.table_patience = 1s\nreplication_plugin.row_timeout = 20s\n");
$mesh->sql($_, 'CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN') for 1, 2;
my $as = 'SET SESSION AUTHORIZATION mallory; ';
my $fails = "BEGIN IF session_user <> 'mallory' AND session_user <> 'alice' THEN RAISE 'no way'; END IF; RETURN new; END";
my @tables = qw(trigger function column enum check);
my $many = 20;
$mesh->make_group(join("\n", 'CREATE SCHEMA m AUTHORIZATION mallory; CREATE SCHEMA a AUTHORIZATION alice; CREATE TABLE bank (id int PRIMARY KEY, v text);', $as,
	"CREATE FUNCTION m.fails() RETURNS trigger LANGUAGE plpgsql AS \$\$ $fails \$\$; CREATE FUNCTION m.other() RETURNS trigger LANGUAGE plpgsql AS \$\$ $fails \$\$; CREATE TYPE m.mood AS ENUM ('bad');",
	(map { "CREATE TABLE m.t_$_ (id int PRIMARY KEY, v text);" } @tables, 'poked'), 'ALTER TABLE m.t_enum ALTER v TYPE m.mood USING $$bad$$; CREATE TABLE m.slow (id int PRIMARY KEY, v text); CREATE TABLE m.slow2 (id int PRIMARY KEY, v text);', (map { "CREATE TABLE m.many_$_ (id int PRIMARY KEY, v text);" } 1 .. $many),
	'SET SESSION AUTHORIZATION alice; CREATE TABLE a.t (id int PRIMARY KEY, v text);'));

sub hinder { my ($t, $f) = @_; return "CREATE TRIGGER t BEFORE INSERT ON $t FOR EACH ROW EXECUTE FUNCTION $f(); ALTER TABLE $t ENABLE ALWAYS TRIGGER t; "; }

subtest 'mended by DDL' => sub {
	$mesh->sql(2, $as . hinder('m.t_trigger', 'm.fails') . hinder('m.t_function', 'm.other') . hinder('m.t_poked', 'm.fails') . "ALTER TABLE m.t_check ADD CHECK (v <> 'x')");
	$mesh->sql(1, "$as ALTER TABLE m.t_column ADD n int; ALTER TYPE m.mood ADD VALUE 'good'");
	$mesh->sql(1, "$as INSERT INTO m.t_$_ VALUES (1, 'x')") for qw(trigger function check poked);
	$mesh->sql(1, "$as INSERT INTO m.t_column VALUES (1, 'x', 1); INSERT INTO m.t_enum VALUES (1, 'good')");
	# until they are tried seldom: after 1, 2, 4, 8, 16 seconds
	ok($mesh->poll(2, "SELECT count(*) FROM replication_plugin.waiting_tables WHERE retry_at > now() + interval '25 s'", scalar(@tables) + 1, 150), 'all wait, with a long pause')
		or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables; SELECT last_error FROM replication_plugin.links'));
	my $begun = time;
	$mesh->sql(2, "$as DROP TRIGGER t ON m.t_trigger; CREATE OR REPLACE FUNCTION m.other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'; ALTER TABLE m.t_column ADD n int; ALTER TYPE m.mood ADD VALUE 'good'; ALTER TABLE m.t_check DROP CONSTRAINT t_check_v_check");
	for my $t (@tables)
	{
		ok($mesh->poll(2, "SELECT count(*) FROM m.t_$t", '1', 60), "$t: its row comes");
		cmp_ok(time - $begun, '<', 15, "$t: soon");
	}
	# somebody changes his table all the time
	my $tries = $mesh->sql(2, q{SELECT tries FROM replication_plugin.waiting_table WHERE table_name = 't_poked'});
	$begun = time;
	$mesh->sql(2, "$as ALTER TABLE m.t_poked ALTER v SET STATISTICS 10") while time - $begun < 12;
	my $more = $mesh->sql(2, q{SELECT tries FROM replication_plugin.waiting_table WHERE table_name = 't_poked'}) - $tries;
	cmp_ok($more, '<=', 5, 'a table that is changed in a loop is not tried in a loop');
	$mesh->sql(2, "$as DROP TRIGGER t ON m.t_poked");
	ok($mesh->poll(2, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 60), 'nothing waits');
	$mesh->wait_converged;
	$mesh->is_identical('mended by DDL');
};

# As temporary tables change types, anybody can have all tables tried sooner.
subtest 'changes that may be of any table' => sub {
	my $state = sub { return "SELECT $_[1] FROM replication_plugin.waiting_table WHERE table_name = 't_$_[0]'"; };
	$mesh->sql(2, $as . hinder("m.t_$_", 'm.fails')) for qw(trigger poked);
	$mesh->sql(1, "$as INSERT INTO m.t_$_ VALUES (60, 'x')") for qw(trigger poked);
	# a try is not under way: while it is, the table counts as slow
	ok($mesh->poll(2, $state->($_, "retry_at > now() + interval '3 s' AND spent < 1000"), 't', 60), "$_: it is tried again after a pause") for qw(trigger poked);
	# as if the last try had taken long
	$mesh->sql(2, "UPDATE replication_plugin.waiting_table SET tried_at = now(), retry_at = now() + interval '1 hour', spent = 320000, over = 5
		WHERE table_name = 't_poked'; UPDATE replication_plugin.waiting_table SET tried_at = now(), retry_at = now() + interval '1 hour' WHERE table_name = 't_trigger'");
	$mesh->sql(2, "$as CREATE TEMP TABLE something (id int)");
	ok($mesh->poll(2, $state->('trigger', "retry_at < now() + interval '20 min'"), 't', 30), 'one that fails at once is due sooner');
	is($mesh->sql(2, $state->('poked', "retry_at > now() + interval '14 min' AND retry_at < now() + interval '20 min' AND over = 5")), 't', 'one that takes long is, too, after a rest')
		or diag($mesh->sql(2, $state->('poked', '*')));
	$mesh->sql(2, "$as ALTER TABLE m.t_poked ALTER v SET STATISTICS 20");
	ok($mesh->poll(2, $state->('poked', "retry_at < now() + interval '1 min' AND over = 0"), 't', 30), 'a change of the table itself counts at once');
	$mesh->sql(2, "$as DROP TRIGGER t ON m.t_$_") for qw(trigger poked);
	ok($mesh->poll(2, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 60), 'nothing waits');
	$mesh->wait_converged;
	$mesh->is_identical('any table');
};

subtest 'slow code of one owner' => sub {
	$mesh->sql(2, "$as CREATE FUNCTION m.sleeps() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN new; END'; CREATE FUNCTION m.deaf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN BEGIN PERFORM pg_sleep(0.5); EXCEPTION WHEN query_canceled THEN NULL; END; RETURN new; END'; "
		. hinder('m.slow', 'm.sleeps') . hinder('m.slow2', 'm.deaf') . 'GRANT USAGE ON SCHEMA m TO alice; GRANT EXECUTE ON FUNCTION m.fails() TO alice; SET SESSION AUTHORIZATION alice; ' . hinder('a.t', 'm.fails'));
	$mesh->sql(1, "SET SESSION AUTHORIZATION alice; INSERT INTO a.t VALUES (1, 'x')");
	ok($mesh->poll(2, q{SELECT changes FROM replication_plugin.waiting_tables WHERE "table" = 't'}, '1', 60), 'a table of somebody else waits');
	# the link is held up by three of their rows at most, though each takes a large part of table_patience
	my $begun = time;
	$mesh->sql(1, "$as INSERT INTO m.slow SELECT g, 'x' FROM generate_series(1, 300) g; INSERT INTO m.slow2 SELECT g, 'x' FROM generate_series(1, 300) g");
	ok($mesh->poll(2, q{SELECT count(*) FROM replication_plugin.waiting_tables WHERE "table" IN ('slow', 'slow2') AND changes > 0}, '2', 60), 'slow ones wait')
		or return;
	ok($mesh->poll(2, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'replication_plugin park' AND wait_event = 'PgSleep'}, '1', 60), 'one of them is applied')
		or diag($mesh->sql(2, 'SELECT backend_type, wait_event FROM pg_stat_activity'));
	$begun = time;
	$mesh->sql(2, 'SET SESSION AUTHORIZATION alice; DROP TRIGGER t ON a.t');
	ok($mesh->poll(2, 'SELECT count(*) FROM a.t', '1', 400), 'what is kept of others is applied');
	cmp_ok(time - $begun, '<', 45, 'meanwhile');
	ok($mesh->poll(2, q{SELECT bool_or(reason ~ 'a transaction took longer than 10 s, in which [0-9]+ changes were applied; it is tried again with more time' AND retry_at > now() + interval '20 s') FROM replication_plugin.waiting_tables}, 't', 60), 'the view says why, and when again')
		or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables'));
	$mesh->sql(1, "INSERT INTO bank VALUES (1, 'x')");
	ok($mesh->poll(2, 'SELECT count(*) FROM bank', '1', 20), 'links go on');
	$mesh->sql(2, "$as DROP TRIGGER t ON m.slow; DROP TRIGGER t ON m.slow2");
	ok($mesh->poll(2, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 150), 'nothing waits when that is mended')
		or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables'));
	$mesh->wait_converged;
	$mesh->is_identical('slow code');
};

# His code succeeds, and no look at a table takes long; but he has many.
subtest 'many tables of one owner' => sub {
	my $succeeds = sub { return "$as CREATE OR REPLACE FUNCTION m.many() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN $_[0] RETURN new; END'; "; };
	$mesh->sql(2, $succeeds->(q{RAISE ''not yet'';}) . join('', map { hinder("m.many_$_", 'm.many') } 1 .. $many)
		. "SET SESSION AUTHORIZATION alice; CREATE FUNCTION a.fails() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no way''; END'; " . hinder('a.t', 'a.fails'));
	$mesh->sql(1, "SET SESSION AUTHORIZATION alice; INSERT INTO a.t VALUES (2, 'x')");
	$mesh->sql(1, $as . join('', map { my $t = $_; map { "INSERT INTO m.many_$t VALUES ($_, 'x'); " } 1 .. 20 } 1 .. $many));
	ok($mesh->poll(2, q{SELECT count(*) FROM replication_plugin.waiting_tables WHERE changes > 0}, $many + 1, 90), 'all wait')
		or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables'));
	$mesh->sql(2, $succeeds->('PERFORM pg_sleep(0.2);'));
	ok($mesh->poll(2, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'replication_plugin park' AND wait_event = 'PgSleep'}, '1', 60), 'they are being applied');
	my $begun = time;
	$mesh->sql(2, 'SET SESSION AUTHORIZATION alice; DROP TRIGGER t ON a.t');
	ok($mesh->poll(2, 'SELECT count(*) FROM a.t WHERE id = 2', '1', 200), 'what is kept of others is applied');
	cmp_ok(time - $begun, '<', 25, 'in between');
	cmp_ok($mesh->sql(2, 'SELECT count(*) FROM replication_plugin.waiting_tables'), '>', $many / 2, '... while most of his tables wait');
	$mesh->sql(2, $succeeds->(''));
	ok($mesh->poll(2, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 120), 'nothing waits in the end')
		or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.waiting_tables'));
	$mesh->wait_converged;
	$mesh->is_identical('many tables');
};

subtest 'what waits cannot be kept' => sub {
	$mesh->sql(2, $as . hinder('m.t_check', 'm.fails'));
	$mesh->sql(1, "$as INSERT INTO m.t_check VALUES (50, 'x')");
	ok($mesh->poll(2, q{SELECT changes FROM replication_plugin.waiting_tables WHERE "table" = 't_check'}, '1', 60), 'a table waits');
	# as if there were no room
	$mesh->sql(2, "SET allow_system_table_mods = on; ALTER TABLE replication_plugin.waiting_change ADD CONSTRAINT no_room CHECK (table_name <> 't_check') NOT VALID");
	my $size = -s $mesh->node(2)->logfile;
	$mesh->sql(1, "$as INSERT INTO m.t_check VALUES (51, 'x')");
	ok($mesh->poll(2, q{SELECT bool_or(state = 'backoff' AND last_error ~ 'no_room') FROM replication_plugin.links}, 't', 10), 'the link stops, and says why');
	my $times = () = PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile, $size) =~ /wait from here on/g;
	cmp_ok($times, '<', 5, "it does not say again and again that the table waits ($times times)");
	$mesh->sql(2, 'SET allow_system_table_mods = on; ALTER TABLE replication_plugin.waiting_change DROP CONSTRAINT no_room');
	$mesh->sql(2, "$as DROP TRIGGER t ON m.t_check");
	ok($mesh->poll(2, 'SELECT count(*) FROM m.t_check WHERE id > 49', '2', 90), 'all is applied when there is room');
	$mesh->wait_converged;
	$mesh->is_identical('kept again');
};
done_testing();
