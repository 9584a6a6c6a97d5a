# Slots that somebody has moved, or dropped and made anew: the subscriber notices that its slot is beyond what it has confirmed, and what
# was passed over comes all the same, or the link says that it does not.
use strict;
use warnings;
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $mesh = Mesh->new(2, conf => "replication_plugin.frontier_interval = 200ms\n");
$mesh->make_group('CREATE TABLE t (id int PRIMARY KEY, v text)');
$mesh->wait_converged;
my $id = 0;
my $slot = $mesh->sql(1, "SELECT slot_name FROM replication_plugin.slots WHERE subscriber = 'node2'");
my $group_slot = $mesh->sql(1, 'SELECT slot_name FROM replication_plugin.slots WHERE subscriber IS NULL');

# What is written on node 1 while its slot for node 2 is tampered with.
sub tamper
{
	my ($name, $sql, %opt) = @_;
	$mesh->sql(1, 'INSERT INTO t VALUES (' . ++$id . ", 'before')");
	$mesh->wait_converged;
	$opt{away} ? $opt{away}->() : $mesh->pause(2, 1);
	$mesh->poll(1, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$slot' AND active", 0) or die;
	$mesh->sql(1, 'INSERT INTO t VALUES (' . ++$id . ", 'passed over'); DELETE FROM t WHERE id = $id - 1");
	$mesh->sql(1, $sql);
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
tamper('moved', $advance);
like($mesh->sql(2, 'SELECT last_error FROM replication_plugin.links'), qr/slot "\Q$slot\E" of node "node1" .*somebody has moved it/, 'moved: the subscriber says so');
tamper('dropped and made anew', $anew);
tamper('made anew with another plugin', $anew =~ s/'replication_plugin'/'test_decoding'/r);
tamper('made anew as a physical one', "SELECT pg_drop_replication_slot('$slot'); SELECT pg_create_physical_replication_slot('$slot')");
tamper('dropped', "SELECT pg_drop_replication_slot('$slot')");
my @stopped = (away => sub { $mesh->node(2)->stop }, back => sub { $mesh->start_server(2) });
tamper('moved while the subscriber is stopped', $advance, @stopped);
like(PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile), qr/WARNING:  slot "\Q$slot\E".*somebody/, 'its log says so');
tamper('made anew while the subscriber is stopped', $anew, @stopped);
tamper('moved after the subscriber has crashed', $advance, away => sub { $mesh->kill_server(2) }, back => $stopped[3]);

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

# ---------- the group slot ----------
# while there are slots for the others nothing is lost, and it is made good by itself
$mesh->pause(2, 1);
$mesh->sql(1, 'INSERT INTO t VALUES (' . ++$id . ", 'x')");
$mesh->sql(1, "SELECT pg_replication_slot_advance('$group_slot', pg_current_wal_lsn())");
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
