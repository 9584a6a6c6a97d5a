# Tokens: what a session has committed, and other nodes that tell whether they have it, or wait for it. Each kind of write moves the token of its
# session or leaves it, and what it names is exactly the position under which another node gets the transaction.
use strict;
use warnings;
use File::Basename qw(dirname);
use IO::Socket::UNIX;
use Mesh;
use Test::More;

my $mesh = Mesh->new(3, conf => "max_prepared_transactions = 5\nreplication_plugin.frontier_interval = 200ms\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE);
CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE keyless (v text);
CREATE TABLE counted (id int PRIMARY KEY, n int);
CREATE TABLE alone (id int);
CREATE UNLOGGED TABLE gone (id int);
SELECT replication_plugin.exclude_table('alone');
SELECT replication_plugin.set_conflict_policy('counted', 'siblings');
SQL
$mesh->wait_converged;

# Statements of one session of node 1; returns what it prints, line by line.
sub session
{
	my ($i, $sql) = @_;
	my ($status, $out, $err) = $mesh->try_alone($i, $sql);
	is($status, 0, 'a session') or diag("$sql\n$err");
	return split /\n/, $out;
}

# Does a write move the token of its session?
my $token = 'SELECT replication_plugin.write_token();';
sub moves
{
	my ($expected, $name, $sql) = @_;
	my ($before, $after) = (session(1, "INSERT INTO keyless VALUES ('before');\n$token\n$sql\n$token"))[0, -1];
	is($after ne $before ? 'moves' : 'stays', $expected, $name) or diag("$before $after");
	like($after, qr/^1\.[0-9A-F]{32}\.1-[0-9A-F]+-\d+\.[0-9A-F]{8}$/, "$name: a token of node 1 in a run of its server");
	is($mesh->sql(2, "SELECT replication_plugin.wait_for('$after', '60 seconds')"), 't', "$name: it is waited for");
	is($mesh->sql($_, "SELECT replication_plugin.covers('$after')"), 't', "$name: node $_ has it") for 1, 2;
}

is((session(1, $token . ' SELECT 1;'))[0], '', 'a session that has written nothing has no token');
$mesh->sql(1, "INSERT INTO t VALUES (1, 'first'), (2, 'second'), (3, 'third'); INSERT INTO child VALUES (1, 1), (2, 2); INSERT INTO counted VALUES (1, 1)");
moves('moves', 'INSERT', "INSERT INTO t VALUES (10, 'x');");
moves('moves', 'UPDATE', "UPDATE t SET v = 'y' WHERE id = 10;");
moves('stays', 'UPDATE of no row', "UPDATE t SET v = 'y' WHERE id = -1;");
moves('stays', 'UPDATE of no row beside a local write', "BEGIN; UPDATE t SET v = 'y' WHERE id = -1; INSERT INTO alone VALUES (1); COMMIT;");
moves('moves', 'DELETE with a cascade', 'DELETE FROM t WHERE id = 2;');
moves('moves', 'a replicated write beside a local one', "BEGIN; INSERT INTO alone VALUES (2); UPDATE t SET v = 'z' WHERE id = 10; COMMIT;");
moves('stays', 'an excluded table', 'INSERT INTO alone VALUES (3);');
moves('stays', 'an unlogged table', 'INSERT INTO gone VALUES (3);');
moves('stays', 'a temporary table', 'CREATE TEMP TABLE own (id int); INSERT INTO own VALUES (1);');
moves('stays', 'nothing', 'BEGIN; SELECT 1; COMMIT;');
moves('stays', 'a row lock', 'SELECT id FROM t WHERE id = 1 FOR UPDATE;');
moves('stays', 'a rolled back transaction', "BEGIN; INSERT INTO t VALUES (11, 'x'); ROLLBACK;");
moves('stays', 'a rolled back savepoint', "BEGIN; INSERT INTO alone VALUES (4); SAVEPOINT s; INSERT INTO t VALUES (11, 'x'); ROLLBACK TO s; COMMIT;");
moves('moves', 'a kept savepoint', "BEGIN; SAVEPOINT s; INSERT INTO t VALUES (11, 'x'); RELEASE s; SAVEPOINT r; INSERT INTO t VALUES (12, 'x'); ROLLBACK TO r; COMMIT;");
moves('moves', 'COPY', "COPY t FROM stdin;\n20\tcopied\n\\.\n");
moves('moves', 'a CTE', "WITH w AS (INSERT INTO t VALUES (21, 'cte') RETURNING id) SELECT count(*) FROM w;");
moves('moves', 'a function', "DO \$\$ BEGIN INSERT INTO t VALUES (22, 'do'); END \$\$;");
moves('moves', 'a DO block that commits', "DO \$\$ BEGIN INSERT INTO t VALUES (23, 'do'); COMMIT; INSERT INTO alone VALUES (5); COMMIT; END \$\$;");
moves('moves', 'ON CONFLICT DO UPDATE', "INSERT INTO t VALUES (1, 'again') ON CONFLICT (id) DO UPDATE SET v = excluded.v;");
moves('stays', 'ON CONFLICT DO NOTHING', "INSERT INTO t VALUES (1, 'again') ON CONFLICT (id) DO NOTHING;");
moves('moves', 'MERGE', "MERGE INTO t USING (SELECT 1 AS id) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET v = 'merged';");
moves('moves', 'a partitioned table', "INSERT INTO parts VALUES (1, 'x');");
moves('moves', 'a partition', "UPDATE parts_low SET v = 'y';");
moves('moves', 'a table without a key', "INSERT INTO keyless VALUES ('x');");
moves('moves', 'a mergeable table', 'UPDATE counted SET n = 5;');
moves('moves', 'TRUNCATE', 'TRUNCATE keyless;');
moves('moves', 'a view', 'CREATE TEMP VIEW seen AS SELECT * FROM t; UPDATE seen SET v = $$viewed$$ WHERE id = 1;');
moves('moves', 'rows that are not counted', "BEGIN; SET LOCAL track_counts = off; INSERT INTO t VALUES (29, 'x'); SET LOCAL track_counts = on; SELECT 1 FROM t LIMIT 1; COMMIT;");
moves('stays', 'PREPARE TRANSACTION of a local write', "BEGIN; INSERT INTO alone VALUES (6); PREPARE TRANSACTION 'alone';");
$mesh->sql(1, "COMMIT PREPARED 'alone'");
# when nothing else happens in the group, as the frontier row that follows PREPARE is out
$mesh->wait_converged;
{
	my ($begun) = session(1, "BEGIN; INSERT INTO alone VALUES (7); SELECT pg_current_wal_insert_lsn(); PREPARE TRANSACTION 'rest';");
	ok($mesh->poll(2, "SELECT lsn >= '$begun' FROM replication_plugin.progress WHERE origin = 'node1'"), 'a frontier row follows PREPARE TRANSACTION');
	my $given = (session(1, "COMMIT PREPARED 'rest';\n$token"))[0];
	is($mesh->sql(2, "SELECT replication_plugin.wait_for('$given', '60 seconds')"), 't', 'the token of COMMIT PREPARED of a local write is covered at rest');
}
moves('stays', 'PREPARE TRANSACTION', "BEGIN; INSERT INTO t VALUES (30, 'x'); PREPARE TRANSACTION 'one';");
moves('moves', 'COMMIT PREPARED', "COMMIT PREPARED 'one';");
moves('moves', 'an asynchronous commit', "SET synchronous_commit = off; INSERT INTO t VALUES (31, 'x');");

# ---------- the position is that of the transaction; waiting ----------
$mesh->wait_converged;
$mesh->sql(1, "SELECT pg_create_logical_replication_slot('seen', 'replication_plugin')");
$mesh->pause(2, 1);
my ($held, $lsn) = do {
	my ($t) = session(1, "INSERT INTO t VALUES (100, 'held');\n$token");
	my ($n) = $t =~ /\.1-([0-9A-F]+)-/;
	($t, sprintf('%X/%X', hex($n) >> 32, hex($n) & 0xFFFFFFFF));
};
is($mesh->sql(3, "SELECT replication_plugin.wait_for('$held', '60 seconds')"), 't', 'node 3 has it');
like($mesh->sql(1, "SELECT string_agg(data, ' ') FROM pg_logical_slot_get_changes('seen', NULL, NULL, 'format', 'json')"), qr/"held".*"$lsn"/s, 'it names the end of the transaction, as decoding does');
$mesh->sql(1, "SELECT pg_drop_replication_slot('seen')");
is($mesh->sql(2, "SELECT replication_plugin.covers('$held')"), 'f', 'node 2 does not');
is($mesh->sql(2, "SELECT replication_plugin.wait_for('$held', '100 ms')"), 'f', 'wait_for() is false after the timeout');
is($mesh->sql(2, "SELECT count(*) FROM t WHERE id = 100"), 0, 'the row is not there');
my $job = $mesh->start_sql(2, "SELECT replication_plugin.wait_for('$held', '120 seconds'); SELECT v FROM t WHERE id = 100");
ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT replication_plugin.wait_for%' AND state = 'active' AND pid <> pg_backend_pid()", 1), 'a session waits');
my $after = $mesh->start_sql(2, "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL replication_plugin.after_timeout = '2min';\nSET LOCAL replication_plugin.after = '$held';\nSELECT v FROM t WHERE id = 100; COMMIT;");
my $waits = "FROM pg_stat_activity WHERE query LIKE 'SET LOCAL replication_plugin.after =%' AND state = 'active'";
ok($mesh->poll(2, "SELECT count(*) $waits", 1), 'a transaction waits in SET');
is($mesh->sql(2, "SELECT backend_xmin IS NULL AND backend_xid IS NULL $waits"), 't', 'without a snapshot');
my $connect = $mesh->start_sql(2, "SELECT v FROM t WHERE id = 100");
# as an option of the connection
my $option = $mesh->node(2)->connstr('app') . " options='-c replication_plugin.after=$held -c replication_plugin.after_timeout=2min'";
my $file = $mesh->{dir} . '/option.out';
my $connecting = $mesh->spawn($file, 'psql', '-XAtq', '-d', $option, '-c', 'SELECT v FROM t WHERE id = 100');
ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Extension' AND query = ''", 1), 'a connection waits');
is(($mesh->finish_sql($connect))[0], '', 'who does not wait does not see it');
$mesh->resume(2, 1);
is(($mesh->finish_sql($job))[0], "t\nheld\n", 'wait_for() returns when the row is here');
is(($mesh->finish_sql($after))[0], "held\n", 'the snapshot of REPEATABLE READ is taken after the wait');
waitpid $connecting, 0;
is(PostgreSQL::Test::Utils::slurp_file($file), "held\n", 'the connection sees it with its first statement');

# ---------- what the client is told without asking ----------
# A client that speaks the protocol by itself, to see which messages come before ReadyForQuery.
my $node = $mesh->node(1);
my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "no connection: $!";
my $startup = pack('N', 196608) . join('', map { "$_\0" } 'user', $mesh->user, 'database', 'app') . "\0";
print $socket pack('N', 4 + length $startup) . $startup;
$socket->flush;

# Reads bytes of the server.
sub bytes
{
	my ($n) = @_;
	my $got = '';
	while (length $got < $n) { sysread($socket, $got, $n - length $got, length $got) or die 'the server is gone'; }
	return $got;
}

# Reads messages up to ReadyForQuery; returns the tokens that were reported, and the values of rows.
sub answers
{
	my (@tokens, @values);
	while (1)
	{
		my ($type, $length) = unpack 'a N', bytes(5);
		my $body = $length > 4 ? bytes($length - 4) : '';
		push @tokens, $1 if $type eq 'S' && $body =~ /^replication_plugin\.token\0(.*)\0$/;
		push @values, substr($body, 6) if $type eq 'D';
		die "error: $body" if $type eq 'E';
		return (\@tokens, \@values) if $type eq 'Z';
	}
}

# A message with several statements, as psql -c sends it.
sub told
{
	my ($sql) = @_;
	print $socket 'Q' . pack('N', 5 + length $sql) . "$sql\0";
	$socket->flush;
	return answers();
}
my ($tokens, $values) = answers();
is("@$tokens", '', 'at first there is none');
($tokens) = told("INSERT INTO t VALUES (300, 'told')");
is(scalar @$tokens, 1, 'a commit reports its token');
($values) = (told('SELECT replication_plugin.write_token()'))[1];
is($values->[0], $tokens->[0], 'which is that of write_token()');
is(scalar @{ (told($_))[0] }, 0, "nothing is reported after $_") for 'SELECT 1', "BEGIN; UPDATE t SET v = 'x' WHERE id = 300", 'ROLLBACK', 'INSERT INTO alone VALUES (9)', "BEGIN; UPDATE t SET v = 'x' WHERE id = 300";
is(scalar @{ (told('COMMIT'))[0] }, 1, 'but with COMMIT');
($tokens) = told("DO \$\$ BEGIN UPDATE t SET v = 'y' WHERE id = 300; COMMIT; UPDATE t SET v = 'z' WHERE id = 300; COMMIT; END \$\$");
is(scalar @$tokens, 1, 'after several commits of a statement the last is reported');
is((told('SHOW replication_plugin.token'))[1][0], $tokens->[0], 'which is shown');
is((told("BEGIN; UPDATE t SET v = 'x' WHERE id = 300; PREPARE TRANSACTION 'told'"))[0][0], undef, 'PREPARE TRANSACTION reports nothing');
is(scalar @{ (told("COMMIT PREPARED 'told'"))[0] }, 1, 'COMMIT PREPARED does');
is((told('DISCARD ALL'))[0][0], undef, 'DISCARD ALL takes nothing back');
close $socket;

# ---------- what is refused ----------
sub refused
{
	my ($i, $state, $message, $sql, $name) = @_;
	my ($status, undef, $err) = $mesh->try_alone($i, "\\set VERBOSITY verbose\n$sql");
	ok($status != 0 && $err =~ /$state: .*$message/s, $name) or diag("$status $err");
}
$mesh->pause(2, 1);
my ($late) = session(1, "UPDATE t SET v = 'late' WHERE id = 100;\n$token");
refused(2, 'RP014', 'does not have what the token stands for.*node "node1": \d+ bytes are missing.*replication_plugin.links',
	"SET replication_plugin.after_timeout = '50ms'; SET replication_plugin.after = '$late'", 'after the timeout it is told what is missing');
refused(2, 'RP014', 'bytes are missing', "SET replication_plugin.after_timeout = 0; SELECT set_config('replication_plugin.after', '$late', false)", 'with set_config()');
refused(2, '25001', 'snapshot.*SET LOCAL replication_plugin.after', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT replication_plugin.wait_for('$late')", 'wait_for() under REPEATABLE READ');
refused(2, '25001', 'before the first statement', "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; SET LOCAL replication_plugin.after = '$late'", 'SET after the snapshot');
refused(2, '57014', 'statement timeout', "SET statement_timeout = '100ms'; SET replication_plugin.after = '$late'", 'statement_timeout ends the wait');
is((session(2, "ALTER ROLE CURRENT_USER SET replication_plugin.after = 'no token'; SELECT 1"))[0], 1, 'as the setting of a role');
is((session(2, 'SELECT count(*) FROM t WHERE id = 100'))[0], 1, 'it is not waited for');
session(2, 'ALTER ROLE CURRENT_USER RESET replication_plugin.after');
is((session(2, "BEGIN; SHOW replication_plugin.after; SET LOCAL work_mem = '1MB'; SET LOCAL replication_plugin.after = '" . (session(2, "INSERT INTO t VALUES (101, 'two');\n$token"))[0] . "'; SELECT v FROM t WHERE id = 101; ROLLBACK; SHOW replication_plugin.after; SELECT 'end'"))[-1], 'end',
	'SHOW and SET before it, and ROLLBACK after it');
$mesh->resume(2, 1);
for my $bad ('', 'x', '1', '1.', substr($late, 0, -1), substr($late, 1), $late =~ s/-/--/r, $late =~ s/\.1-/.2-/r, $late =~ tr/0-9A-F/1-9A-F0/r, "$late ", $late =~ s/-\d+\././r)
{
	refused(2, $bad eq '' ? 'RP010' : 'RP01[02]', 'token', "SELECT replication_plugin.covers('$bad')", "malformed: \"$bad\"");
}
refused(1, '55P02', 'cannot be changed', "SET replication_plugin.token = 'x'", 'the reported setting cannot be set');
refused(2, 'RP012', 'newer version', "SELECT replication_plugin.covers('2.anything')", 'of a newer version');
is($mesh->sql(1, 'CREATE DATABASE other', 'postgres'), '', 'another group');
my $dsn = $mesh->dsn(1) =~ s/dbname=app/dbname=other/r;
$mesh->sql(1, "CREATE EXTENSION replication_plugin; SELECT replication_plugin.create_group('others', 'lone', '$dsn')", 'other');
my ($status, undef, $err) = $mesh->try_sql(1, "\\set VERBOSITY verbose\nSELECT replication_plugin.covers('$late')", 'other');
like($err, qr/RP011: .*another group/, 'of another group');
($status, undef, $err) = $mesh->try_sql(1, "\\set VERBOSITY verbose\nSELECT replication_plugin.covers('$late')", 'postgres');
like($err, qr/does not exist/, 'no group, no function');

# a bad value in the configuration file does not end the server
$mesh->node(2)->append_conf('postgresql.conf', "replication_plugin.after = 'no token'");
$mesh->node(2)->reload;
$mesh->close_session(2);
$mesh->node(2)->restart;
is((session(2, 'SHOW replication_plugin.after'))[0], 'no token', 'a value in the configuration file is not read');
$mesh->node(2)->append_conf('postgresql.conf', "replication_plugin.after = ''");
$mesh->node(2)->reload;
$mesh->wait_for_streaming;
refused(2, '25001', 'Let SET be the first statement', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT set_config('replication_plugin.after', '$late', true)", 'set_config() takes a snapshot itself');
refused(2, 'RP010', 'malformed.*write_token', "SET replication_plugin.after = 'no token'", 'SET of no token');

# ---------- restarts ----------
my ($old) = session(1, "INSERT INTO t VALUES (200, 'old run');\n$token");
# the log writer is held, so that an asynchronous commit is lost; no link reads WAL that is not written
$mesh->wait_converged;
my $writer = $mesh->sql(1, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'");
my @held = ($writer, split /\n/, $mesh->sql(1, "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin%' OR backend_type IN ('walsender', 'checkpointer', 'background writer', 'autovacuum launcher')"));
kill 'STOP', @held;
my ($undone) = session(1, "SET synchronous_commit = off; INSERT INTO t VALUES (202, 'undone');\n$token");
my ($postmaster) = PostgreSQL::Test::Utils::slurp_file($mesh->node(1)->data_dir . '/postmaster.pid') =~ /^(\d+)/;
kill 'KILL', $postmaster, @held;
$mesh->kill_server(1);
$mesh->start_server(1);
$mesh->wait_for_streaming;
is($mesh->sql(1, 'SELECT count(*) FROM t WHERE id = 202'), 0, 'an asynchronous commit was undone');
refused(1, 'RP013', 'is lost: node "node1" has no commit at .* of run \d+', "SELECT replication_plugin.covers('$undone')", 'its token is told as lost');
my ($new) = session(1, "INSERT INTO t SELECT g, 'new run' FROM generate_series(1000, 2000) g;\nINSERT INTO t VALUES (201, 'new run');\n$token");
refused(1, 'RP013', 'is lost', "SELECT replication_plugin.covers('$undone')", 'also when as much has been written again');
my ($run_before) = $old =~ /-(\d+)\.[0-9A-F]+$/;
my ($run_after) = $new =~ /-(\d+)\.[0-9A-F]+$/;
cmp_ok($run_after, '>', $run_before, 'a token tells in which run of the server it was given');
is($mesh->sql($_, "SELECT replication_plugin.wait_for('$old', '60 seconds') AND replication_plugin.wait_for('$new', '60 seconds')"), 't', "both are covered on node $_") for 1 .. 3;
# a role that owns nothing
$mesh->sql(2, 'CREATE ROLE nobody_here LOGIN');
is((session(2, "SET SESSION AUTHORIZATION nobody_here; SELECT replication_plugin.covers('$new'), replication_plugin.write_token() IS NULL"))[0], 't|t', 'any role may ask');

# ---------- the commands of the document ----------
my ($given) = session(1, "INSERT INTO t VALUES (400, 'as documented');\n$token");
my @commands = PostgreSQL::Test::Utils::slurp_file(dirname(__FILE__) . '/../../docs/guarantees.md') =~ /^    (.*)$/mg;
is(scalar @commands, 7, 'docs/guarantees.md has commands');
my $script = join "\n", map { s/'\.\.\.'/'$given'/r =~ s/SELECT \.\.\.;/SELECT v FROM t WHERE id = 400;/r } @commands;
is(join('|', session(2, $script)), '|as documented|t|t', 'they do what it says');
$mesh->wait_converged;
$mesh->is_identical('at the end');
done_testing();
