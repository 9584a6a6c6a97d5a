# A node dies when its last writes have reached one member and not the other: after
# remove_node(..., lost => true) both have them, and conflicts with them end as they would have. The node
# comes back, is told, gives and takes nothing, and joins anew. A live node that is removed loses no
# write that it has acknowledged.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

Mesh::seed();
# a link that is held stays held: nothing is asked for on other ways
my $mesh = Mesh->new(3, conf => "replication_plugin.reroute_timeout = 1h\nreplication_plugin.frontier_interval = 100ms\n");
my ($status, $out, $err);
my $tick = "INSERT INTO tick VALUES (:side, 0) ON CONFLICT (id) DO UPDATE SET n = tick.n + 1;";

$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE log (at int, v text); -- no key
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
CREATE TABLE tick (id int PRIMARY KEY, n int);
CREATE UNLOGGED TABLE go (id int); -- of each node alone
CREATE FUNCTION wait_to_go() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		EXIT WHEN EXISTS (SELECT FROM public.go);
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN 'slow';
END $$;
SQL

# Rows of t as text.
sub rows
{
	my ($i, $where) = @_;
	return $mesh->sql($i, "SELECT coalesce(string_agg(id || '=' || v, ' ' ORDER BY id), '') FROM t WHERE $where");
}

# Waits for rows of t.
sub arrived
{
	my ($i, $where, $n) = @_;
	$mesh->poll($i, "SELECT count(*) FROM t WHERE $where", $n) or do { $mesh->dump_state; die "rows do not arrive on node $i"; };
}

