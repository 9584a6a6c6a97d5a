# What is kept of a table that waits comes to an end, and nothing gets past it: tables without a key that are reached by way of others, other names, tables that
# nobody has any more, prepared transactions,
# versions that are forgotten.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Waiting;

my $mesh = Mesh->new(3, conf => "replication_plugin.table_patience = 1s\nreplication_plugin.row_timeout = 5s\nreplication_plugin.lock_patience = 3s\nmax_prepared_transactions = 5\n");
my $as = 'SET SESSION AUTHORIZATION mallory; ';
$mesh->sql($_, 'CREATE ROLE mallory LOGIN') for 1 .. 3;
$mesh->make_group(<<"SQL");
CREATE TABLE bank (id int PRIMARY KEY, v text);
CREATE SCHEMA m AUTHORIZATION mallory;
CREATE SCHEMA other AUTHORIZATION mallory;
GRANT CREATE ON DATABASE app TO mallory;
$as
@{[fails()]};
CREATE TABLE m.parent (id int);
CREATE TABLE m.kid (v text UNIQUE) INHERITS (m.parent);
CREATE TABLE m.root (id int PRIMARY KEY);
CREATE TABLE m.leaf (id int REFERENCES m.root ON DELETE CASCADE, v text);
CREATE TABLE m.parts (id int, v text) PARTITION BY LIST (id);
CREATE TABLE m.part PARTITION OF m.parts DEFAULT;
ALTER TABLE m.parent REPLICA IDENTITY FULL;
ALTER TABLE m.kid REPLICA IDENTITY FULL;
ALTER TABLE m.leaf REPLICA IDENTITY FULL;
ALTER TABLE m.part REPLICA IDENTITY FULL;
CREATE TABLE m.t (id int PRIMARY KEY, v text);
CREATE TABLE m.whole (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
INSERT INTO m.t SELECT g, 'start' FROM generate_series(1, 9) g;
SQL


sub same
{
	my ($what) = @_;
	nothing_waits($mesh, $what, 1 .. 3);
	$mesh->wait_converged;
	$mesh->is_identical($what);
}

# what the owner does on a node is refused, with a way out
sub refused
{
	my ($i, $sql, $like) = @_;
	my (undef, undef, $err) = $mesh->try_sql($i, "$as $sql");
	like($err, $like, "refused where the table waits: $sql");
}

# SQL in a background worker that is not the extension's; returns the error. A trigger runs it in the worker of a subscription of PostgreSQL's own.
sub in_worker
{
	my ($i, $sql) = @_;
	my $direct = $mesh->direct_dsn($i) =~ s/dbname=app/dbname=postgres/r;
	$mesh->sql($i, "CREATE TABLE job (sql text); CREATE PUBLICATION jobs FOR TABLE job", 'postgres');
	$mesh->sql($i, "SELECT pg_create_logical_replication_slot('jobs', 'pgoutput')", 'postgres');
	$mesh->sql($i, <<'SQL');
CREATE UNLOGGED TABLE job (sql text);
CREATE FUNCTION job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE new.sql; RETURN new; EXCEPTION WHEN OTHERS THEN new.sql := SQLERRM; RETURN new; END $$;
CREATE TRIGGER job BEFORE INSERT ON job FOR EACH ROW EXECUTE FUNCTION job();
ALTER TABLE job ENABLE ALWAYS TRIGGER job;
SQL
	$mesh->sql($i, "CREATE SUBSCRIPTION jobs CONNECTION '$direct' PUBLICATION jobs WITH (slot_name = jobs, create_slot = false, copy_data = false)");
	$mesh->sql($i, "INSERT INTO job VALUES ('$sql')", 'postgres');
	$mesh->poll($i, 'SELECT count(*) FROM job', 1, 60);
	my $said = $mesh->sql($i, 'SELECT sql FROM job');
	$mesh->sql($i, 'DROP SUBSCRIPTION jobs');
	$mesh->sql($i, 'DROP TABLE job; DROP FUNCTION job()');
	$mesh->sql($i, 'DROP PUBLICATION jobs; DROP TABLE job', 'postgres');
	return $said;
}

subtest 'tables without a key, by way of others' => sub {
	$mesh->sql(1, "$as INSERT INTO m.root VALUES (1), (2); INSERT INTO m.kid VALUES (1, 'a'); INSERT INTO m.leaf VALUES (1, 'a'); INSERT INTO m.parts VALUES (1, 'a')");
	$mesh->wait_converged;
	hinder($mesh, 1, qw(kid leaf part));
	$mesh->sql(2, "$as INSERT INTO m.kid VALUES (2, 'b'); INSERT INTO m.leaf VALUES (2, 'b'); INSERT INTO m.parts VALUES (2, 'b'); UPDATE m.kid SET id = 5 WHERE id = 1");
	waits($mesh, 1, qw(kid leaf parts));
	for my $sql ('TRUNCATE m.parent', 'UPDATE m.parent SET id = id + 10', 'DELETE FROM m.parent', 'TRUNCATE m.root CASCADE', 'DELETE FROM m.root WHERE id = 1',
		'UPDATE m.parts SET v = $$c$$', 'DELETE FROM m.part', 'TRUNCATE m.part', 'TRUNCATE m.t, m.parts', 'WITH d AS (DELETE FROM m.parent RETURNING 1) SELECT * FROM d')
	{
		refused(1, $sql, qr/table "\w+" cannot be changed on this node now: changes of it from other nodes wait here.*HINT: .*waiting_tables/s);
	}
	$mesh->sql(1, "$as INSERT INTO m.parent VALUES (3); UPDATE ONLY m.parent SET id = 4; INSERT INTO m.kid VALUES (6, 'a') ON CONFLICT DO NOTHING; SELECT * FROM m.parent FOR UPDATE;
		TRUNCATE m.t; INSERT INTO m.t SELECT g, 'start' FROM generate_series(1, 9) g");
	free($mesh, 1, qw(kid leaf part));
	same('by way of others');
	is($mesh->sql(3, q{SELECT string_agg(x, ' ' ORDER BY x) FROM (SELECT 'parent' || id FROM ONLY m.parent UNION ALL SELECT 'kid' || id FROM m.kid UNION ALL SELECT 'leaf' || id FROM m.leaf
		UNION ALL SELECT 'part' || id FROM m.parts) t(x)}), 'kid2 kid5 leaf1 leaf2 parent4 part1 part2', 'all rows');
};

subtest 'another name' => sub {
	hinder($mesh, 1, 't');
	$mesh->sql(2, "$as UPDATE m.t SET v = 'old name' WHERE id < 3");
	waits($mesh, 1, 't');
	for my $sql ('ALTER TABLE m.t RENAME TO t2', 'ALTER TABLE m.t SET SCHEMA other', 'ALTER SCHEMA m RENAME TO m2', 'DO $$ BEGIN ALTER TABLE m.t RENAME TO t2; END $$',
		'BEGIN; ALTER TABLE m.t ADD c int; ALTER TABLE m.t RENAME TO t2; COMMIT', 'ALTER TABLE m.whole ATTACH PARTITION m.t FOR VALUES FROM (0) TO (100)')
	{
		refused(1, $sql, qr/cannot be(come)? .* on this node now: changes of table m.t from other nodes wait here.*HINT: .*waiting_tables.*discard_kept_changes\('m', 't'\)/s);
	}
	like(in_worker(1, 'ALTER TABLE m.t RENAME TO t2'), qr/cannot be renamed on this node now/, "refused in another extension's worker as well");
	$mesh->sql(1, "$as ALTER TABLE m.t RENAME v TO w; ALTER TABLE m.t RENAME w TO v; ALTER INDEX m.t_pkey RENAME TO t_key; ALTER INDEX m.t_key RENAME TO t_pkey; ALTER TABLE m.root RENAME TO root2; ALTER TABLE m.root2 RENAME TO root");
	# others have renamed it already, and write on
	$mesh->sql($_, "$as ALTER TABLE m.t RENAME TO t2") for 2, 3;
	$mesh->sql(2, "$as UPDATE m.t2 SET v = 'new name' WHERE id = 2");
	waits($mesh, 1, 't2');
	free($mesh, 1, 't');
	ok($mesh->poll(1, q{SELECT count(*) FROM replication_plugin.waiting_tables WHERE "table" = 't'}, '0', 60), 'what was kept under the former name is applied');
	is($mesh->sql(1, 'SELECT string_agg(v, $$ $$ ORDER BY id) FROM m.t WHERE id < 4'), 'old name old name start', 'to the table of that name');
	$mesh->sql(1, "$as ALTER TABLE m.t RENAME TO t2");
	same('another name');
	is($mesh->sql(1, 'SELECT string_agg(v, $$ $$ ORDER BY id) FROM m.t2 WHERE id < 4'), 'old name new name start', 'in order');
	# made and renamed at once, on a node that lags behind; what is in the way can get out of it
	$mesh->sql($_, "$as ALTER TABLE m.t2 RENAME TO t") for 1 .. 3;
	$mesh->sql(2, "$as CREATE TABLE m.new (id int PRIMARY KEY); INSERT INTO m.new VALUES (1)");
	$mesh->sql(1, "$as CREATE VIEW m.new AS SELECT 1 AS id");
	waits($mesh, $_, 'new') for 1, 3;
	$mesh->sql(1, "$as ALTER VIEW m.new RENAME TO new_view; DROP VIEW m.new_view; BEGIN; CREATE TABLE m.new (id int); ALTER TABLE m.new RENAME TO something; COMMIT; DROP TABLE m.something");
	$mesh->sql(1, "$as CREATE TABLE m.new_in (id int PRIMARY KEY); ALTER TABLE m.new_in RENAME TO new");
	$mesh->sql(3, "$as CREATE TABLE m.new (id int PRIMARY KEY)");
	same('what is in the way');
	is($mesh->sql($_, 'SELECT count(*) FROM m.new'), 1, "the row is on node $_") for 1 .. 3;
};
subtest 'tables that nobody has any more' => sub {
	$mesh->sql(2, "$as CREATE TABLE m.scratch (id int); INSERT INTO m.scratch SELECT g FROM generate_series(1, 1000) g; CREATE TABLE m.called (id int PRIMARY KEY, v text); INSERT INTO m.called VALUES (1, 'x')");
	waits($mesh, $_, 'scratch', 'called') for 1, 3;
	ok($mesh->poll(1, q{SELECT reason ~ 'table m.scratch does not exist here; node "node2" has it' FROM replication_plugin.waiting_tables WHERE "table" = 'scratch'}), 'it says who has it')
		or diag($mesh->sql(1, 'SELECT * FROM replication_plugin.waiting_tables'));
	$mesh->node(3)->stop('fast');
	$mesh->sql(2, "$as DROP TABLE m.scratch; ALTER TABLE m.called RENAME TO otherwise");
	ok($mesh->poll(1, q{SELECT bool_and(reason ~ 'does not exist here, and node "node3" cannot be asked') FROM replication_plugin.waiting_tables}), 'a member that cannot be asked may have them')
		or diag($mesh->sql(1, 'SELECT * FROM replication_plugin.waiting_tables'));
	is($mesh->sql(1, "SELECT changes FROM replication_plugin.waiting_tables WHERE \"table\" = 'scratch'"), 1000, 'all is kept');
	$mesh->start_server(3);
	for my $i (1, 3)
	{
		ok($mesh->poll($i, q{SELECT string_agg("table" || changes, ' ') FROM replication_plugin.waiting_tables}, 'called1', 60), "node $i has given up what is gone, and no other")
			or diag($mesh->sql($i, 'SELECT * FROM replication_plugin.waiting_tables'));
		ok($mesh->poll($i, q{SELECT reason ~ 'node "node2" had it under that name, and calls it m.otherwise now.*HINT: Give the table .* its former name' FROM replication_plugin.waiting_tables}), "node $i says what became of the other one")
			or diag($mesh->sql($i, 'SELECT * FROM replication_plugin.waiting_tables'));
		is($mesh->sql($i, q{SELECT DISTINCT conflict_type || ' ' || resolution || ' ' || (detail ~ '^1000 changes .* no member has it any more$') FROM replication_plugin.conflicts WHERE table_name = 'm.scratch'}),
			'table_missing skip true', 'and tells of it') or diag($mesh->sql($i, 'SELECT * FROM replication_plugin.conflicts'));
		is($mesh->sql($i, 'SELECT count(*) FROM replication_plugin.waiting_change'), 1, 'nothing else is kept');
	}
	# made anew; and what the hint says
	$mesh->sql(2, "$as CREATE TABLE m.scratch (id int PRIMARY KEY); INSERT INTO m.scratch VALUES (7)");
	$mesh->sql($_, "$as CREATE TABLE m.called (id int PRIMARY KEY, v text); CREATE TABLE m.scratch (id int PRIMARY KEY)") for 1, 3;
	ok($mesh->poll($_, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 60), "nothing waits on node $_") for 1, 3;
	$mesh->sql($_, "$as ALTER TABLE m.called RENAME TO otherwise") for 1, 3;
	same('gone');
	is($mesh->sql(3, 'SELECT (SELECT v FROM m.otherwise) || (SELECT id FROM m.scratch)'), 'x7', 'the rows');
};
subtest 'tables that nobody sees yet' => sub {
	# its rows are sent with the commit, which a standby holds up
	my $node = $mesh->node(2);
	$node->safe_psql('postgres', 'ALTER DATABASE app SET synchronous_commit = local');
	$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'\n");
	$node->reload;
	my $maker = $mesh->start_sql(2, "SET SESSION AUTHORIZATION mallory; SET synchronous_commit = on; CREATE TABLE m.made (id) AS SELECT g FROM generate_series(1, 20) g; INSERT INTO m.made VALUES (21)");
	my $one = 'SELECT count(*) FROM replication_plugin.waiting_tables WHERE "table" = $$made$$ AND changes = 20';
	ok($mesh->poll($_, $one, '1', 60), "node $_ has its rows, and waits") or diag($mesh->sql($_, 'SELECT * FROM replication_plugin.waiting_tables; SELECT * FROM replication_plugin.conflicts')) for 1, 3;
	is($mesh->sql(2, "SELECT to_regclass('m.made') IS NULL"), 't', 'where it is made it cannot be seen');
	for my $i (1, 3)
	{
		ok($mesh->poll($i, q{SELECT reason ~ 'node "node2" is just making tables: it may be one of them' FROM replication_plugin.waiting_tables WHERE "table" = 'made'}, 't', 60), "node $i says so")
			or diag($mesh->sql($i, 'SELECT * FROM replication_plugin.waiting_tables'));
	}
	$node->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
	$node->reload;
	$mesh->finish_sql($maker);
	$mesh->sql($_, "$as CREATE TABLE m.made (id int)") for 1, 3;
	same('tables that nobody sees yet');
	is($mesh->sql($_, 'SELECT count(*) FROM m.made'), 21, "node $_ has all rows") for 1 .. 3;
	$node->safe_psql('postgres', 'ALTER DATABASE app RESET synchronous_commit');
};
subtest 'prepared transactions' => sub {
	$mesh->sql(1, "$as BEGIN; UPDATE m.t SET v = 'prepared' WHERE id = 5; PREPARE TRANSACTION 'stuck'; BEGIN; INSERT INTO m.root VALUES (77); PREPARE TRANSACTION 'elsewhere'");
	$mesh->sql(2, "$as UPDATE m.t SET v = 'concurrent' WHERE id = 5");
	$mesh->sql(2, "INSERT INTO bank VALUES (1, 'goes on')");
	ok($mesh->poll(1, q{SELECT waits_for ~ 'of (table )?m.t, held by prepared transaction ''stuck''$' FROM replication_plugin.links WHERE provider = 'node2'}), 'the view links says which one has the table')
		or diag($mesh->sql(1, 'SELECT provider, state, waits_for, last_error FROM replication_plugin.links'));
	ok($mesh->poll(1, 'SELECT v FROM bank WHERE id = 1', 'goes on', 60), 'rows of others go on')
		or diag($mesh->sql(1, 'SELECT provider, state, waits_for, last_error FROM replication_plugin.links; SELECT * FROM replication_plugin.waiting_tables'));
	ok($mesh->poll(1, q{SELECT reason ~ '\(prepared transaction ''stuck'' has it\)$' FROM replication_plugin.waiting_tables WHERE "table" = 't'}), 'the table waits, and says for whom')
		or diag($mesh->sql(1, 'SELECT * FROM replication_plugin.waiting_tables'));
	ok($mesh->poll($_, q{SELECT note ~ 'out of step: its changes came to wait on node node1 .* while a prepared transaction' FROM replication_plugin.tables WHERE "table" = 'm.t'::regclass}), "node $_: it is out of step") for 1 .. 3;
	$mesh->sql(1, "COMMIT PREPARED 'stuck'; COMMIT PREPARED 'elsewhere'");
	ok($mesh->poll($_, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 60), "nothing waits on node $_") for 1 .. 3;
	$mesh->wait_converged;
	$mesh->sql(2, "SELECT replication_plugin.resend_table('m.t')");
	same('prepared');
	is($mesh->sql(1, 'SELECT count(*) FROM replication_plugin.tables WHERE out_of_step'), 0, 'no table is out of step');
};
subtest 'who has a lock waits himself, or stands behind another one' => sub {
	my $log = $mesh->node(1)->logfile;
	my $goes_on = sub {
		my ($what) = @_;
		ok($mesh->poll(1, "SELECT v FROM bank WHERE id = 20", $what, 40), "$what: the link goes on") and return;
		diag($mesh->sql(1, 'SELECT provider, state, waits_for, last_error FROM replication_plugin.links; SELECT pid, state, wait_event, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE datname = $$app$$'));
		$mesh->sql(1, 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $$mallory$$');
	};
	my $waits = sub { my ($query) = @_; ok($mesh->poll(1, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ '$query' AND usename = 'mallory'", '1'), "$query waits"); };
	my $session = sub { my ($user, $sql) = @_; my $s = $mesh->node(1)->background_psql('app', extra_params => [ '-U', $user ], on_error_die => 0); $s->query($sql); return $s; };
	my $alive = sub { my ($s) = @_; return eval { $s->query('SELECT 40 + 2') } // 'ended'; };
	$mesh->sql(2, "INSERT INTO bank SELECT g, 'start' FROM generate_series(20, 25) g");
	$mesh->wait_converged;
	$mesh->sql(1, 'GRANT ALL ON bank TO mallory');
	# he waits for what another session of his has
	my $other = $session->('mallory', 'SELECT pg_advisory_lock(1)');
	my $job = $mesh->start_sql(1, "\\connect - mallory\nBEGIN; UPDATE bank SET v = v WHERE id = 21; SELECT pg_advisory_lock(1)");
	$waits->('pg_advisory_lock');
	$mesh->sql(2, "UPDATE bank SET v = 'x' WHERE id = 21; UPDATE bank SET v = 'holder waits' WHERE id = 20");
	$goes_on->('holder waits');
	like(($mesh->finish_sql($job))[1], qr/terminating connection/, 'who has the row is ended');
	is($alive->($other), 42, 'for whom he waits is not');
	$other->quit;
	# another one waits for him, in front of the link
	my $holder = $session->('mallory', 'BEGIN; UPDATE bank SET v = v WHERE id = 22');
	$job = $mesh->start_sql(1, "\\connect - mallory\nUPDATE bank SET v = 'from the queue' WHERE id = 22");
	$waits->('from the queue');
	$mesh->sql(2, "UPDATE bank SET v = 'x' WHERE id = 22; UPDATE bank SET v = 'queue' WHERE id = 20");
	$goes_on->('queue');
	is(($mesh->finish_sql($job))[1], '', 'who waits in front of the link is not ended');
	is($alive->($holder), 'ended', 'who has the row is');
	# a reader who cannot be ended, and who waits for him keeps all writers out
	$holder = $session->($mesh->sql(1, 'SELECT session_user'), 'BEGIN; SELECT count(*) FROM bank');
	$job = $mesh->start_sql(1, "\\connect - mallory\nBEGIN; LOCK TABLE bank");
	$waits->('LOCK TABLE bank');
	$mesh->sql(2, "UPDATE bank SET v = 'readers' WHERE id = 20");
	$goes_on->('readers');
	like(($mesh->finish_sql($job))[1], qr/terminating connection/, 'who asks for the table is ended');
	is($alive->($holder), 42, 'the superuser is not');
	$holder->quit;
	same('holders who wait');
};
subtest 'more of prepared transactions' => sub {
	my $ends = sub {
		my ($gid, @tables) = @_;
		$mesh->sql(1, "COMMIT PREPARED '$gid'");
		ok($mesh->poll($_, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 60), "nothing waits on node $_") for 1 .. 3;
		$mesh->wait_converged;
		$mesh->sql(2, "SELECT replication_plugin.resend_table('m.$_')") for @tables;
		same($gid);
	};
	my $go_on = sub {
		my ($v, $seconds, $tables) = @_;
		ok($mesh->poll(1, 'SELECT v FROM bank WHERE id = 20', $v, $seconds), "$v: rows of others go on")
			or diag($mesh->sql(1, 'SELECT provider, state, waits_for, last_error FROM replication_plugin.links; SELECT * FROM replication_plugin.waiting_tables'));
		is($mesh->sql(1, q{SELECT string_agg("table", ' ' ORDER BY "table") FROM replication_plugin.waiting_tables WHERE reason ~ '\(prepared transaction .* has it\)$'}), $tables, 'what waits, and for whom');
	};
	$mesh->sql($_, "$as CREATE TABLE m.pt (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE m.pt1 PARTITION OF m.pt DEFAULT") for 1 .. 3;
	$mesh->sql($_, "$as CREATE TABLE m.p1 (id int PRIMARY KEY, v text); CREATE TABLE m.p2 (LIKE m.p1 INCLUDING ALL); CREATE TABLE m.p3 (LIKE m.p1 INCLUDING ALL); CREATE TABLE m.p4 (LIKE m.p1 INCLUDING ALL); CREATE TABLE m.p5 (LIKE m.p1 INCLUDING ALL); CREATE TABLE m.p6 (LIKE m.p1 INCLUDING ALL)") for 1 .. 3;
	$mesh->sql(2, "$as INSERT INTO m.pt VALUES (1, 'start'); " . join('; ', map { "INSERT INTO m.p$_ VALUES (1, 'start')" } 1 .. 6));
	$mesh->wait_converged;
	$mesh->sql(1, "$as BEGIN; UPDATE m.pt1 SET v = v WHERE id = 1; PREPARE TRANSACTION 'leaf'");
	$mesh->sql(2, "$as UPDATE m.pt SET v = 'x' WHERE id = 1");
	$mesh->sql(2, "UPDATE bank SET v = 'leaf' WHERE id = 20");
	$go_on->('leaf', 60, 'pt');
	$ends->('leaf', 'pt');
	# the key of a row that another node inserts; together with a table that has nothing to do with it
	$mesh->sql(1, "$as BEGIN; INSERT INTO m.p1 VALUES (5, 'prepared'); PREPARE TRANSACTION 'key'");
	$mesh->sql(2, "$as BEGIN; INSERT INTO m.p1 VALUES (5, 'x'); INSERT INTO m.p2 VALUES (5, 'x'); COMMIT; INSERT INTO m.p1 VALUES (6, 'x')");
	$mesh->sql(2, "UPDATE bank SET v = 'key' WHERE id = 20");
	$go_on->('key', 60, 'p1');
	is($mesh->sql(1, 'SELECT count(*) FROM replication_plugin.waiting_tables'), 1, 'no other table waits');
	$ends->('key', 'p1');
	# many tables of one
	$mesh->sql(1, "$as BEGIN; " . join('; ', map { "UPDATE m.p$_ SET v = v WHERE id = 1" } 1 .. 6) . "; PREPARE TRANSACTION 'many'");
	$mesh->sql(2, "$as UPDATE m.p$_ SET v = 'x' WHERE id = 1") for 1 .. 6;
	$mesh->sql(2, "UPDATE bank SET v = 'many' WHERE id = 20");
	$go_on->('many', 45, 'p1 p2 p3 p4 p5 p6');
	$ends->('many', map { "p$_" } 1 .. 6);
};
subtest 'versions that PostgreSQL forgets while a table waits' => sub {
	hinder($mesh, 1, 't');
	$mesh->sql(2, "$as UPDATE m.t SET v = 'older' WHERE id IN (7, 8)");
	waits($mesh, 1, 't');
	$mesh->sql(1, "$as UPDATE m.t SET v = 'newer' WHERE id = 7");
	$mesh->wait_converged;
	$mesh->sql(1, 'ALTER DATABASE template0 ALLOW_CONNECTIONS true');
	my $lost = 0;
	for (my $i = 0; $i < 60 && !$lost; $i++)
	{
		$mesh->sql($_, "INSERT INTO bank VALUES (-1, '') ON CONFLICT (id) DO UPDATE SET v = clock_timestamp()::text; CHECKPOINT") for 1 .. 3;
		$mesh->node(1)->safe_psql($_, 'VACUUM FREEZE') for qw(app postgres template0 template1);
		$lost = $mesh->sql(1, 'SELECT pg_xact_commit_timestamp(xmin) IS NULL FROM m.t WHERE id = 7') eq 't';
		sleep 1 if !$lost;
	}
	ok($lost, 'the timestamp is gone');
	free($mesh, 1, 't');
	ok($mesh->poll(1, q{SELECT reason ~ 'nobody knows any more when a row of table "t" was written here.*resend_table' FROM replication_plugin.waiting_tables WHERE "table" = 't'}, 't', 60), 'what is kept is not applied, and it says why')
		or diag($mesh->sql(1, 'SELECT * FROM replication_plugin.waiting_tables'));
	is($mesh->sql(1, 'SELECT v FROM m.t WHERE id = 7'), 'newer', 'the newest write');
	$mesh->sql(2, "SELECT replication_plugin.resend_table('m.t')");
	same('forgotten versions');
};
done_testing();
