# Effects never overtake their causes: what a node writes after it has seen another node's write is applied
# after that one everywhere, whichever links are held up, and no transaction shows by halves. As
# nothing is concurrent here, there is no conflict on any node.
use strict;
use warnings;
use List::Util qw(shuffle);
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $seed = Mesh::seed();
my $rounds = $ENV{ROUNDS} || 3;
my $seconds = $ENV{SECONDS_OF_LOAD} || 8;
# nothing is taken another way: the links stay held
my $mesh = Mesh->new(3, conf => "replication_plugin.reroute_timeout = 1h\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL);
CREATE TABLE several (node int, id int, n int, filler text, PRIMARY KEY (node, id));
CREATE TABLE batch (node int, batch int, id int, PRIMARY KEY (node, batch, id));
INSERT INTO t SELECT g, 'old' FROM generate_series(101, 200) g;
INSERT INTO several SELECT node, id, 0, repeat('x', 200) FROM generate_series(1, 2) node, generate_series(1, 20) id;
SQL
$mesh->wait_converged;

sub hold
{
	my ($node, @providers) = @_;
	for my $p (@providers)
	{
		$mesh->sql($node, "SELECT replication_plugin.pause_link('node$p')");
		$mesh->poll($node, "SELECT state FROM replication_plugin.links WHERE provider = 'node$p'", 'paused') or die "link from node $p is not held";
	}
}
sub let_go { $mesh->resume(@_); }
# A link waits at a stub of another origin.
sub waits
{
	my ($node, $provider, $origin, $what) = @_;
	ok($mesh->poll($node, "SELECT state = 'blocked' AND waits_for ~ '^node$origin [0-9A-F]+/[0-9A-F]+\$' AND blocked_since <= now()
		FROM replication_plugin.links WHERE provider = 'node$provider'"), "$what: the link from node$provider waits for node$origin, and says so");
}
sub value { my ($node, $id) = @_; return $mesh->sql($node, "SELECT coalesce((SELECT v FROM t WHERE id = $id), 'none')"); }
sub sees
{
	my ($node, $id, $value) = @_;
	$mesh->poll($node, "SELECT coalesce((SELECT v FROM t WHERE id = $id), 'none')", $value) or die "node $node does not see $value in row $id";
}
sub no_conflicts
{
	my ($what) = @_;
	$mesh->wait_converged;
	$mesh->is_identical($what);
	is($mesh->sql($_, "SELECT count(*) || coalesce(': ' || string_agg(conflict_type || ' ' || row_key, ', '), '') FROM replication_plugin.conflicts"),
		0, "$what: no conflicts on node $_") for 1 .. $mesh->size;
}

# Values that a row shows on a node, one after the other, until the last expected one is there. Returns when the first has been seen.
my $watchers = 0;
sub watch
{
	my ($node, $id, $last) = @_;
	$watchers++;
	my $job = $mesh->start_sql($node, <<"SQL");
DO \$\$
DECLARE
	seen text[] := ARRAY[coalesce((SELECT v FROM t WHERE id = $id), 'none')];
	now_there text;
	deadline timestamptz := clock_timestamp() + interval '180 seconds';
BEGIN
	PERFORM pg_advisory_lock(80, $watchers);
	LOOP
		now_there := coalesce((SELECT v FROM t WHERE id = $id), 'none');
		IF seen[cardinality(seen)] IS DISTINCT FROM now_there THEN
			seen := seen || now_there;
		END IF;
		EXIT WHEN now_there = '$last' OR clock_timestamp() > deadline;
	END LOOP;
	RAISE NOTICE 'seen: %', array_to_string(seen, ' ');
END
\$\$;
SQL
	$mesh->poll($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 80 AND objid = $watchers AND granted", 1) or die 'nobody watches';
	return $job;
}
sub watched
{
	my ($job) = @_;
	my (undef, $err) = $mesh->finish_sql($job);
	return $err =~ /seen: (.*)/ ? $1 : "error: $err";
}

# ---------- two writers, the reader's link from the first is held ----------

# What was committed on the second node before it saw the first's write, is not held up.
hold(3, 1);
$mesh->sql(2, "INSERT INTO t VALUES (50, 'before')");
ok($mesh->poll(3, "SELECT v FROM t WHERE id = 50", 'before'), 'what the writer wrote before it saw anything arrives at once');
let_go(3, 1);

my @cases = (
	# name, id, what it shows before, first write on node 1, what node 2 then sees, its write, what node 3 shows in the end
	[ 'update after insert', 1, 'none', "INSERT INTO t VALUES (1, 'inserted')", 'inserted', "UPDATE t SET v = v || '+' WHERE id = 1", 'inserted+' ],
	[ 'delete after insert', 2, 'none', "INSERT INTO t VALUES (2, 'inserted')", 'inserted', 'DELETE FROM t WHERE id = 2', 'none' ],
	[ 'delete after update', 101, 'old', "UPDATE t SET v = 'updated' WHERE id = 101", 'updated', 'DELETE FROM t WHERE id = 101', 'none' ],
	[ 'update after update', 102, 'old', "UPDATE t SET v = 'updated' WHERE id = 102", 'updated', "UPDATE t SET v = v || '+' WHERE id = 102", 'updated+' ],
	[ 'insert after delete', 103, 'old', 'DELETE FROM t WHERE id = 103', 'none', "INSERT INTO t VALUES (103, 'again')", 'again' ],
	[ 'move after insert', 3, 'none', "INSERT INTO t VALUES (3, 'inserted')", 'inserted', "UPDATE t SET id = 1003, v = 'moved' WHERE id = 3", 'none' ],
);
for my $case (@cases)
{
	my ($name, $id, $before, $first, $between, $second, $after) = @$case;
	hold(3, 1);
	$mesh->sql(1, $first);
	sees(2, $id, $between);
	$mesh->sql(2, "$second; INSERT INTO t VALUES (2000 + $id, 'end')");
	waits(3, 2, 1, $name);
	is(value(3, $id), $before, "$name: node 3 shows nothing of it");
	is(value(3, 2000 + $id), 'none', "$name: nor of the rest of that transaction");
	my $end = watch(3, 2000 + $id, 'end');
	my $job = $after ne $before ? watch(3, $id, $after) : undef;
	let_go(3, 1);
	if ($job)
	{
		my ($all, $short) = (join(' ', $before, $between, $after), join(' ', $before, $after));
		like(watched($job), qr/^(\Q$all\E|\Q$short\E)$/, "$name: node 3 shows one after the other");
	}
	is(watched($end), 'none end', "$name: then the rest");
	is(value(3, $id), $after, "$name: in the end");
}
is(value(3, 1003), 'moved', 'the row has moved');
no_conflicts('two writers');
ok($mesh->poll(3, "SELECT count(*) FROM replication_plugin.links WHERE waits_for IS NULL AND blocked_since IS NULL AND state = 'streaming'", 2), 'no link waits any more');

# ---------- parent and child ----------

# Two tables without a foreign key: node 1 inserts parents, node 2 a child of each that it sees; node 2 deletes
# children, node 1 then parents without children. Node 3's link from node 1 is held and let go all the time; its readers look for orphans,
# and for transactions that show by halves.
my $stop = PostgreSQL::Test::Utils::tempdir() . '/stop';
sub forever
{
	my ($node, $declare, $body, $end) = @_;
	return $mesh->start_sql($node, "DO \$\$ DECLARE i int := 0; $declare BEGIN
		WHILE (SELECT size FROM pg_stat_file('$stop', true)) IS NULL LOOP i := i + 1; $body END LOOP; $end END \$\$;");
}
my %writers = (
	'parents' => forever(1, '', 'INSERT INTO parent VALUES (i); COMMIT;
		IF i % 5 = 0 THEN DELETE FROM parent p WHERE id < i - 200 AND NOT EXISTS (SELECT FROM child c WHERE c.parent = p.id); COMMIT; END IF; PERFORM pg_sleep(0.002);', ''),
	'children' => forever(2, 'young int := 0;', 'INSERT INTO child SELECT p.id, p.id FROM parent p WHERE p.id > young; COMMIT;
		young := greatest(young, (SELECT max(id) FROM child)); DELETE FROM child WHERE id < young - 100; COMMIT; PERFORM pg_sleep(0.003);', ''),
);
for my $n (1, 2)
{
	$writers{"rows of node $n"} = forever($n, '', "UPDATE several SET n = i WHERE node = $n; COMMIT;
		INSERT INTO batch SELECT $n, i, g FROM generate_series(1, 50) g; COMMIT; DELETE FROM batch WHERE node = $n AND batch = i - 5; COMMIT; PERFORM pg_sleep(0.01);", '');
}
my @readers = map {
	forever($_, 'bad int := 0; seen int := 0; halves int := 0; missing int := 0; n int;', '
		n := (SELECT count(*) FROM child c WHERE NOT EXISTS (SELECT FROM parent p WHERE p.id = c.parent));
		bad := bad + n;
		seen := greatest(seen, (SELECT max(id) FROM child));
		n := (SELECT count(*) FROM (SELECT FROM several GROUP BY node HAVING min(several.n) <> max(several.n)) x);
		halves := halves + n;
		n := (SELECT count(*) FROM (SELECT FROM batch GROUP BY node, batch HAVING count(*) <> 50) x);
		missing := missing + n;', "seen := greatest(seen, (SELECT max(id) FROM child));
		RAISE NOTICE 'reads %, orphans %, halves %, missing %, children up to %', i, bad, halves, missing, seen;")
} 2, 3;
my $ends = time() + $seconds;
my $holds = 0;
while (time() < $ends || $holds < 3)
{
	hold(3, 1);
	# held until something waits behind it
	$mesh->poll(3, "SELECT state FROM replication_plugin.links WHERE provider = 'node2'", 'blocked') or die 'nothing waits';
	let_go(3, 1);
	$mesh->poll(3, "SELECT state IN ('streaming', 'catching up') FROM replication_plugin.links WHERE provider = 'node1'") or die 'the link does not come back';
	$holds++;
}
$mesh->poll($_, 'SELECT max(id) > 30 FROM child') or die 'no children' for 2, 3;
open my $fh, '>', $stop or die;
print $fh "stop\n";
close $fh;
for my $who (sort keys %writers)
{
	my (undef, $err) = $mesh->finish_sql($writers{$who});
	is($err, '', "writer of $who had no error");
}
for my $reader (@readers)
{
	my (undef, $err) = $mesh->finish_sql($reader);
	my ($reads, $orphans, $halves, $missing, $seen) = $err =~ /reads (\d+), orphans (\d+), halves (\d+), missing (\d+), children up to (\d+)/
		or diag($err);
	cmp_ok($seen // 0, '>', 20, "the reader saw children come ($reads reads)");
	is($orphans, 0, 'no child without its parent');
	is("$halves, $missing", '0, 0', 'no transaction by halves');
}
note(sprintf "figures: link held %d times in %d s", $holds, $seconds);
cmp_ok($holds, '>', 2, 'the link was held again and again');
no_conflicts('parents and children');

# ---------- a chain of writers, the reader gets it in the worst order ----------

$mesh->add_server for 4, 5;
$mesh->join($_) for 4, 5;
$mesh->wait_for_streaming;
for my $round (1 .. $rounds + 1)
{
	my $id = 110 + $round;
	# first the plain one: four updates on four nodes, the last one's link let go first; then at random
	my @chain = $round == 1 ? (1 .. 4) : shuffle(1 .. 4);
	my @order = $round == 1 ? (4, 3, 2, 1) : shuffle(1 .. 4);
	my @values = map { "by$_" } @chain;
	hold(5, 1 .. 4);
	my $before = 'old';
	for my $n (@chain)
	{
		sees($n, $id, $before);
		$mesh->sql($n, "UPDATE t SET v = 'by$n' WHERE id = $id AND v = '$before'");
		$before = "by$n";
	}
	my $job = watch(5, $id, $before);
	my %held = map { $_ => 1 } 1 .. 4;
	my $name = "chain @chain, let go @order";
	for my $n (@order)
	{
		let_go(5, $n);
		delete $held{$n};
		# how far the chain can have come: up to the first one that is still held
		my @allowed = 'old';
		for my $c (@chain) { last if $held{$c}; push @allowed, "by$c"; }
		my $reached = $allowed[-1];
		# the others wait for the first that is held, or for one that waits itself
		if (%held && $n != $chain[0] && grep { $held{$_} } @chain[ 0 .. (grep { $chain[$_] == $n } 0 .. 3)[0] - 1 ])
		{
			$mesh->poll(5, "SELECT state = 'blocked' AND waits_for IS NOT NULL FROM replication_plugin.links WHERE provider = 'node$n'") or die "$name: node$n does not wait";
		}
		# it may stop before: frontier rows of nodes that are held are causes as well
		my $held = join ', ', map { "'node$_'" } 0, sort keys %held;
		ok($mesh->poll(5, "SELECT v = '$reached' OR EXISTS (SELECT FROM replication_plugin.links WHERE state = 'blocked' AND split_part(waits_for, ' ', 1) IN ($held))
			FROM t WHERE id = $id") && grep({ $_ eq value(5, $id) } @allowed), "$name: after node$n the reader shows $reached, or waits");
	}
	my $seen = watched($job);
	my $want = join ' ?', map { "($_)?" } @values[ 0 .. 2 ];
	like($seen, qr/^old ?$want ?$values[3]$/, "$name: seen in order: $seen");
}
no_conflicts('chains');

done_testing();
