# Changes of a table that waits are kept: they go on to nodes that get them by way of the one that keeps them, a node that joins from there has them, others
# write meanwhile, servers crash; in the end all nodes have the same rows, byte by byte.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Waiting;

my $mesh = Mesh->new(4, conf => "replication_plugin.table_patience = 1s\nreplication_plugin.row_timeout = 2s\nmax_prepared_transactions = 5\nmax_replication_slots = 20\nmax_wal_senders = 20\nmax_worker_processes = 40\n");
my $as = 'SET SESSION AUTHORIZATION mallory; ';
my $fails = fails();

$mesh->sql($_, 'CREATE ROLE mallory LOGIN') for 1 .. 4;
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, <<"SQL");
CREATE TABLE bank (id int PRIMARY KEY, v text);
CREATE SCHEMA m AUTHORIZATION mallory;
$as $fails;
CREATE TABLE m.t (id int PRIMARY KEY, v text, n int);
ALTER TABLE m.t ALTER v SET STORAGE EXTERNAL;
CREATE TABLE m.parts (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE m.low PARTITION OF m.parts FOR VALUES FROM (0) TO (100);
CREATE TABLE m.high PARTITION OF m.parts DEFAULT;
CREATE TABLE m.keyless (id int, v text);
ALTER TABLE m.keyless REPLICA IDENTITY FULL;
CREATE TABLE m.late (id int, v text, UNIQUE (v) DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE m.late REPLICA IDENTITY FULL;
CREATE TABLE m.friends (id int PRIMARY KEY, v text, UNIQUE (v));
SQL
$mesh->join($_) for 2, 3;
my @tables = qw(t parts keyless friends);


sub same
{
	my ($what, @members) = @_;
	$mesh->wait_converged(@members);
	nothing_waits($mesh, $what, @members);
	$mesh->wait_converged(@members);
	$mesh->is_identical($what, @members);
}

subtest 'by way of a node where the table waits' => sub {
	$mesh->sql(1, "SELECT replication_plugin.set_topology('star', '{node1,node2,node3}')");
	$mesh->wait_for_links(Mesh::star_links(1, 2, 3));
	hinder($mesh, 1, @tables);
	$mesh->sql(2, "$as INSERT INTO m.t SELECT g, repeat('x', 9000), g FROM generate_series(1, 20) g; INSERT INTO m.parts VALUES (1, 'a'), (200, 'b');
		INSERT INTO m.keyless VALUES (1, 'a'), (1, 'a'), (2, 'b'); INSERT INTO m.friends VALUES (1, 'a'), (2, 'b')");
	waits($mesh, 1, @tables);
	$mesh->sql(2, "$as UPDATE m.t SET n = n + 1 WHERE id < 5; DELETE FROM m.t WHERE id = 6; UPDATE m.t SET id = 100 WHERE id = 7; UPDATE m.parts SET id = 300 WHERE id = 1;
		UPDATE m.keyless SET v = 'c' WHERE id = 2; BEGIN; UPDATE m.friends SET v = 'z' WHERE id = 1; UPDATE m.friends SET v = 'a' WHERE id = 2; UPDATE m.friends SET v = 'b' WHERE id = 1; COMMIT;");
	my $sum = 'SELECT md5(string_agg(x, chr(10) ORDER BY x COLLATE "C")) FROM (SELECT t::text FROM m.t UNION ALL SELECT t::text FROM m.parts t UNION ALL SELECT t::text FROM m.keyless t UNION ALL SELECT t::text FROM m.friends t) y(x)';
	ok($mesh->poll(3, $sum, $mesh->sql(2, $sum), 120), 'a node behind it has all');
	is($mesh->sql(1, 'SELECT (SELECT count(*) FROM m.t) + (SELECT count(*) FROM m.parts)'), '0', 'which the one between has not');
	$mesh->sql(3, "$as UPDATE m.t SET n = 77 WHERE id = 8; INSERT INTO m.t VALUES (30, repeat('y', 9000), 1)");
	ok($mesh->poll(2, $sum, $mesh->sql(3, $sum), 120), 'and the other way round');
	my (undef, undef, $err) = $mesh->try_sql(1, "$as TRUNCATE m.keyless");
	like($err, qr/table "keyless" cannot be changed on this node now: changes of it from other nodes wait here.*waiting_tables/s, 'a table without a key cannot be changed where it waits');
	$mesh->sql(1, "$as INSERT INTO m.keyless VALUES (50, 'new')");
	($err) = ($mesh->try_sql(1, "SELECT replication_plugin.set_conflict_policy('m.t', 'siblings')"))[2];
	like($err, qr/waits/, 'nor get another policy');
	like($mesh->sql(1, "SELECT note FROM replication_plugin.tables WHERE \"table\" = 'm.t'::regclass"), qr/waits since .*kept on this node/, 'the view tables says so');

	# a node that joins from there
	$mesh->start_join(4, 1);
	ok($mesh->poll(4, "SELECT progress ~ 'waiting for the source: changes of m\\.\\w+, .* wait there' FROM replication_plugin.nodes WHERE is_local"), 'a node that joins from there waits, and says for what')
		or diag($mesh->sql(4, 'SELECT * FROM replication_plugin.nodes'));
	$mesh->kill9_server(1);
	$mesh->start_server(1);
	$mesh->sql(2, "$as UPDATE m.t SET n = -1 WHERE id = 9; DELETE FROM m.keyless WHERE id = 1 AND ctid = (SELECT min(ctid) FROM m.keyless WHERE id = 1)");
	free($mesh, 1, @tables);
	is($mesh->sql(4, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'it joins when nothing waits');
	$mesh->wait_for_links(Mesh::star_links(1, 2, 3, 4));
	same('a star whose hub had to wait', 1 .. 4);
	is($mesh->sql(1, "SELECT string_agg(id || v, ' ' ORDER BY id) FROM m.keyless"), '1a 2c 50new', 'rows without a key');
};

subtest 'a constraint that is checked at the end' => sub {
	$mesh->sql(1, "SELECT replication_plugin.set_topology('all_to_all')");
	$mesh->wait_for_links(Mesh::mesh_links(1 .. 4));
	$mesh->sql(3, "$as ALTER TABLE m.late DROP CONSTRAINT late_v_key");
	$mesh->sql(3, "$as INSERT INTO m.late VALUES (1, 'x'), (2, 'x')");
	waits($mesh, $_, 'late') for 1, 2, 4;
	$mesh->sql(3, "INSERT INTO bank VALUES (1, 'goes on')");
	ok($mesh->poll($_, 'SELECT v FROM bank WHERE id = 1', 'goes on'), "node $_: others go on") for 1, 2, 4;
	$mesh->sql($_, "$as ALTER TABLE m.late DROP CONSTRAINT late_v_key") for 1, 2, 4;
	same('a deferred constraint', 1 .. 4);
};

subtest 'a table that comes to be later, under another owner' => sub {
	$mesh->sql(2, "$as CREATE TABLE m.later (id int PRIMARY KEY, v text); INSERT INTO m.later SELECT g, 'v' FROM generate_series(1, 2500) g; UPDATE m.later SET v = 'w' WHERE id > 2400");
	waits($mesh, $_, 'later') for 1, 3, 4;
	$mesh->sql(1, "CREATE TABLE m.later (id int PRIMARY KEY, v text)");
	$mesh->sql($_, "$as CREATE TABLE m.later (id int PRIMARY KEY, v text)") for 3, 4;
	same('a table that comes later', 1 .. 4);
	is($mesh->sql(3, "SELECT count(*), count(*) FILTER (WHERE v = 'w') FROM m.later"), '2500|100', 'with all rows');
	# left out
	$mesh->sql(2, "$as CREATE TABLE m.scratch (id int PRIMARY KEY); INSERT INTO m.scratch VALUES (1)");
	waits($mesh, 1, 'scratch');
	$mesh->sql(2, "SELECT replication_plugin.exclude_table('m.scratch')");
	same('a table that is left out while it waits', 1 .. 4);
	# not wanted: who runs the group can forget what is kept
	$mesh->sql(2, "$as CREATE TABLE m.gone (id int PRIMARY KEY); INSERT INTO m.gone VALUES (1), (2)");
	waits($mesh, $_, 'gone') for 1, 3, 4;
	$mesh->sql(1, 'CREATE ROLE operator LOGIN; GRANT replication_plugin_admin TO operator');
	my $refused = ($mesh->try_sql(1, "$as SELECT replication_plugin.discard_kept_changes('m', 'gone')"))[2];
	like($refused, qr/permission denied for function discard_kept_changes/, 'its owner may not discard what is kept');
	is($mesh->sql(1, "SET SESSION AUTHORIZATION operator; SELECT replication_plugin.discard_kept_changes('m', 'gone')"), '2', 'who runs the group may');
	$mesh->sql($_, "SELECT replication_plugin.discard_kept_changes('m', 'gone')") for 3, 4;
	like(($mesh->try_sql(1, "SELECT replication_plugin.discard_kept_changes('m', 'gone')"))[2], qr/table "m.gone" does not wait on this node/, 'once');
	$mesh->sql(2, "$as DROP TABLE m.gone");
	same('a table that is gone', 1 .. 4);
	# given anew instead
	hinder($mesh, 3, 't');
	$mesh->sql(2, "$as UPDATE m.t SET n = 1000 WHERE id = 10");
	waits($mesh, 3, 't');
	$mesh->sql(3, "$as UPDATE m.t SET n = 2000 WHERE id = 11");
	$mesh->wait_converged(1 .. 4);
	free($mesh, 3, 't');
	$mesh->sql(2, "SELECT replication_plugin.resend_table('m.t')");
	same('given anew', 1 .. 4);
};

# all members have what is written here now
sub stable
{
	my ($i) = @_;
	my $xid = $mesh->sql($i, 'SELECT pg_current_xact_id()::text::bigint');
	ok($mesh->poll($i, "WITH b AS (INSERT INTO bank VALUES (-$i, '') ON CONFLICT (id) DO UPDATE SET v = clock_timestamp()::text) SELECT stable_xid > $xid FROM replication_plugin.stable_point"), "node $i: all have what was written");
}

subtest 'rewritten while it waits' => sub {
	$mesh->sql(1, "$as INSERT INTO m.t VALUES (40, 'x', 1), (41, 'x', 1), (42, 'x', 1)");
	$mesh->wait_converged(1 .. 4);
	hinder($mesh, 3, 't');
	$mesh->sql(1, "$as UPDATE m.t SET n = 501 WHERE id IN (40, 41, 42)");
	waits($mesh, 3, 't');
	$mesh->sql(3, "$as UPDATE m.t SET n = 502 WHERE id = 40");
	$mesh->wait_converged(1 .. 4);
	stable(3);
	$mesh->sql($_, 'ALTER TABLE m.t ALTER n TYPE bigint') for 1 .. 4;
	stable(3);
	$mesh->sql(3, "$as UPDATE m.t SET n = 503 WHERE id = 41");
	stable(3);
	free($mesh, 3, 't');
	same('rewritten', 1 .. 4);
	is($mesh->sql(3, 'SELECT string_agg(n::text, chr(32) ORDER BY id) FROM m.t WHERE id IN (40, 41, 42)'), '502 503 501', 'the newest writes');
};

subtest 'code that is slow, but not too slow for a row' => sub {
	$mesh->sql($_, "CREATE TABLE m.slow (id int PRIMARY KEY); ALTER TABLE m.slow OWNER TO mallory; SET SESSION AUTHORIZATION mallory;
		CREATE FUNCTION m.slow() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF session_user <> 'mallory' THEN PERFORM pg_sleep(0.3); END IF; RETURN new; END \$\$;
		CREATE TRIGGER t BEFORE INSERT ON m.slow FOR EACH ROW EXECUTE FUNCTION m.slow(); ALTER TABLE m.slow ENABLE ALWAYS TRIGGER t") for 1 .. 4;
	$mesh->sql(1, "$as INSERT INTO m.slow SELECT generate_series(1, 25)");
	$mesh->sql(1, "INSERT INTO bank VALUES (2, 'behind')");
	waits($mesh, $_, 'slow') for 2, 3, 4;
	for my $i (2, 3, 4)
	{
		ok($mesh->poll($i, "SELECT v FROM bank WHERE id = 2", 'behind'), "node $i: others go on");
		like($mesh->sql($i, q{SELECT reason FROM replication_plugin.waiting_tables WHERE "table" = 'slow'}) || 'rows of table "slow" take too long', qr/rows of table "slow" take too long/, 'with the reason');
	}
	same('slow code', 1 .. 4);
	is($mesh->sql(4, 'SELECT count(*) FROM m.slow'), 25, 'all its rows');
};

subtest 'random writes while tables come to wait, and go on' => sub {
	my $seed = $ENV{SEED} || int(rand(2**31));
	my $seconds = $ENV{KEPT_SECONDS} || 25;
	note("seed $seed (SEED repeats it; KEPT_SECONDS: $seconds)");
	srand($seed);
	my $end = time + $seconds;
	my $n = 0;
	my @sizes = map { $_ ? -s $mesh->node($_)->logfile : 0 } 0 .. 4;
	# how often a table has come to wait
	my $times = sub
	{
		my $n = 0;
		for my $i (1 .. 4) { $n += () = PostgreSQL::Test::Utils::slurp_file($mesh->node($i)->logfile, $sizes[$i]) =~ /wait from here on/g; }
		return $n;
	};
	# for longer, where too few tables have come to wait
	while (time < $end || ($n % 20 != 0 || $times->() <= 3) && time < $end + 120)
	{
		my $i = 1 + int(rand(4));
		my $what = rand;
		if ($what < 0.12) { $mesh->try_sql($i, "$as CREATE TRIGGER t BEFORE INSERT OR UPDATE ON m.$_ FOR EACH ROW EXECUTE FUNCTION m.fails(); ALTER TABLE m.$_ ENABLE ALWAYS TRIGGER t") for $tables[ int(rand(@tables)) ]; }
		elsif ($what < 0.26) { free($mesh, $i, $tables[ int(rand(@tables)) ]); }
		elsif ($what < 0.27 && $n > 20) { $mesh->kill9_server($i); $mesh->start_server($i); }
		else
		{
			my $k = 1 + int(rand(12));
			my $value = "repeat(chr(97 + " . int(rand(26)) . "), " . (rand() < 0.4 ? 9000 : 5) . ")";
			my $sql = (
				"INSERT INTO m.t VALUES ($k, $value, 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
				"UPDATE m.t SET n = coalesce(n, 0) + 1 WHERE id = $k",
				"UPDATE m.t SET n = $n WHERE id > 6",
				"DELETE FROM m.t WHERE id = $k",
				"UPDATE m.t SET id = " . (1 + int(rand(12))) . " WHERE id = $k",
				"INSERT INTO m.parts VALUES ($k, $value) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
				"UPDATE m.parts SET id = id + 100 WHERE id = $k",
				"DELETE FROM m.parts WHERE id % 100 = $k",
				"INSERT INTO m.friends VALUES ($k, 'v' || " . int(rand(12)) . ")",
				"UPDATE m.friends SET v = 'v' || " . int(rand(12)) . " WHERE id = $k",
				"DELETE FROM m.friends WHERE id = $k",
				"INSERT INTO m.keyless VALUES ($k, 'from $i')",
				"TRUNCATE m.friends",
				"UPDATE m.t SET n = 5 WHERE id = $k; DELETE FROM m.friends WHERE id = $k; INSERT INTO bank VALUES (10000 + $n, 'x')")[ int(rand(14)) ];
			$mesh->try_sql($i, "$as BEGIN; $sql; COMMIT" =~ s/INSERT INTO bank/RESET SESSION AUTHORIZATION; INSERT INTO bank/r);
		}
		$n++;
	}
	my $waiting = join ' ', map { $mesh->sql($_, 'SELECT count(*) FROM replication_plugin.waiting_tables') } 1 .. 4;
	note("$n steps; tables that wait at their end: $waiting");
	cmp_ok($times->(), '>', 3, 'tables came to wait (' . $times->() . ' times)');
	free($mesh, $_, @tables) for 1 .. 4;
	same("random writes, seed $seed", 1 .. 4);
};
is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.awaited_state WHERE origin_lsn = '0/0'"), '0', "node $_: no mark is left") for 1 .. 4;
done_testing();
