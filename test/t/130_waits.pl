# What a link waits for is told, and ends: transactions that are tried again and again, locks of sessions, deadlocks,
# slow triggers and long statements under a short wal_sender_timeout, code that never ends.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2);
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE f (a int, b int);
ALTER TABLE f REPLICA IDENTITY FULL;
CREATE TABLE slow (id int PRIMARY KEY, v text);
CREATE TABLE parked (id int PRIMARY KEY, name text UNIQUE);
INSERT INTO t SELECT i, 'start' FROM generate_series(1, 20) i;
INSERT INTO f SELECT i, 0 FROM generate_series(1, 60000) i;
SQL
$mesh->wait_converged;

sub link_is
{
	my ($what, $condition, $seconds) = @_;
	return ok($mesh->poll(2, "SELECT $condition FROM replication_plugin.links WHERE provider = 'node1'", 't', $seconds || 60), $what);
}

sub trigger_on_2
{
	my ($table, $body) = @_;
	# at once: a link that tries again in between would apply the row
	$mesh->sql(2, "BEGIN; CREATE OR REPLACE FUNCTION hinder() RETURNS trigger LANGUAGE plpgsql AS \$\$ $body \$\$;
		DROP TRIGGER IF EXISTS hinder ON $table;
		CREATE TRIGGER hinder BEFORE INSERT OR UPDATE ON $table FOR EACH ROW EXECUTE FUNCTION hinder();
		ALTER TABLE $table ENABLE ALWAYS TRIGGER hinder; COMMIT");
}

sub settings
{
	my ($i, %set) = @_;
	$mesh->sql($i, "ALTER SYSTEM SET $_ = '$set{$_}'") for sort keys %set;
	$mesh->sql($i, 'SELECT pg_reload_conf()');
}

# How often the log of node 2 has it; it is written a moment after the view shows it.
sub logged
{
	my ($like) = @_;
	$mesh->node(2)->wait_for_log($like);
	return scalar(() = log_of_2() =~ /$like/g);
}

sub log_of_2 { return PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile); }

subtest 'a transaction that is tried again for ever is told' => sub {
	trigger_on_2('t', "BEGIN IF NEW.v = 'again' THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF; RETURN NEW; END");
	$mesh->sql(1, "UPDATE t SET v = 'again' WHERE id = 7");
	link_is('last_error has the error, table and row', "last_error ~ 'not now' AND last_error ~ 'UPDATE in table .public.t., row \\(id=7\\)'");
	link_is('the state says that it goes on trying', "state = 'retrying'");
	is(logged(qr/applies a transaction again and again/), 1, 'the log has it once');
	$mesh->sql(2, 'DROP TRIGGER hinder ON t');
	$mesh->wait_converged;
	is($mesh->sql(2, 'SELECT v FROM t WHERE id = 7'), 'again', 'it is applied when the cause is gone');
};

subtest 'a large transaction whose last rows fail again and again' => sub {
	# it comes in many messages; each time it is applied again all of them are
	trigger_on_2('t', "BEGIN IF NEW.id = 3000 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF; RETURN NEW; END");
	$mesh->sql(1, "INSERT INTO t SELECT i, repeat(md5(i::text), 10) FROM generate_series(1001, 3000) i");
	link_is('last_error has the row', "state = 'retrying' AND last_error ~ 'INSERT in table .public.t., row \\(id=3000\\)'");
	unlike(log_of_2(), qr/terminated by signal/, 'nothing crashes');
	$mesh->sql(2, 'DROP TRIGGER hinder ON t');
	$mesh->wait_converged;
	is($mesh->sql(2, 'SELECT count(*) FROM t WHERE id > 1000'), 2000, 'it is applied when the cause is gone');
	$mesh->sql(1, 'DELETE FROM t WHERE id > 1000');
	$mesh->wait_converged;
};

