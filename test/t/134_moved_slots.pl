# Slots that somebody has moved, or dropped and made anew: the subscriber notices that its slot is beyond what it has confirmed, and what
# was passed over comes all the same, or the link says that it does not. Origins that somebody drops stay.
use strict;
use warnings;
use Mesh;
use Test::More;
use Time::HiRes qw(sleep);

my $seed = Mesh::seed();
my $mesh = Mesh->new(2, conf => "replication_plugin.frontier_interval = 200ms\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE no_key (id int, v text);
CREATE TABLE s (id int PRIMARY KEY, v text);
SELECT replication_plugin.set_conflict_policy('s', 'siblings');
SQL
$mesh->wait_converged;
my $id = 0;
my $slot = $mesh->sql(1, "SELECT slot_name FROM replication_plugin.slots WHERE subscriber = 'node2'");
my $group_slot = $mesh->sql(1, 'SELECT slot_name FROM replication_plugin.slots WHERE subscriber IS NULL');

# Somebody does something to slots of node 1; again if the group worker has the group slot just then.
sub meddle
{
	my ($sql) = @_;
	my ($status, $err);
	for (1 .. 100)
	{
		($status, undef, $err) = $mesh->try_sql(1, $sql);
		return if $status == 0;
		last if $err !~ /is active for PID/;
		sleep 0.1;
	}
	die $err;
}

# What is written on node 1 while its slot for node 2 is tampered with.
sub tamper
{
	my ($name, $sql, %opt) = @_;
	$mesh->sql(1, 'INSERT INTO t VALUES (' . ++$id . ", 'before')");
	$mesh->wait_converged;
	$opt{away} ? $opt{away}->() : $mesh->pause(2, 1);
	$mesh->poll(1, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$slot' AND active", 0) or die;
	$mesh->sql(1, 'INSERT INTO t VALUES (' . ++$id . ", 'passed over'); DELETE FROM t WHERE id = $id - 1");
	ref $sql ? $sql->() : meddle($sql);
	$mesh->sql(1, 'INSERT INTO t VALUES (' . ++$id . ", 'after')");
	$opt{back} ? $opt{back}->() : $mesh->resume(2, 1);
	return if $opt{lost};
	ok($mesh->poll(2, "SELECT count(*) FROM t WHERE id = $id", 1), "$name: what was written afterwards arrives");
	is($mesh->sql(2, "SELECT string_agg(v, ', ' ORDER BY id) FROM t WHERE id >= $id - 2"), 'passed over, after', "$name: and what the slot was moved over");
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
	$mesh->is_identical($name);
}

my $advance = "SELECT pg_replication_slot_advance('$slot', pg_current_wal_lsn())";
my $anew = "SELECT pg_drop_replication_slot('$slot'); SELECT pg_create_logical_replication_slot('$slot', 'replication_plugin')";
# (said at once, before it may say what it waits for now)
tamper('moved', $advance, back => sub {
	$mesh->resume(2, 1);
	ok($mesh->poll(2, "SELECT last_error ~ 'slot \"$slot\" of node \"node1\" .*somebody has moved it' FROM replication_plugin.links"), 'moved: the subscriber says so');
});
tamper('dropped and made anew', $anew);
tamper('made anew with another plugin', $anew =~ s/'replication_plugin'/'test_decoding'/r);
tamper('made anew as a physical one', "SELECT pg_drop_replication_slot('$slot'); SELECT pg_create_physical_replication_slot('$slot')");
tamper('dropped', "SELECT pg_drop_replication_slot('$slot')");
my @stopped = (away => sub { $mesh->node(2)->stop }, back => sub { $mesh->start_server(2) });
tamper('moved while the subscriber is stopped', $advance, @stopped);
like(PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile), qr/WARNING:  slot "\Q$slot\E".*somebody/, 'its log says so');
tamper('made anew while the subscriber is stopped', $anew, @stopped);
tamper('moved after the subscriber has crashed', $advance, away => sub { $mesh->kill_server(2) }, back => $stopped[3]);

# who may replicate, and is nobody's node: receives from the slot and says that he has it all
$mesh->sql(1, 'CREATE ROLE meddler LOGIN REPLICATION');
my (undef, undef, $refused) = $mesh->try_sql(1, "SET SESSION AUTHORIZATION meddler; SELECT pg_drop_replication_slot('$slot')");
like($refused, qr/is active for PID/, 'a slot in use cannot be dropped');
my $received = 'host=' . $mesh->node(1)->host . ' port=' . $mesh->node(1)->port . ' dbname=app user=meddler';
tamper('received by somebody', sub {
	my $end = $mesh->sql(1, 'SELECT pg_current_wal_lsn()');
	my $status = system("timeout 60 pg_recvlogical -d '$received' --slot=$slot --start --endpos=$end -f /dev/null >/dev/null 2>&1");
	note("pg_recvlogical ends with status $status");
	$mesh->sql(1, "SELECT pg_replication_slot_advance('$slot', '$end')") if $mesh->sql(1, "SELECT confirmed_flush_lsn < '$end' FROM pg_replication_slots WHERE slot_name = '$slot'") eq 't';
});

# nothing is made anew where nobody has done anything
my $before = () = PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile) =~ /somebody has moved/g;
for my $round (1 .. 3)
{
	$mesh->sql(1, 'INSERT INTO t VALUES (' . ++$id . ", 'x')");
	$mesh->node(2)->stop;
	$mesh->sql(1, 'INSERT INTO t VALUES (' . ++$id . ", 'x')");
	$mesh->start_server(2);
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
}
my $after = () = PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile) =~ /somebody has moved/g;
is($after, $before, 'a slot that nobody has moved is not taken for moved');

