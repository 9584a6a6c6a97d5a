# Versions respect causality, whatever the clocks say: who overwrites what it has seen wins, everywhere. Clocks that are
# minutes ahead, that are set back while the server writes, that differ after a restart or crash; COMMIT PREPARED,
# subtransactions, timestamps that come from outside the group.
use strict;
use warnings;
use Mesh;
use Test::More;
use Time::HiRes qw(sleep);

my $seed = Mesh::seed();
my $mesh = Mesh->new(4, clock => 1, conf => "max_prepared_transactions = 10\n");
$mesh->set_clock(2, 600);
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text, n int DEFAULT 0);
INSERT INTO t SELECT g, 'first' FROM generate_series(1, 100) g;
SQL
$mesh->wait_converged;

# All rows of t, and their versions.
my $versions = q{SELECT string_agg(format('%s=%s %s', id, v, n), ' ' ORDER BY id) FROM t};
my $stamps = q{SELECT string_agg(id || ' ' || pg_xact_commit_timestamp(xmin), ', ' ORDER BY id) FROM t
	WHERE v <> 'first' AND v <> 'from before'};

sub same_everywhere
{
	my ($name) = @_;
	$mesh->wait_converged;
	$mesh->is_identical($name);
	my %seen = map { $mesh->sql($_, $stamps) => 1 } 1 .. 4;
	is(scalar(keys %seen), 1, "$name: versions are the same, too") or diag(CORE::join("\n", keys %seen));
}

# What a row is, on all nodes.
sub shows
{
	my ($id, $expected, $name) = @_;
	is($mesh->sql($_, "SELECT coalesce((SELECT v FROM t WHERE id = $id), 'none')"), $expected, "$name: on node $_") for 1 .. 4;
}

# A node writes; a second one waits until it sees that, and writes over it, in every way.
my $id = 0;
sub later_writes_win
{
	my ($first, $second, $name) = @_;
	my @ways = (
		[ 'update', "UPDATE t SET v = 'A' WHERE id = %d", "UPDATE t SET v = 'B' WHERE id = %d", 'B' ],
		[ 'delete', "UPDATE t SET v = 'A' WHERE id = %d", 'DELETE FROM t WHERE id = %d', 'none' ],
		[ 'insert after delete', 'DELETE FROM t WHERE id = %d', "INSERT INTO t VALUES (%d, 'B')", 'B' ],
		[ 'subtransaction', "UPDATE t SET v = 'A' WHERE id = %d", "BEGIN; SAVEPOINT s; UPDATE t SET v = 'B' WHERE id = %d; RELEASE s; COMMIT", 'B' ],
		[ 'subtransaction, then more', "UPDATE t SET v = 'A' WHERE id = %1\$d",
			"BEGIN; SAVEPOINT s; UPDATE t SET v = 'b' WHERE id = %1\$d; RELEASE s; UPDATE t SET v = 'B' WHERE id = %1\$d; SAVEPOINT s; UPDATE t SET v = 'c' WHERE id = %1\$d; ROLLBACK TO s; COMMIT", 'B' ],
		[ 'commit prepared', "UPDATE t SET v = 'A' WHERE id = %1\$d",
			"BEGIN; UPDATE t SET v = 'b' WHERE id = %1\$d; SAVEPOINT s; UPDATE t SET v = 'B' WHERE id = %1\$d; PREPARE TRANSACTION 'p%1\$d'; COMMIT PREPARED 'p%1\$d'", 'B' ],
		[ 'asynchronous', "UPDATE t SET v = 'A' WHERE id = %d", "SET synchronous_commit = off; UPDATE t SET v = 'B' WHERE id = %d", 'B' ],
		[ 'truncate', "INSERT INTO u VALUES (%d, 'A') ON CONFLICT (id) DO UPDATE SET v = 'A'", 'TRUNCATE u', undef ]);
	for my $way (@ways)
	{
		my ($how, $a, $b, $expected) = @$way;
		$id++;
		$mesh->sql($first, sprintf($a, $id));
		if (!defined $expected)
		{
			$mesh->poll($second, "SELECT count(*) FROM u WHERE v = 'A'", 1) or die;
			$mesh->sql($second, $b);
			$mesh->wait_converged;
			is($mesh->sql($_, 'SELECT count(*) FROM u'), 0, "$name, $how: on node $_") for 1 .. 4;
			next;
		}
		my $seen = $a =~ /DELETE/ ? "SELECT count(*) = 0 FROM t WHERE id = $id" : "SELECT v = 'A' FROM t WHERE id = $id";
		$mesh->poll($second, $seen) or die;
		$mesh->sql($second, sprintf($b, $id));
		$mesh->wait_converged;
		shows($id, $expected, "$name, $how");
	}
}
$mesh->all_sql('CREATE TABLE u (id int PRIMARY KEY, v text)');
later_writes_win(2, 1, 'the first node is 10 minutes ahead');
later_writes_win(1, 2, 'the second node is 10 minutes ahead');
later_writes_win(1, 3, 'both have seen a clock that is 10 minutes ahead');
same_everywhere('10 minutes');
is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.conflicts WHERE resolution <> 'stop'"), 0, "no conflict on node $_") for 1 .. 4;