subtest 'a lock of a session is waited for, and shown with who has it' => sub {
	my $s = $mesh->node(2)->background_psql('app');
	my $pid = $s->query_safe('SELECT pg_backend_pid()');
	$s->query_safe('BEGIN; UPDATE t SET v = v WHERE id = 1');
	$mesh->sql(1, "UPDATE t SET v = 'behind the lock' WHERE id = 1");
	link_is('links names the process', "state = 'waiting' AND waits_for ~ '$pid' AND blocked_since IS NOT NULL");
	ok($mesh->poll(2, "SELECT pg_read_file('" . $mesh->node(2)->logfile . "') ~ 'waits for a row.*held by process $pid'"), 'so does the log');
	$s->query_safe('COMMIT');
	$s->quit;
	link_is('and then it is over', "state = 'streaming' AND waits_for IS NULL");
	my $l = $mesh->node(2)->background_psql('app');
	$pid = $l->query_safe('SELECT pg_backend_pid()');
	$l->query_safe('BEGIN; LOCK TABLE t IN SHARE MODE');
	$mesh->sql(1, "UPDATE t SET v = 'behind a table lock' WHERE id = 2");
	link_is('a lock of a table too', "state = 'waiting' AND waits_for ~ 'lock of public.t, held by process $pid'");
	$l->query_safe('COMMIT');
	$l->quit;
	$mesh->wait_converged;
};

subtest 'a server stops in seconds, whatever its subscribers wait for' => sub {
	my $stop = sub {
		my ($i, $what) = @_;
		my $began = time();
		$mesh->node($i)->stop('fast');
		cmp_ok(time() - $began, '<', 45, "node $i stops: $what");
		$mesh->start_server($i);
	};
	trigger_on_2('t', "BEGIN IF NEW.v = 'no end' THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF; RETURN NEW; END");
	$mesh->sql(1, "UPDATE t SET v = 'no end' WHERE id = 8");
	link_is('a transaction is tried again and again', "state = 'retrying'");
	$stop->($_, 'a transaction is tried again and again') for 2, 1;
	$mesh->sql(2, 'DROP TRIGGER hinder ON t');
	link_is('streams', "state = 'streaming'");
	$mesh->wait_converged;
	my $s = $mesh->node(2)->background_psql('app');
	$s->query_safe('BEGIN; SELECT v FROM t WHERE id = 9 FOR UPDATE');
	$mesh->sql(1, "UPDATE t SET v = 'behind' WHERE id = 9");
	link_is('the link waits', "state = 'waiting'");
	$stop->(1, 'a row is locked');
	$s->query_safe('COMMIT');
	$s->quit;
	link_is('streams again', "state = 'streaming'");
	$mesh->wait_converged;
	is($mesh->sql(2, 'SELECT string_agg(v, $$, $$ ORDER BY id) FROM t WHERE id IN (8, 9)'), 'no end, behind', 'nothing is lost');
};

