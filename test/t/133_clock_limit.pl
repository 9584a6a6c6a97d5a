# A server whose clock is wrong by days or decades: its transactions do not drag the clocks of the others there, local writes are
# refused while it is so, nothing that was accepted is lost, and all goes on by itself when the clock is right again.
use strict;
use warnings;
use Mesh;
use Test::More;
use Time::HiRes qw(sleep);

my $seed = Mesh::seed();
my $mesh = Mesh->new(3, clock => 1, conf => "max_prepared_transactions = 5\nreplication_plugin.frontier_interval = 200ms\n");
my $day = 86400;
my $to_2099 = 73 * 365 * $day;
$mesh->make_group('CREATE TABLE t (id int PRIMARY KEY, v text)');
$mesh->sql(1, "INSERT INTO t SELECT g, 'first' FROM generate_series(1, 20) g");
$mesh->wait_converged;
my $id = 100;

# Timestamps of a node, and those of its rows, are near the machine's time.
sub clock_is_sane
{
	my ($i, $name) = @_;
	my $limit = q{clock_timestamp() + interval '2 days' > };
	$limit = sprintf "timestamptz '%s' > ", $mesh->sql(3, "SELECT clock_timestamp() + interval '2 days'") if $i == 2;
	is($mesh->sql($i, "SELECT ($limit replication_plugin.clock_tick()), bool_and($limit pg_xact_commit_timestamp(xmin)) FROM t"), 't|t', "$name: the timestamps of node $i are sane");
}

# Writes of a node are refused for the clock's sake; reads work; the view nodes says so.
sub refuses
{
	my ($i, $name, %opt) = @_;
	my ($status, $err) = (0, '');
	my $deadline = time() + ($opt{at_once} ? 0 : 60);
	for (;;)
	{
		($status, undef, $err) = $mesh->try_sql($i, "\\set VERBOSITY verbose\nINSERT INTO t VALUES (" . ++$id . ", 'accepted')");
		last if $status != 0 || time() >= $deadline;
		sleep 0.1;
	}
	ok($status != 0, "$name: a write is refused" . ($opt{at_once} ? ' at once' : ''));
	like($err, qr/55000: node "node$i" is not ready for writes: .*clock.*HINT:  .*clock/s, "$name: with the reason and the fix");
	for my $sql ("UPDATE t SET v = 'x'", 'DELETE FROM t', 'TRUNCATE t', "COPY t FROM stdin;\n-1\tx\n\\.\n", "COMMIT PREPARED 'before'")
	{
		($status, undef, $err) = $mesh->try_sql($i, $sql);
		ok($status != 0 && $err =~ /is not ready for writes: .*clock/, "$name: " . substr($sql, 0, 15) . ' as well') or diag($err);
	}
	is($mesh->sql($i, "SELECT count(*) FROM t WHERE v = 'first'"), 20, "$name: reading works");
	is($mesh->sql($i, 'CREATE TEMP TABLE x AS SELECT 1 AS a; SELECT a FROM x'), 1, "$name: other tables can be written");
	like($mesh->sql($i, 'SELECT progress FROM replication_plugin.nodes WHERE is_local'), qr/error: .*clock.*HINT: /, "$name: the view nodes says so");
}

# A node takes writes, within some seconds.
sub accepts
{
	my ($i, $name) = @_;
	$id++;
	ok($mesh->poll($i, "WITH w AS (INSERT INTO t VALUES ($id, 'welcome') ON CONFLICT DO NOTHING RETURNING id) SELECT count(*) FROM w", 1, 90), "$name: node $i takes writes");
}

sub all_equal
{
	my ($name) = @_;
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
	$mesh->is_identical($name);
	clock_is_sane($_, $name) for 1 .. 3;
}

# ---------- a clock jumps while the server runs, and while others write ----------
# (not further: PostgreSQL's walsender asserts that no pause is longer than 24 days)
for my $case ([ 'ahead by 20 days', 20 * $day ], [ 'back by 20 days', -20 * $day ])
{
	my ($name, $shift) = @$case;
	$mesh->sql(2, "BEGIN; INSERT INTO t VALUES (" . ++$id . ", 'prepared'); PREPARE TRANSACTION 'before'");
	my $prepared = $id;
	$mesh->set_clock(2, $shift);
	# what is accepted before anybody has noticed is not lost, and harms nobody
	my $early = ++$id;
	my ($status) = $mesh->try_sql(2, "INSERT INTO t VALUES ($early, 'early')");
	refuses(2, $name);
	$mesh->sql($_, "UPDATE t SET v = v WHERE id = $_; INSERT INTO t VALUES (" . ++$id . ", 'from $_')") for 1, 3;
	ok($mesh->poll(2, "SELECT count(*) FROM t WHERE id = $id", 1), "$name: node 2 goes on to hear of the others");
	ok($mesh->poll($_, "SELECT count(*) FROM t WHERE id = $early", 1), "$name: what was accepted on node 2 has come to node $_") for $status == 0 ? (1, 3) : ();
	clock_is_sane($_, $name) for 1 .. 3;
	$mesh->set_clock(2, 0);
	accepts(2, "$name, then right again");
	$mesh->sql(2, "COMMIT PREPARED 'before'");
	all_equal("$name, then right again");
	is($mesh->sql($_, "SELECT count(*) FROM t WHERE id = $prepared"), 1, "$name: what was prepared before has come to node $_") for 1 .. 3;
}

