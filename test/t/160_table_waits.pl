# What the owner of a table does to it holds up that table alone, for all its owner can do: the link goes on, and says what waits and why; what waits
# is kept, and applied when its cause is gone: nodes are the same then, without anybody's help.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(3, conf => "replication_plugin.table_patience = 4s\nreplication_plugin.lock_patience = 6s\nreplication_plugin.row_timeout = 2s\n");
$mesh->sql($_, 'CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN; CREATE ROLE lone LOGIN') for 1 .. 3;
$mesh->make_group(<<'SQL');
CREATE TABLE bank (id int PRIMARY KEY, v text);
INSERT INTO bank SELECT g, 'start' FROM generate_series(1, 10) g;
CREATE SCHEMA m AUTHORIZATION mallory;
CREATE SCHEMA a AUTHORIZATION alice;
SET SESSION AUTHORIZATION alice;
CREATE TABLE a.t (id int PRIMARY KEY, v text);
SQL
my $as = 'SET SESSION AUTHORIZATION mallory; ';
my $round = 0;

# the others go on, on every node
sub goes_on
{
	my ($what) = @_;
	my $v = 'round ' . ++$round;
	$mesh->sql(1, "UPDATE bank SET v = '$v' WHERE id = 1; INSERT INTO a.t VALUES ($round, '$v')");
	for my $i (2, 3)
	{
		ok($mesh->poll($i, 'SELECT (SELECT v FROM bank WHERE id = 1) || (SELECT count(*) FROM a.t)', "$v$round", 60), "$what: rows of others arrive on node $i")
			or diag($mesh->sql($i, 'SELECT * FROM replication_plugin.links; SELECT * FROM replication_plugin.waiting_tables'));
	}
}

# a table waits on some nodes, and says why
sub waits
{
	my ($what, $table, $why, @nodes) = @_;
	for my $i (@nodes)
	{
		ok($mesh->poll($i, "SELECT reason ~ '$why' AND owner IN ('mallory', 'lone') FROM replication_plugin.waiting_tables WHERE \"table\" = '$table'"), "$what: node $i says why")
			or diag($mesh->sql($i, 'SELECT * FROM replication_plugin.waiting_tables; SELECT provider, state, last_error FROM replication_plugin.links'));
	}
}

# mended: what was kept is applied, and nothing waits any more
sub comes_back
{
	my ($what) = @_;
	for my $i (1 .. 3)
	{
		ok($mesh->poll($i, 'SELECT count(*) FROM replication_plugin.waiting_tables', '0', 120), "$what: nothing waits on node $i")
			or diag($mesh->sql($i, 'SELECT * FROM replication_plugin.waiting_tables; SELECT progress FROM replication_plugin.nodes'));
		ok($mesh->poll($i, "SELECT (SELECT count(*) FROM replication_plugin.waiting_change) + (SELECT count(*) FROM replication_plugin.awaited_state WHERE origin_lsn = '0/0')", '0'), "$what: nothing is kept on node $i");
	}
	$mesh->wait_converged;
	$mesh->is_identical("$what: mended");
	is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.tables WHERE out_of_step"), 0, "$what: no table is out of step on node $_") for 1 .. 3;
}

subtest 'a table that does not exist elsewhere; and more of them at once' => sub {
	my $begun = time;
	$mesh->sql(1, "$as CREATE TABLE m.missing (id int PRIMARY KEY, v text); INSERT INTO m.missing VALUES (1, 'x')");
	goes_on('a missing table');
	waits('a missing table', 'missing', 'does not exist', 2, 3);
	# his next ones are not waited for again
	$mesh->sql(1, "$as CREATE TABLE m.missing$_ (id int PRIMARY KEY, v text); INSERT INTO m.missing$_ VALUES (1, 'x')") for 1 .. 20;
	my $at = time;
	goes_on('twenty more');
	cmp_ok(time - $at, '<', 60, 'which are not waited for one by one');
	for my $i (2, 3)
	{
		$mesh->sql($i, "$as CREATE TABLE m.missing (id int PRIMARY KEY, v text)");
		$mesh->sql($i, "$as CREATE TABLE m.missing$_ (id int PRIMARY KEY, v text)") for 1 .. 20;
	}
	comes_back('missing tables');
	is($mesh->sql(3, 'SELECT v FROM m.missing7'), 'x', 'with its row');
};