subtest 'in a deadlock the applier gives way, also when a session closes the circle late' => sub {
	my $s = $mesh->node(2)->background_psql('app');
	$s->query_safe('BEGIN; UPDATE t SET v = $$session$$ WHERE id = 11');
	$mesh->sql(1, "BEGIN; UPDATE t SET v = 'first' WHERE id = 13; UPDATE t SET v = 'second' WHERE id = 11; COMMIT");
	# longer than deadlock_timeout: its own look for a deadlock is over
	ok($mesh->poll(2, "SELECT EXISTS (SELECT FROM pg_stat_activity a, pg_locks l WHERE a.backend_type LIKE 'replication_plugin link%' AND l.pid = a.pid
		AND NOT l.granted AND l.waitstart < clock_timestamp() - interval '1500 ms')"), 'apply waits');
	eval { $s->query_safe('UPDATE t SET v = $$session$$ WHERE id = 13; COMMIT'); $s->quit };
	is($@, '', 'the session goes on');
	$mesh->wait_converged;
	is($mesh->sql(2, "SELECT string_agg(v, ',' ORDER BY id) FROM t WHERE id IN (11, 13)"), 'session,session', 'both are done, and the later write stays');
};

subtest 'a provider that does not answer is told of' => sub {
	my $s = $mesh->node(1)->background_psql('app');
	$s->query_safe('BEGIN; LOCK TABLE replication_plugin.local_node IN ACCESS EXCLUSIVE MODE');
	$mesh->sql(2, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'replication_plugin link from node 1'");
	link_is('the link says who does not answer, and which process to look at there', "state = 'connecting' AND last_error ~ 'has not answered for 5 seconds.*process [0-9]+: see in pg_stat_activity'");
	my ($pid) = $mesh->sql(2, "SELECT last_error FROM replication_plugin.links WHERE provider = 'node1'") =~ /process ([0-9]+)/;
	is($mesh->sql(1, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = " . ($pid || 0), 'postgres'), 'Lock', 'it is the one that waits');
	is(logged(qr/has not answered for 5 seconds/), 1, 'the log has it once');
	$s->query_safe('COMMIT');
	$s->quit;
	link_is('and goes on when the lock is gone', "state = 'streaming'");
	$mesh->wait_converged;
};

subtest 'a slow trigger under a short wal_sender_timeout' => sub {
	settings(1, wal_sender_timeout => '2s');
	my $restarts = $mesh->sql(2, 'SELECT restarts FROM replication_plugin.links');
	trigger_on_2('slow', "BEGIN IF NEW.id = 50 THEN PERFORM pg_sleep(7); END IF; RETURN NEW; END");
	# more than what is on its way between the two
	$mesh->sql(1, "INSERT INTO slow SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 3000) j) FROM generate_series(1, 200) i");
	ok($mesh->poll(2, 'SELECT count(*) FROM slow', '200', 120), 'the rows arrive');
	is($mesh->sql(2, 'SELECT restarts FROM replication_plugin.links'), $restarts, 'in one go');
	$mesh->sql(2, 'DROP TRIGGER hinder ON slow');
};

subtest 'a clock that is asked for when something older lies unread' => sub {
	my $said = sub { return scalar(() = log_of_2() =~ /the clock of node/g) };
	my $before = $said->();
	trigger_on_2('slow', "BEGIN PERFORM pg_sleep(2.3); RETURN NEW; END");
	# clocks are compared every 10 seconds
	$mesh->sql(1, "INSERT INTO slow VALUES ($_, 'x')") for 1001 .. 1006;
	ok($mesh->poll(2, 'SELECT count(*) FROM slow WHERE id > 1000', '6', 120), 'the rows arrive');
	is($said->(), $before, 'what the provider has said before is not taken for its time now');
	$mesh->sql(2, 'DROP TRIGGER hinder ON slow');
	$mesh->sql(1, 'DELETE FROM slow WHERE id > 1000');
};

subtest 'a long statement under a short wal_sender_timeout' => sub {
	# the provider is not asked for more patience than this
	settings(2, 'replication_plugin.row_timeout' => '1s');
	$mesh->sql(2, "SELECT replication_plugin.pause_link('node1')");
	link_is('paused', "state = 'paused'") or diag($mesh->sql(2, 'SELECT * FROM replication_plugin.links'));
	$mesh->sql(2, "SELECT replication_plugin.resume_link('node1')");
	link_is('resumed', "state = 'streaming'");
	my $restarts = $mesh->sql(2, 'SELECT restarts FROM replication_plugin.links');
	trigger_on_2('slow', "BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END");
	$mesh->sql(1, "UPDATE slow SET v = v || 'x'; UPDATE f SET b = 1 WHERE a > 59600");
	ok($mesh->poll(2, 'SELECT count(*) FROM f WHERE b = 1', '400', 120), 'rows of a table without a key are found');
	is($mesh->sql(2, "SELECT count(*) FROM slow WHERE v LIKE '%x'"), 200, 'rows with a trigger are written');
	is($mesh->sql(2, 'SELECT restarts FROM replication_plugin.links'), $restarts, 'in one go');
	$mesh->sql(2, 'DROP TRIGGER hinder ON slow');
};

subtest 'code that does not end' => sub {
	trigger_on_2('t', "BEGIN PERFORM pg_sleep(1000); RETURN NEW; END");
	$mesh->sql(1, "UPDATE t SET v = 'held up' WHERE id = 5");
	link_is('last_error names setting, function, table and row', "last_error ~ 'row_timeout' AND last_error ~ 'function (public.)?hinder' AND last_error ~ 'table .public.t., row \\(id=5\\)'");
	trigger_on_2('t', "BEGIN LOOP BEGIN PERFORM pg_sleep(1000); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END");
	link_is('code that goes on when it is cancelled ends with its process', "last_error ~ 'did not let itself be cancelled'", 60);
	$mesh->sql(1, "UPDATE t SET v = 'behind' WHERE id = 6");
	$mesh->sql(2, 'DROP TRIGGER hinder ON t');
	$mesh->wait_converged;
	is($mesh->sql(2, "SELECT string_agg(v, ',' ORDER BY id) FROM t WHERE id IN (5, 6)"), 'held up,behind', 'nothing is lost');
};

subtest 'code that does not end where several rows are written at once' => sub {
	$mesh->sql(2, 'CREATE FUNCTION sleepy_index(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF $1 = 1005 THEN PERFORM pg_sleep(1000); END IF; RETURN $1; END $$;
		CREATE INDEX sleepy_index ON t (sleepy_index(id))');
	$mesh->sql(1, "INSERT INTO t SELECT i, 'one of many' FROM generate_series(1001, 1010) i");
	link_is('last_error names setting, function and row', "last_error ~ 'row_timeout' AND last_error ~ 'sleepy_index' AND last_error ~ 'table .public.t., row \\(id=1005\\)'");
	unlike(log_of_2(), qr/terminated by signal/, 'nothing crashes');
	$mesh->sql(2, 'DROP INDEX sleepy_index');
	$mesh->wait_converged;
	is($mesh->sql(2, "SELECT count(*) FROM t WHERE v = 'one of many'"), 10, 'nothing is lost');
};

subtest 'code that does not end where a parked row comes back' => sub {
	settings(2, 'replication_plugin.row_timeout' => '3s');
	settings($_, 'replication_plugin.frontier_interval' => '200ms') for 1, 2;
	$mesh->pause_all;
	$mesh->sql(1, "INSERT INTO parked VALUES (1, 'a')");
	$mesh->sql(2, "INSERT INTO parked VALUES (2, 'a')");
	$mesh->resume_all;
	ok($mesh->poll(2, 'SELECT count(*) FROM replication_plugin.parked_rows', 1), 'a row is parked');
	$mesh->sql(2, 'CREATE FUNCTION sleepy(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN IF $1 = 1 THEN PERFORM pg_sleep(1000); END IF; RETURN $1; END $$;
		CREATE INDEX sleepy ON parked (sleepy(id))');
	$mesh->sql(1, 'DELETE FROM parked WHERE id = 2');
	ok($mesh->poll(2, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin %' AND wait_event = 'PgSleep')"), 'it tries to come back');
	$mesh->sql(2, 'INSERT INTO t VALUES (100); DELETE FROM t WHERE id = 100');
	my $state = "SELECT (SELECT written_at FROM replication_plugin.frontier WHERE node_id = 2),
		(SELECT confirmed_lsn FROM replication_plugin.slots WHERE subscriber IS NULL)";
	my ($written, $moved) = split /\|/, $mesh->sql(2, $state);
	ok($mesh->poll(2, "SELECT w > '$written' AND m > '$moved' FROM ($state) x(w, m)"), 'frontier rows and the group slot go on');
	my $gone = 0;
	for (1 .. 60)
	{
		$mesh->sql(2, 'UPDATE t SET v = v WHERE id = 20');
		last if $gone = $mesh->sql(2, "SELECT count(*) = 0 FROM replication_plugin.tombstone WHERE relid = 't'::regclass") eq 't';
		$mesh->poll(2, "SELECT written_at > '$written' FROM replication_plugin.frontier WHERE node_id = 2") or last;
		$written = $mesh->sql(2, 'SELECT written_at FROM replication_plugin.frontier WHERE node_id = 2');
	}
	ok($gone, 'so do tombstones');
	ok($mesh->poll(2, "SELECT coalesce(error ~ 'row_timeout.*function (public.)?sleepy', false) FROM replication_plugin.parked_rows"), 'parked_rows says what holds it up');
	$mesh->sql(2, 'DROP INDEX sleepy');
	$mesh->sql(2, 'UPDATE replication_plugin.parked_row SET retry_at = NULL');
	ok($mesh->poll($_, 'SELECT id FROM parked', 1), "and it comes back when that is gone, on node $_") for 2, 1;
};

$mesh->wait_converged;
$mesh->is_identical('at the end');
done_testing();