# ---------- a server is started with a wrong clock ----------
for my $case ([ 'started in 2099', $to_2099, 'stop' ], [ 'started 20 days ago', -20 * $day, 'stop' ], [ 'after a crash in 2099', $to_2099, 'kill' ])
{
	my ($name, $shift, $how) = @$case;
	$mesh->sql(2, "BEGIN; INSERT INTO t VALUES (" . ++$id . ", 'prepared'); PREPARE TRANSACTION 'before'");
	$how eq 'stop' ? $mesh->node(2)->stop : $mesh->kill_server(2);
	$mesh->set_clock(2, $shift);
	$mesh->start_server(2);
	refuses(2, $name, at_once => 1);
	ok($mesh->poll(2, q{SELECT progress ~ 'the clock of this server is .* that of node' FROM replication_plugin.nodes WHERE is_local}), "$name: and then by how much it is off");
	refuses(2, "$name, compared", at_once => 1);
	accepts($_, $name) for 1, 3;
	clock_is_sane($_, $name) for 1 .. 3;
	if ($shift == $to_2099)
	{
		$how eq 'stop' ? $mesh->node(2)->stop : $mesh->kill_server(2);
	}
	$mesh->set_clock(2, 0);
	$mesh->start_server(2) if $shift == $to_2099;
	accepts(2, "$name, then right again");
	$mesh->sql(2, "COMMIT PREPARED 'before'");
	all_equal("$name, then right again");
}

# a server that was down for long, and whose clock is right, is not kept from writing
$mesh->node(2)->stop;
$mesh->set_clock($_, 3 * $day) for 1 .. 3;
$mesh->start_server(2);
accepts(2, 'three days later');
accepts($_, 'three days later, all clocks alike') for 1, 3;
# nor one that can ask nobody
$mesh->node($_)->stop for 1 .. 3;
$mesh->set_clock($_, 6 * $day) for 1 .. 3;
$mesh->start_server(1);
ok($mesh->poll(1, "WITH w AS (INSERT INTO t VALUES (" . ++$id . ", 'alone') ON CONFLICT DO NOTHING RETURNING id) SELECT count(*) FROM w", 1, 150), 'alone: takes writes');
is($mesh->sql(1, "SELECT abs(extract(epoch FROM pg_xact_commit_timestamp(xmin) - clock_timestamp())) < 600 FROM t WHERE id = $id"), 't', 'alone: with the right time');
$mesh->start_server($_) for 2, 3;
accepts($_, 'six days later') for 1 .. 3;
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('six days later');

# ---------- transactions that are there already ----------
# node 2 does not look at its own clock
sub set_limit
{
	my ($i, $limit) = @_;
	$mesh->sql($i, "ALTER SYSTEM SET replication_plugin.max_clock_skew = '$limit'");
	$mesh->sql($i, 'SELECT pg_reload_conf()');
	$mesh->poll($i, 'SHOW replication_plugin.max_clock_skew', $limit) or die;
}
set_limit(2, '-1');
$mesh->set_clock(2, 10 * $day);
my $far = ++$id;
$mesh->sql(2, "INSERT INTO t VALUES ($far, 'four days ahead')");
$mesh->set_clock(2, 6 * $day);
for my $i (1, 3)
{
	ok($mesh->poll($i, q{SELECT last_error ~ 'node "node2" has a timestamp that is .*(days|hours) ahead of this server.s clock.*HINT: .*max_clock_skew' FROM replication_plugin.links WHERE provider = 'node2'}),
		"node $i says why it waits for node 2");
	is($mesh->sql($i, "SELECT count(*) FROM t WHERE id = $far"), 0, "node $i has not applied it");
	is($mesh->sql($i, "SELECT replication_plugin.clock_tick() < clock_timestamp() + interval '1 day'"), 't', "the clock of node $i has not been raised");
	accepts($i, 'beside it');
}
# it is taken where the limit allows it, and it goes on by itself
set_limit($_, '10d') for 1, 3;
ok($mesh->poll($_, "SELECT count(*) FROM t WHERE id = $far", 1), "node $_ has it when the limit is raised") for 1, 3;
set_limit(2, '10d');
accepts($_, 'all have the higher limit') for 1 .. 3;
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('the limit is raised');
# a limit that is too low for what has been written is told
set_limit(3, '1d');
ok($mesh->poll(3, q{SELECT progress ~ 'timestamps of this node.s transactions are .* ahead of its clock.*HINT: .*max_clock_skew' FROM replication_plugin.nodes WHERE is_local}), 'a node that has such transactions says so');
like(($mesh->try_sql(3, "INSERT INTO t VALUES (-1, 'x')"))[2], qr/not ready for writes: timestamps of this node's transactions/, 'and refuses writes');
set_limit(3, '10d');
accepts(3, 'the limit is high enough');

# a node that has run away alone is taken in anew
set_limit(2, '-1');
$mesh->set_clock(2, 26 * $day);
$mesh->sql(2, "INSERT INTO t VALUES (" . ++$id . ", 'three weeks ahead')");
$mesh->set_clock(2, 6 * $day);
set_limit(2, '10d');
ok($mesh->poll(1, q{SELECT last_error ~ 'node "node2" has a timestamp that is .* days ahead' FROM replication_plugin.links WHERE provider = 'node2'}), 'node 2 has run away');
$mesh->sql(1, "SELECT replication_plugin.remove_node('node2', lost => true)");
ok($mesh->poll(2, "SELECT state = 'removed' FROM replication_plugin.nodes WHERE is_local"), 'it is removed');
$mesh->rejoin(2);
accepts(2, 'taken in anew');
$mesh->node(2)->stop;
$mesh->start_server(2);
accepts(2, 'taken in anew and restarted');
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('taken in anew');
is($mesh->sql($_, "SELECT replication_plugin.clock_tick() < clock_timestamp() + interval '10 days'"), 't', "the clock of node $_ is where it was") for 1 .. 3;
done_testing();