subtest 'code that fails, sleeps, does not let itself be cancelled; other columns, other types; locks' => sub {
	$mesh->sql($_, <<"SQL") for 1 .. 3;
$as CREATE FUNCTION m.fails() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF session_user <> 'mallory' AND session_user <> 'lone' THEN RAISE 'no way'; END IF; RETURN new; END \$\$;
CREATE FUNCTION m.again() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF session_user <> 'mallory' THEN RAISE SQLSTATE '40001' USING MESSAGE = 'try again'; END IF; RETURN new; END \$\$;
CREATE FUNCTION m.sleeps() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF session_user <> 'mallory' THEN PERFORM pg_sleep(3600); END IF; RETURN new; END \$\$;
CREATE FUNCTION m.deaf() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF session_user <> 'mallory' THEN LOOP BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END IF; RETURN new; END \$\$;
CREATE TABLE m.fails (id int PRIMARY KEY, v text);
CREATE TABLE m.again (id int PRIMARY KEY, v text);
CREATE TABLE m.sleeps (id int PRIMARY KEY, v text);
CREATE TABLE m.deaf (id int PRIMARY KEY, v text);
CREATE TABLE m.columns (id int PRIMARY KEY, v text);
CREATE TABLE m.types (id int PRIMARY KEY, v text);
CREATE TABLE m.locked (id int PRIMARY KEY, v text);
SQL
	# one after the other, each as if it were the first
	my $big = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 500) g)";
	for my $case (['fails', 'no way'], ['again', 'try again'], ['sleeps', 'took longer than'], ['deaf', 'took longer than'])
	{
		my ($t, $why) = @$case;
		$mesh->sql(1, "$as INSERT INTO m.$t SELECT g, $big FROM generate_series(1, 6) g; ALTER TABLE m.$t ADD n int; ALTER TABLE m.$t ALTER v SET STORAGE EXTERNAL");
		$mesh->sql($_, "$as ALTER TABLE m.$t ADD n int; ALTER TABLE m.$t ALTER v SET STORAGE EXTERNAL") for 2, 3;
		$mesh->wait_converged;
		$mesh->sql($_, "$as CREATE TRIGGER t BEFORE INSERT OR UPDATE ON m.$t FOR EACH ROW EXECUTE FUNCTION m.$t(); ALTER TABLE m.$t ENABLE ALWAYS TRIGGER t") for 2, 3;
		# a value of 16 kB is not sent with what does not change it
		$mesh->sql(1, "$as INSERT INTO m.$t VALUES (10, 'x'); UPDATE m.$t SET n = 1 WHERE id < 4; UPDATE m.$t SET v = 'short' WHERE id = 2; DELETE FROM m.$t WHERE id = 4");
		goes_on("trigger that $t");
		waits("trigger that $t", $t, $why, 2, 3);
		is($mesh->sql(2, "SELECT changes > 0 AND bytes > 0 FROM replication_plugin.waiting_tables WHERE \"table\" = '$t'"), 't', 'what is kept is counted');
		# others write meanwhile, also to rows of which something is kept: the newer write wins, whole
		$mesh->sql(2, "$as UPDATE m.$t SET n = 2 WHERE id = 2; UPDATE m.$t SET n = 22 WHERE id = 1; INSERT INTO m.$t VALUES (20, 'two'); DELETE FROM m.$t WHERE id = 3");
		$mesh->sql(1, "$as UPDATE m.$t SET n = coalesce(n, 0) + 1 WHERE id = 6; DELETE FROM m.$t WHERE id = 5; INSERT INTO m.$t VALUES (5, 'again')");
		goes_on("trigger that $t, and more changes");
		if ($t eq 'fails') { $mesh->kill9_server(3); $mesh->start_server(3); }
		$mesh->sql($_, "$as DROP TRIGGER t ON m.$t") for 2, 3;
		comes_back("trigger that $t");
		is($mesh->sql(3, "SELECT string_agg(concat(id, ':', left(v, 5), length(v), ':', n), ' ' ORDER BY id) FROM m.$t"),
			$mesh->sql(2, "SELECT string_agg(concat(id, ':', left(v, 5), length(v), ':', n), ' ' ORDER BY id) FROM m.$t"), 'the newest writes');
		is($mesh->sql(2, "SELECT concat((SELECT n FROM m.$t WHERE id = 1), ' ', (SELECT n FROM m.$t WHERE id = 2), ' ', (SELECT count(*) FROM m.$t WHERE id IN (3, 4)), ' ',
			(SELECT v FROM m.$t WHERE id = 5), ' ', (SELECT n FROM m.$t WHERE id = 6))"), '22 2 0 again 1', 'which are these');
	}
	$mesh->sql(1, "$as ALTER TABLE m.columns ADD more text; INSERT INTO m.columns VALUES (1, 'x', 'y')");
	$mesh->sql($_, "$as CREATE TYPE m.mood AS ENUM ('bad'); ALTER TABLE m.types ALTER v TYPE m.mood USING 'bad'") for 2, 3;
	$mesh->sql(1, "$as CREATE TYPE m.mood AS ENUM ('bad', 'good'); ALTER TABLE m.types ALTER v TYPE m.mood USING 'bad'; INSERT INTO m.types VALUES (1, 'good')");
	goes_on('other columns and types');
	waits('another column', 'columns', 'has no column', 2, 3);
	waits('another type', 'types', 'mood', 2, 3);
	$mesh->sql($_, "$as ALTER TABLE m.columns ADD more text; ALTER TYPE m.mood ADD VALUE 'good'") for 2, 3;
	comes_back('other columns and types');
	my $session = $mesh->node(2)->background_psql('app', extra_params => [ '-U', 'mallory' ], on_error_die => 0);
	$session->query('BEGIN; LOCK TABLE m.locked IN ACCESS EXCLUSIVE MODE');
	$mesh->sql(1, "$as INSERT INTO m.locked VALUES (1, 'x')");
	goes_on('a lock that is not given back');
	like(PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile), qr/has waited for longer than replication_plugin.lock_patience \(6000 ms\): ended process \d+ \(user mallory/, 'who has it is ended, and named');
	unlike(PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile), qr/terminating background worker .* due to administrator command\n.*end_lock_holders/, 'and nobody else');
	comes_back('a lock that is not given back');
	eval { $session->quit };
};