# ---------- an origin that somebody drops ----------
# Its number stands beside the timestamps of all that the node has written, and its progress says what is applied: both stay.
subtest 'origins that somebody drops' => sub {
	my $origin = 'replication_plugin_' . $mesh->sql(2, q{SELECT oid FROM pg_database WHERE datname = 'app'}) . '_' . $mesh->sql(2, q{SELECT node_id FROM replication_plugin.nodes WHERE node_name = 'node1'});
	my $versions = q{SELECT string_agg(id || ' ' || x.version || ' ' || x.node, ', ' ORDER BY id) FROM s, LATERAL replication_plugin.siblings('s', jsonb_build_object('id', id)) x};
	my $drop = "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname ~ '^$origin(@|\$)'";
	my $n = 0;
	for my $case (['dropped', $drop], ['dropped in another database', $drop, 'postgres'], ['dropped and rolled back', "BEGIN; $drop; ROLLBACK"],
		['dropped and caught', "DO \$\$ BEGIN PERFORM pg_replication_origin_drop(roname), 1 / 0 FROM pg_replication_origin WHERE roname ~ '^$origin'; EXCEPTION WHEN OTHERS THEN NULL; END \$\$"],
		['all dropped', "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname LIKE 'replication_plugin_%'"],
		['dropped before a crash', $drop, 'app', 1], ['dropped and rolled back before a crash', "BEGIN; $drop; ROLLBACK", 'app', 1])
	{
		my ($name, $sql, $db, $crash) = @$case;
		$n++;
		$mesh->sql(1, "INSERT INTO s VALUES ($n, 'x'); INSERT INTO no_key VALUES ($n, 'before')");
		$mesh->wait_converged;
		$mesh->pause(2, 1);
		my $before = $mesh->sql(2, $versions);
		my $number = $mesh->sql(2, "SELECT roident FROM pg_replication_origin WHERE roname ~ '^$origin(@|\$)'");
		my $progress = $mesh->sql(2, "SELECT replication_plugin.origin_progress(node_id) FROM replication_plugin.nodes WHERE node_name = 'node1'");
		$mesh->sql(1, "INSERT INTO t VALUES (-1000 - $n, 'while it rests'); INSERT INTO no_key VALUES ($n, 'while it rests')");
		my ($status, undef, $err) = $mesh->try_sql(2, $sql, $db || 'app');
		is($status, 0, "$name: no error") or diag($err);
		like($err, qr/WARNING:  replication origin "$origin.*" was not dropped/, "$name: a warning says that it stays") if $name !~ /rolled back|caught/;
		# an origin of somebody else's gets no number of ours
		$mesh->sql(2, "SELECT pg_replication_origin_create('other'); SELECT pg_replication_origin_session_setup('other'); INSERT INTO t VALUES (-2000 - $n, 'of another origin')");
		is($mesh->sql(2, "SELECT roident FROM pg_replication_origin WHERE roname ~ '^$origin(@|\$)'"), $number, "$name: it has its number");
		cmp_ok($mesh->sql(2, "SELECT replication_plugin.origin_progress(node_id) >= '$progress' FROM replication_plugin.nodes WHERE node_name = 'node1'"), 'eq', 't', "$name: and its progress");
		if ($crash)
		{
			$mesh->poll(2, "SELECT count(*) FROM pg_replication_origin WHERE roname LIKE '$origin\@%'", 1) or diag('no progress in the name');
			$mesh->kill_server(2);
			$mesh->start_server(2);
		}
		is($mesh->sql(2, $versions), $before, "$name: rows have the version that they had");
		$mesh->resume(2, 1);
		$mesh->wait_for_streaming;
		$mesh->wait_converged;
		$mesh->is_identical($name);
		is($mesh->sql($_, "SELECT count(*) FROM t WHERE id IN (-1000 - $n, -2000 - $n)"), 2, "$name: node $_ has what was written meanwhile") for 1, 2;
		is($mesh->sql($_, "SELECT count(*) FROM no_key"), 2 * $n, "$name: node $_ has each row without a key once") for 1, 2;
		$mesh->sql(2, "SELECT pg_replication_origin_drop('other')");
	}
	$mesh->pause(2, 1);
	my ($status, undef, $err) = $mesh->try_sql(2, "BEGIN; $drop; SELECT pg_replication_origin_create('thief'); COMMIT");
	isnt($status, 0, 'its number is given to no other origin');
	like($err, qr/replication origin "$origin.*" cannot be replaced by "thief"/, 'and an error says so');
	is($mesh->sql(2, "SELECT pg_replication_origin_create('mine'); SELECT pg_replication_origin_drop('mine'); SELECT count(*) FROM pg_replication_origin WHERE roname IN ('mine', 'thief')") =~ s/.*\n//sr, 0, "others' origins can be dropped");
	$mesh->resume(2, 1);
	$mesh->wait_for_streaming;
	$mesh->wait_converged;
	$mesh->is_identical('origins that somebody drops');
};

# ---------- the group slot ----------
# while there are slots for the others nothing is lost, and it is made good by itself
$mesh->pause(2, 1);
$mesh->sql(1, 'INSERT INTO t VALUES (' . ++$id . ", 'x')");
meddle("SELECT pg_replication_slot_advance('$group_slot', pg_current_wal_lsn())");
ok($mesh->poll(1, q{SELECT progress ~ 'the group slot of this node was moved' FROM replication_plugin.nodes WHERE is_local}), 'the group slot is moved: the node says so');
$mesh->resume(2, 1);
ok($mesh->poll(2, "SELECT count(*) FROM t WHERE id = $id", 1), 'what was written arrives');
ok($mesh->poll(1, q{SELECT progress IS NULL FROM replication_plugin.nodes WHERE is_local}), 'and all is well again');
tamper('moved afterwards', $advance);

# if both are gone, the link says so, and does not go on
tamper('both', "$advance; SELECT pg_replication_slot_advance('$group_slot', pg_current_wal_lsn())", lost => 1);
ok($mesh->poll(2, "SELECT last_error ~ 'slot \"$slot\" of node \"node1\" was moved .* by somebody, and so was the group slot.*HINT: .*rejoin' FROM replication_plugin.links"),
	'both are moved: the link says so, with what to do');
is($mesh->sql(2, "SELECT count(*) FROM t WHERE id = $id"), 0, 'both are moved: nothing comes that was not in order');
$mesh->sql(1, "SELECT replication_plugin.remove_node('node2', lost => true)");
ok($mesh->poll(2, "SELECT state = 'removed' FROM replication_plugin.nodes WHERE is_local"), 'the subscriber is removed');
$mesh->rejoin(2);
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('taken in anew');
is($mesh->sql(2, "SELECT string_agg(v, ', ' ORDER BY id) FROM t WHERE id >= $id - 2"), 'passed over, after', 'taken in anew: with everything');
done_testing();