# what people see of it
for my $i (1, 3, 4)
{
	ok($mesh->poll($i, "SELECT clock_offset BETWEEN '599 s' AND '601 s' FROM replication_plugin.nodes WHERE node_name = 'node2'"), "node $i shows the clock of node 2");
}
ok($mesh->poll(2, "SELECT bool_and(clock_offset BETWEEN '-601 s' AND '-599 s') FROM replication_plugin.nodes WHERE NOT is_local"), 'and node 2 those of the others');
ok($mesh->poll(1, "SELECT clock_offset BETWEEN '-1 s' AND '1 s' FROM replication_plugin.nodes WHERE node_name = 'node3'"), 'clocks that are right');
$mesh->node(1)->wait_for_log(qr/WARNING:  the clock of node "node2" is ahead/); # it is written a moment after the view shows it
like(PostgreSQL::Test::Utils::slurp_file($mesh->node(1)->logfile), qr/WARNING:  the clock of node "node2" is ahead of this server's by [56]\d\d\.\d+ s/, 'a warning is in the log');
$mesh->set_clock(2, 0);

# ---------- a clock is set back while its server writes ----------
for my $i (1, 3)
{
	my $row = 50 + $i;
	my $writer = $mesh->start_sql($i, CORE::join("\n", map { "UPDATE t SET n = $_, v = 'back' WHERE id = $row;" } 1 .. 3000));
	$mesh->poll($i, "SELECT n > 500 FROM t WHERE id = $row") or die;
	$mesh->set_clock($i, -60);
	my (undef, $err) = $mesh->finish_sql($writer);
	is($err, '', "node $i writes on while its clock is set back");
	same_everywhere("set back on node $i");
	is($mesh->sql(4, "SELECT n FROM t WHERE id = $row"), 3000, "the last write of node $i is the one that stays");
}

# alternating writes of two nodes, each after it has seen the other's
for my $k (1 .. 60)
{
	my ($me, $other) = $k % 2 ? (1, 4) : (4, 1);
	$mesh->sql($me, "UPDATE t SET n = $k, v = 'in turn' WHERE id = 60");
	$mesh->poll($other, 'SELECT n FROM t WHERE id = 60', $k) or die;
}
same_everywhere('in turn');
is($mesh->sql(2, 'SELECT n FROM t WHERE id = 60'), 60, 'the last of writes in turn stays');

# ---------- restarts and crashes: the clock goes on ----------
for my $how ('stop', 'kill')
{
	$mesh->set_clock(2, 1200);
	$mesh->sql(2, "UPDATE t SET v = 'ahead' WHERE id BETWEEN 70 AND 75");
	$mesh->wait_converged;
	# node 1 takes a timestamp of the clock for this one, and remembers it only in its WAL
	$mesh->pause(3, 1);
	$mesh->sql(1, "UPDATE t SET v = 'stamped' WHERE id = 70; BEGIN; SAVEPOINT s; UPDATE t SET v = 'stamped' WHERE id = 71; RELEASE s; COMMIT;
		BEGIN; UPDATE t SET v = 'stamped' WHERE id = 72; PREPARE TRANSACTION 'p'; COMMIT PREPARED 'p'");
	my $before = $mesh->sql(1, $stamps);
	for my $i (1, 2)
	{
		$how eq 'stop' ? $mesh->node($i)->stop : $mesh->kill_server($i);
	}
	$mesh->set_clock(2, -30);
	$mesh->start_server($_) for 1, 2;
	is($mesh->sql(1, $stamps), $before, "$how: node 1 has the versions that it had");
	# node 2's clock is far behind what it wrote itself; node 1 was never ahead by itself
	$mesh->sql(2, "UPDATE t SET v = 'behind' WHERE id = 73");
	$mesh->sql(1, "UPDATE t SET v = 'behind' WHERE id = 74");
	$mesh->sql(4, "UPDATE t SET v = 'behind' WHERE id = 75");
	# node 3 does not know what node 1 did, and writes later by the clock on the wall
	$mesh->sql(3, "UPDATE t SET v = 'concurrent' WHERE id = 71");
	$mesh->resume(3, 1);
	$mesh->wait_for_streaming;
	same_everywhere("$how");
	shows($_, 'behind', "$how: $_") for 73 .. 75;
	shows(70, 'stamped', $how);
	$mesh->set_clock(2, 0);
}

# without its file the clock is found in the commit timestamps
$mesh->set_clock(2, 1800);
$mesh->sql(2, "UPDATE t SET v = 'ahead' WHERE id = 76");
$mesh->wait_converged;
$mesh->kill_server(1);
unlink($mesh->node(1)->data_dir . '/pg_stat/replication_plugin.clock') or die;
$mesh->start_server(1);
$mesh->sql(1, "UPDATE t SET v = 'behind' WHERE id = 76");
$mesh->set_clock(2, 0);
$mesh->wait_for_streaming;
same_everywhere('without the file');
shows(76, 'behind', 'without the file');

# ---------- a node that joins goes on where its source is ----------
my $five = $mesh->add_server;
$mesh->join($five);
$mesh->sql($five, "UPDATE t SET v = 'by the new one' WHERE id IN (73, 76)");
$mesh->wait_for_streaming;
same_everywhere('joined');
is($mesh->sql($_, "SELECT string_agg(v, ' ') FROM t WHERE id IN (73, 76)"), 'by the new one by the new one', "joined: on node $_") for 1 .. 5;

# ---------- timestamps from outside the group ----------
$mesh->all_sql("SELECT pg_replication_origin_create('outside')");
$mesh->sql(3, "UPDATE t SET v = 'here' WHERE id BETWEEN 80 AND 81");
$mesh->wait_converged;
my $outside = "SELECT pg_replication_origin_session_setup('outside')";
my $reset = 'SELECT pg_replication_origin_session_reset()'; # a session that ends may still have the origin when the next one begins
$mesh->sql(1, "$outside; BEGIN; SELECT pg_replication_origin_xact_setup('0/1', '2001-01-01'); UPDATE t SET v = 'outside' WHERE id = 80; COMMIT; $reset");
$mesh->sql(1, "$outside; BEGIN; UPDATE t SET v = 'outside' WHERE id = 81; PREPARE TRANSACTION 'o'; SELECT pg_replication_origin_xact_setup('0/2', '2001-01-01'); COMMIT PREPARED 'o'; $reset");
same_everywhere('outside');
shows($_, 'outside', "outside: $_") for 80, 81;

# ---------- equal microseconds on two nodes, judged by the others, which restart in between ----------
for my $round (1, 2)
{
	my $row = 89 + $round;
	for my $i (1 .. 4) { $mesh->pause($i, $_) for grep { $_ != $i } 1 .. 4; }
	my $tie = $mesh->sql(1, "SELECT replication_plugin.clock_tick() + interval '3 hours'");
	$mesh->sql($_, "$outside; BEGIN; SELECT pg_replication_origin_xact_setup('0/$round$_', '$tie'); UPDATE t SET v = 'tie $_' WHERE id = $row; COMMIT; $reset") for 1, 2;
	# in both orders
	for my $way ([ 3, 1, 2 ], [ 4, 2, 1 ])
	{
		my ($i, $one, $other) = @$way;
		$mesh->resume($i, $one);
		$mesh->poll($i, "SELECT v FROM t WHERE id = $row", "tie $one") or die;
		$mesh->kill_server($i);
		$mesh->start_server($i);
		$mesh->resume($i, $other);
	}
	for my $i (1 .. 4) { $mesh->resume($i, $_) for grep { $_ != $i } 1 .. 4; }
	$mesh->wait_for_streaming;
	same_everywhere("tie $round");
	shows($row, 'tie 2', "tie $round");
	# and what has seen it
	$mesh->sql(1, "UPDATE t SET v = 'after' WHERE id = $row");
	same_everywhere("after tie $round");
	shows($row, 'after', "after tie $round");
}
done_testing();