subtest 'who sees what; what never waits' => sub {
	$mesh->sql(1, "$as CREATE TABLE m.secret (id int PRIMARY KEY, v text)");
	$mesh->sql($_, "$as CREATE TABLE m.secret (id int PRIMARY KEY, v text CHECK (v <> 'secret value'))") for 2, 3;
	$mesh->sql(1, "$as INSERT INTO m.secret VALUES (1, 'secret value')");
	waits('a check', 'secret', 'secret value', 2);
	is($mesh->sql(2, 'SET SESSION AUTHORIZATION alice; SELECT count(*) FROM replication_plugin.waiting_tables'), 0, 'who may not read the table is not told');
	unlike($mesh->sql(2, 'SET SESSION AUTHORIZATION alice; SELECT * FROM replication_plugin.tables; SELECT * FROM replication_plugin.nodes; SELECT * FROM replication_plugin.conflicts'), qr/secret value/, 'nor elsewhere');
	is($mesh->sql(2, "$as SELECT count(*) FROM replication_plugin.waiting_tables"), 1, 'its owner is');
	$mesh->sql($_, 'ALTER TABLE m.secret DROP CONSTRAINT secret_v_check') for 2, 3;
	comes_back('a check');
	$mesh->sql(1, 'CREATE TABLE ours (id int PRIMARY KEY); INSERT INTO ours VALUES (1)');
	ok($mesh->poll(2, "SELECT bool_or(last_error ~ 'ours') FROM replication_plugin.links"), 'a table of a superuser stops the link');
	$mesh->sql($_, 'CREATE TABLE ours (id int PRIMARY KEY)') for 2, 3;
	$mesh->wait_converged;
	$mesh->is_identical('a table of a superuser');
};
subtest 'a function that is called for an index, and writes' => sub {
	$mesh->sql($_, "$as CREATE TABLE m.spec (id int PRIMARY KEY, v int); CREATE TABLE m.part (id int PRIMARY KEY, v int); CREATE TABLE m.more (v int PRIMARY KEY); CREATE TABLE m.before (id int PRIMARY KEY); CREATE UNLOGGED TABLE m.fleeting (v int)") for 1 .. 3;
	$mesh->sql(1, "$as CREATE FUNCTION m.does_write(v int) RETURNS int LANGUAGE plpgsql AS \$\$ BEGIN IF current_setting('m.does', true) <> '' THEN EXECUTE current_setting('m.does'); END IF; RETURN v; END \$\$;
		CREATE FUNCTION m.writes(v int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS \$\$ BEGIN RETURN m.does_write(v); END \$\$;
		CREATE INDEX ON m.spec (m.writes(v)); CREATE INDEX ON m.part (v) WHERE m.writes(v) > 0; SELECT lo_create(4711); INSERT INTO m.more VALUES (1), (2); INSERT INTO m.spec VALUES (1, 1)");
	my $insert = 'INSERT INTO m.spec VALUES (2, 2) ON CONFLICT DO NOTHING';
	my $update = 'INSERT INTO m.spec VALUES (1, 1), (3, 3) ON CONFLICT (id) DO UPDATE SET v = excluded.v';
	my @told;
	for my $case (['INSERT INTO m.more VALUES (3)', $insert, 'write to table "more"'], ['INSERT INTO m.more VALUES (4)', $update, 'write to table "more"'],
		['INSERT INTO m.more VALUES (5)', 'INSERT INTO m.part VALUES (1, 1) ON CONFLICT DO NOTHING', 'write to table "more"'],
		['UPDATE m.more SET v = 6 WHERE v = 1', $insert, 'write to table "more"'], ['DELETE FROM m.more', $insert, 'write to table "more"'], ['MERGE INTO m.more USING (VALUES (7)) x (v) ON x.v = more.v WHEN NOT MATCHED THEN INSERT VALUES (x.v)', $insert, 'write to table "more"'],
		['WITH w AS (INSERT INTO m.more VALUES (8) RETURNING v) SELECT v FROM w', "WITH i AS ($insert RETURNING id) SELECT id FROM i", 'write to table "more"'],
		['INSERT INTO m.more VALUES (9)', 'SAVEPOINT s; INSERT INTO m.part VALUES (9, 9); RELEASE s; INSERT INTO m.part VALUES (2, 2) ON CONFLICT DO NOTHING', 'write to table "more"'],
		['DO $$ BEGIN INSERT INTO m.more VALUES (10); END $$', $insert, 'write to table "more"'], ['CREATE TEMP TABLE x (t text)', $insert, 'execute CREATE TABLE'], ['GRANT SELECT ON m.more TO alice', $insert, 'execute GRANT'],
		['TRUNCATE m.more', $insert, 'execute TRUNCATE TABLE'], ['ANALYZE m.more', $insert, 'execute ANALYZE'], ['DROP TABLE m.before', $insert, 'execute DROP TABLE'], [q{SELECT lo_put(4711, 0, 'x')}, $insert, 'write to a large object'])
	{
		my ($does, $sql, $what) = @$case;
		my (undef, undef, $err) = $mesh->try_sql(1, "$as SET m.does = '" . ($does =~ s/'/''/gr) . "'; BEGIN; $sql; COMMIT");
		push @told, "$does: $err" if $err !~ /ERROR:  cannot $what in the middle of INSERT ... ON CONFLICT.*DETAIL:  A function that is called for an index writes.*HINT: .*CONTEXT: .*PL\/pgSQL function m.does_write\(integer\)/s;
	}
	is(join("\n", @told), '', 'the statement that writes fails, and says in which function: no node could be sent it');
	goes_on('index functions that write');
	my @refused;
	for my $does ('SELECT count(*) FROM m.more', 'INSERT INTO m.fleeting VALUES (1)', 'DO $$ BEGIN INSERT INTO m.more VALUES (20); EXCEPTION WHEN OTHERS THEN NULL; END $$', q{SELECT set_config('m.x', 'y', false)}, 'SELECT 1 FROM m.more FOR UPDATE')
	{
		my ($status, undef, $err) = $mesh->try_sql(1, "$as SET m.does = '" . ($does =~ s/'/''/gr) . "'; $insert; DELETE FROM m.spec WHERE id = 2");
		push @refused, "$does: $err" if $status != 0;
	}
	is(join("\n", @refused), '', 'one that does not write goes through');
	is($mesh->sql(1, 'SELECT count(*) FROM m.fleeting'), 1, 'and what is not logged is written');
	$mesh->sql($_, "$as DROP TABLE m.fleeting") for 1 .. 3;
	$mesh->sql(1, "$as SET m.does = 'INSERT INTO m.more VALUES (30)'; INSERT INTO m.spec VALUES (30, 30)");
	$mesh->sql(1, "$as CREATE FUNCTION m.log() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO m.more VALUES (new.v * 100 + (tg_when = 'AFTER')::int); RETURN new; END \$\$; CREATE TRIGGER b BEFORE INSERT ON m.part FOR EACH ROW EXECUTE FUNCTION m.log();
		CREATE TRIGGER a AFTER INSERT ON m.part FOR EACH ROW EXECUTE FUNCTION m.log(); INSERT INTO m.part VALUES (40, 40), (41, 41) ON CONFLICT (id) DO UPDATE SET v = excluded.v");
	$mesh->wait_converged;
	is($mesh->sql($_, 'SELECT string_agg(v::text, $$,$$ ORDER BY v) FROM m.more'), '1,2,30,4000,4001,4100,4101', "a plain INSERT may, and triggers may: node $_ has what they have written") for 1 .. 3;
	$mesh->is_identical('index functions that write');
	$mesh->sql(1, 'SELECT lo_unlink(4711)');
	$mesh->sql($_, "$as DROP TABLE m.spec, m.part, m.more, m.before") for 1 .. 3;
	goes_on('index functions that write, dropped');
};
subtest 'many who wait open few connections' => sub {
	$mesh->sql(1, "SELECT replication_plugin.set_topology('ring', '{node1,node2,node3}')");
	$mesh->wait_for_links(Mesh::ring_links(1, 2, 3));
	my $link = $mesh->sql(3, "SELECT pg_backend_pid()");
	$mesh->sql(2, "SELECT replication_plugin.pause_link('node1')"); # so that node 3 does not get it, and all wait
	$mesh->sql(1, "INSERT INTO bank VALUES (500, 'x')");
	my @jobs = map { $mesh->start_sql(1, "$as SELECT replication_plugin.wait_for_apply('8 seconds')") } 1 .. 30;
	my $most = 0;
	my $end = time + 6;
	while (time < $end)
	{
		my $now = $mesh->sql(3, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'replication_plugin query'");
		$most = $now if $now > $most;
	}
	cmp_ok($most, '<=', 9, 'thirty sessions of one role');
	my %said;
	for my $job (@jobs) { my ($out) = $mesh->finish_sql($job); $said{ $out =~ s/\s//gr }++; }
	is(join(',', map { "$_ $said{$_}" } sort keys %said), 'f 30', 'all are told that it has not arrived');
	$mesh->sql(2, "SELECT replication_plugin.resume_link('node1')");
	is($mesh->sql(1, "$as SELECT replication_plugin.wait_for_apply('60 seconds')"), 't', 'and that it has');
	$mesh->sql(1, "SELECT replication_plugin.set_topology('all_to_all')");
	$mesh->wait_for_links(Mesh::mesh_links(1, 2, 3));
};
subtest 'more tables than a process keeps in mind' => sub {
	$mesh->sql($_, "$as DO \$\$ BEGIN FOR i IN 1..1100 LOOP EXECUTE format('CREATE TABLE m.many_%s (id int PRIMARY KEY, v text)', i); END LOOP; END \$\$") for 1 .. 3;
	$mesh->sql(1, "$as DO \$\$ BEGIN FOR i IN 1..1100 LOOP EXECUTE format('INSERT INTO m.many_%s VALUES ($_, ''x'')', i); END LOOP; END \$\$") for 1 .. 3;
	$mesh->wait_converged;
	is($mesh->sql($_, 'SELECT count(*), count(DISTINCT v) FROM m.many_1100'), '3|1', "node $_ has the rows") for 2, 3;
	# all of them, byte by byte, in one query for each node
	my %dumps = map { $mesh->sql($_, "SELECT string_agg(query_to_xml(format('SELECT t::text FROM m.many_%s t ORDER BY 1', i), true, false, '')::text, '' ORDER BY i) FROM generate_series(1, 1100) i") => 1 } 1 .. 3;
	is(scalar keys %dumps, 1, 'many tables: identical on nodes 1 2 3');
	$mesh->sql($_, "$as DO \$\$ BEGIN FOR i IN 1..1100 LOOP EXECUTE format('DROP TABLE m.many_%s', i); IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END \$\$") for 1 .. 3;
};
is($mesh->sql(1, "SELECT string_agg(state, ',' ORDER BY node_id) FROM replication_plugin.nodes"), 'ready,ready,ready', 'nobody has been sent away');
done_testing();