# Nothing goes between node 3 and the others.
sub isolated
{
	my ($name) = @_;
	my @found;
	for my $i (1, 2)
	{
		push @found, "node $i keeps a slot"
			unless $mesh->poll($i, "SELECT count(*) FROM replication_plugin.slots WHERE subscriber = 'node3'", 0);
		push @found, "node $i has a link"
			unless $mesh->poll($i, "SELECT count(*) FROM replication_plugin.links WHERE provider = 'node3'", 0);
	}
	push @found, 'node 3 has links that run'
		unless $mesh->poll(3, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%'", 0);
	push @found, 'node 3 keeps slots' unless $mesh->poll(3, 'SELECT count(*) FROM replication_plugin.slots', 0);
	is(join(', ', @found), '', $name);
}

# Node 3 joins anew, and all is as before.
sub comes_back
{
	my ($name) = @_;
	my $number = $mesh->sql(3, 'SELECT node_id FROM replication_plugin.nodes WHERE is_local');
	$mesh->rejoin(3);
	$mesh->wait_for_streaming;
	$mesh->sql($_, "INSERT INTO log VALUES ($_, 'all are back')") for 1 .. 3;
	$mesh->wait_converged;
	$mesh->is_identical("$name: node 3 has joined anew");
	my ($new, $called) = split /\|/, $mesh->sql(3, 'SELECT node_id, node_name FROM replication_plugin.nodes WHERE is_local');
	ok($new > $number && $called eq 'node3', "$name: under its name, with a new number");
}

# ---------- a node that is lost ----------

for my $case ([ 'removed on the one that lacks them', 2 ], [ 'removed on the one that has them', 1 ], [ 'removed on both at once', 1, 2 ])
{
	my ($name, @removers) = @$case;
	$mesh->sql(1, "DELETE FROM child; DELETE FROM parent; DELETE FROM t; INSERT INTO t SELECT g, 'first' FROM generate_series(1, 20) g");
	$mesh->wait_converged;
	$mesh->pause(2, 3);
	$mesh->pause(3, 2);

	# B's writes are older than C's, or newer; neither sees the other's; A sees all
	$mesh->sql(2, "UPDATE t SET v = 'B old' WHERE id IN (1, 3); DELETE FROM t WHERE id = 6; INSERT INTO t VALUES (101, 'B old')");
	arrived(1, "v = 'B old'", 3);
	$mesh->sql(3, <<'SQL');
UPDATE t SET v = 'C new' WHERE id IN (1, 6);
DELETE FROM t WHERE id = 3;
INSERT INTO t VALUES (101, 'C new');
BEGIN;
UPDATE t SET v = 'C old' WHERE id IN (2, 5);
DELETE FROM t WHERE id = 4;
INSERT INTO t VALUES (102, 'C old');
COMMIT;
INSERT INTO t SELECT g, 'C alone' FROM generate_series(201, 250) g;
UPDATE t SET v = 'C alone' WHERE id BETWEEN 10 AND 14;
DELETE FROM t WHERE id BETWEEN 15 AND 19;
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (1, 1), (2, 2);
INSERT INTO log SELECT g, 'C' FROM generate_series(1, 10) g;
INSERT INTO t VALUES (260, 'C last');
SQL
	arrived(1, "v = 'C last'", 1);
	$mesh->sql(2, "UPDATE t SET v = 'B new' WHERE id IN (2, 4); DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (102, 'B new') ON CONFLICT (id) DO UPDATE SET v = 'B new'");
	arrived(1, "v = 'B new'", 3);
	# an effect of them on A: B may not see it before them
	$mesh->sql(1, "INSERT INTO t SELECT 300, 'A after ' || v FROM t WHERE id = 260");
	ok($mesh->poll(2, "SELECT waits_for ~ 'node3' FROM replication_plugin.links WHERE provider = 'node1'"), "$name: B's link from A waits for C's writes");
	is(rows(2, "id = 300 OR v LIKE 'C%'"), '', "$name: and B has neither them nor what came after");
	# what has reached nobody is lost
	$mesh->pause(1, 3);
	$mesh->sql(3, "INSERT INTO t VALUES (400, 'nobody'); UPDATE t SET v = 'nobody' WHERE id = 7");
	$mesh->kill_server(3);

	($status, $out, $err) = $mesh->try_sql($removers[0], "SELECT replication_plugin.remove_node('node3')");
	ok($status != 0 && $err =~ /node "node3" does not answer.*HINT.*lost => true/s, "$name: a dead node is not removed without a word") or diag($err);
	is($mesh->sql($removers[0], "SELECT state FROM replication_plugin.nodes WHERE node_name = 'node3' ORDER BY node_id DESC LIMIT 1"),
		'ready', "$name: and nothing has happened");
	my @pids = map { $mesh->spawn_sql($_, "SELECT replication_plugin.remove_node('node3', lost => true)") } @removers;
	waitpid $_, 0 for @pids;
	# where the news is behind what is missing, what is missing must be asked for
	if ($name =~ /has them/)
	{
		$mesh->sql(2, $_) for "ALTER SYSTEM SET replication_plugin.reroute_timeout = '500ms'", 'SELECT pg_reload_conf()';
	}
	ok($mesh->poll($_, "SELECT state FROM replication_plugin.nodes WHERE node_name = 'node3' ORDER BY node_id DESC LIMIT 1", 'removed'),
		"$name: node $_ knows that it is out") for 1, 2;
	arrived(2, "v IN ('C last', 'A after C last')", 2);
	$mesh->wait_converged(1, 2);
	$mesh->is_identical("$name: after the removal", 1, 2);
	is(rows(2, 'id <= 7 OR id BETWEEN 101 AND 102'), '1=C new 2=B new 4=B new 6=C new 7=first 101=C new 102=B new', "$name: the newer write has won");
	is(rows(2, "v = 'nobody'"), '', "$name: what nobody had is gone");
	is($mesh->sql(2, "SELECT (SELECT count(*) FROM t WHERE v = 'C alone'), (SELECT count(*) FROM child), (SELECT count(*) FROM t WHERE id BETWEEN 15 AND 19)"),
		'55|2|0', "$name: what A had of it, B has");

	$mesh->sql(2, $_) for 'ALTER SYSTEM RESET replication_plugin.reroute_timeout', 'SELECT pg_reload_conf()';

	# the removal is finished: nobody waits for the lost node any more
	my @load = $mesh->start_load($tick, 10, 1, 2);
	my @end = map { $mesh->sql($_, 'SELECT pg_current_wal_lsn()') } 1, 2;
	for my $i (1, 2)
	{
		ok($mesh->poll($i, "SELECT confirmed_lsn >= '$end[$i - 1]' FROM replication_plugin.slots WHERE subscriber IS NULL"),
			"$name: node ${i}'s group slot moves on");
		ok($mesh->poll($i, 'SELECT count(*) FROM replication_plugin.tombstone', 0), "$name: node ${i}'s tombstones go");
	}
	$mesh->stop_load(@load);

	# it comes back
	$mesh->start_server(3);
	ok($mesh->is_told(3, 'has been removed', 'removed'), "$name: it is told that it is out");
	isolated("$name: it takes and gives nothing");
	$mesh->writes_refused(3, 't', 'removed', "$name: it takes no writes");
	$mesh->sql(1, "INSERT INTO t VALUES (401, 'without C')");
	$mesh->wait_converged(1, 2);
	is(rows(3, 'id IN (401, 400)'), '400=nobody', "$name: it stays as it was");
	is(rows(1, "v = 'nobody'"), '', "$name: and so do the others");
	comes_back($name);
	is(rows(3, "v = 'nobody'"), '', "$name: what nobody had is gone there, too");
}

# ---------- a live node is removed: nothing that it has acknowledged is lost ----------

# A file of single inserts; each that is acknowledged leaves its id in the output.
my $dir = PostgreSQL::Test::Utils::tempdir_short();
my @writers;
for my $w (1 .. 3)
{
	open my $fh, '>', "$dir/$w.sql" or die;
	print $fh "INSERT INTO t VALUES ($_, 'acknowledged') RETURNING id;\n" for $w * 100_000 .. $w * 100_000 + 50_000;
	close $fh;
	push @writers, $mesh->spawn("$dir/$w.out", 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', $mesh->node(3)->host, '-p',
		$mesh->node(3)->port, '-d', 'app', '-f', "$dir/$w.sql");
}
ok($mesh->poll(1, "SELECT count(*) > 300 FROM t WHERE v = 'acknowledged'"), 'live: node 3 is written to');
$mesh->sql(1, "SELECT replication_plugin.remove_node('node3')");
my @codes = map { waitpid $_, 0; $? >> 8 } @writers;
is(join(' ', @codes), '3 3 3', 'live: its writers were stopped');
my $said = join '', map { slurp_file("$dir/$_.out") } 1 .. 3;
like($said, qr/node "node3" is not ready for writes/, 'live: and told why');
my @acknowledged = $said =~ /^(\d+)$/mg;
$mesh->wait_converged(1, 2);
for my $i (1, 2)
{
	my %there = map { $_ => 1 } split /\n/, $mesh->sql($i, "SELECT id FROM t WHERE v = 'acknowledged'");
	is(scalar(grep { !$there{$_} } @acknowledged), 0, 'live: node ' . $i . ' has all ' . @acknowledged . ' acknowledged writes');
}
$mesh->is_identical('live: after the removal', 1, 2);
ok($mesh->poll(3, 'SELECT state FROM replication_plugin.nodes WHERE is_local', 'removed'), 'live: it knows that it is out');
isolated('live: it takes and gives nothing');
$mesh->writes_refused(3, 't', 'removed', 'live: it takes no writes');
comes_back('live');

# One member lags, and transactions are under way when it is asked to go.
$mesh->sql(3, 'TRUNCATE go'); # of itself alone
$mesh->pause(2, 3);
$mesh->sql(3, "INSERT INTO t VALUES (500, 'lagging')");
arrived(1, "v = 'lagging'", 1);
# one has written already; one statement is running, and has written nothing so far
my $wrote = $mesh->spawn_sql(3, "DO \$\$ BEGIN INSERT INTO t VALUES (501, 'open'); PERFORM wait_to_go(); END \$\$", "$dir/open.out");
my $slow = $mesh->spawn_sql(3, 'INSERT INTO t SELECT 502, wait_to_go()', "$dir/slow.out");
$mesh->poll(3, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app' AND query ~ 'wait_to_go' AND wait_event = 'PgSleep'", 2) or die;
my $remover = $mesh->spawn_sql(1, "SELECT replication_plugin.remove_node('node3')", "$dir/remove.out");
ok($mesh->poll(3, 'SELECT state FROM replication_plugin.nodes WHERE is_local', 'leaving'), 'lagging: node 3 is on its way out');
$mesh->writes_refused(3, 't', 'leaving', 'lagging: it takes no writes any more');
is($mesh->sql(1, "SELECT state FROM replication_plugin.nodes WHERE node_name = 'node3' ORDER BY node_id DESC LIMIT 1"), 'ready', 'lagging: but is still a member');
$mesh->sql(3, 'INSERT INTO go VALUES (1)');
my %result;
waitpid $wrote, 0;
$result{501} = $?;
waitpid $slow, 0;
$result{502} = $?;
is(rows(2, 'id = 500'), '', 'lagging: one member lacks its writes');
is($mesh->sql(1, "SELECT state FROM replication_plugin.nodes WHERE node_name = 'node3' ORDER BY node_id DESC LIMIT 1"), 'ready', 'lagging: so it is not out');
$mesh->resume(2, 3);
waitpid $remover, 0;
is($?, 0, 'lagging: then it is removed') or diag(slurp_file("$dir/remove.out"));
$mesh->wait_converged(1, 2);
for my $i (1, 2)
{
	is(rows($i, 'id IN (500, 501)'), '500=lagging 501=open', "lagging: node $i has what was committed");
	is(rows($i, 'id = 502'), $result{502} ? '' : '502=slow', "lagging: node $i has the slow statement's row, or that was refused");
}
diag(slurp_file("$dir/slow.out")) if $result{502};
$mesh->is_identical('lagging: after the removal', 1, 2);
ok($mesh->poll(3, 'SELECT state FROM replication_plugin.nodes WHERE is_local', 'removed'), 'lagging: it knows that it is out');
comes_back('lagging');
done_testing();
